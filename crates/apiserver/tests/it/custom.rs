//! Kinds that are defined while the server runs.

use crate::support::Cluster;

const DEFINITION: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Phase, type: string, jsonPath: .status.phase}
    schema:
      openAPIV3Schema:
        type: object
        description: A Widget is for tests.
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is.}
              colour: {type: string, default: red}
          status:
            type: object
            properties: {phase: {type: string}}
  - name: v1alpha1
    served: true
    storage: false
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

const WIDGET: &str = r"
apiVersion: example.org/v1
kind: Widget
metadata: {name: w}
spec: {size: 3}
status: {phase: Forged}
";

async fn defined() -> Cluster {
    let cluster = Cluster::start().await;
    let made = cluster.feed(&["create", "-f", "-"], DEFINITION).await;
    assert!(made.success, "{}", made.stderr);
    let condition = "--for=condition=Established";
    cluster
        .ok(&[
            "wait",
            condition,
            "crd/widgets.example.org",
            "--timeout=10s",
        ])
        .await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defined_kind_is_served_like_any_other() {
    let cluster = defined().await;
    let made = cluster.feed(&["create", "-f", "-"], WIDGET).await;
    assert!(made.success, "{}", made.stderr);
    let table = cluster.ok(&["get", "wd"]).await;
    assert_eq!(table, "NAME   SIZE   PHASE\nw      3      \n");
    assert!(
        cluster
            .ok(&["get", "all"])
            .await
            .contains("widget.example.org/w")
    );
    let value = "jsonpath={.spec.colour} {.metadata.generation}";
    assert_eq!(cluster.ok(&["get", "wd", "w", "-o", value]).await, "red 1");
    let phase = r#"{"status":{"phase":"Ready"},"spec":{"size":9}}"#;
    cluster
        .ok(&[
            "patch",
            "wd",
            "w",
            "--subresource=status",
            "--type=merge",
            "-p",
            phase,
        ])
        .await;
    assert_eq!(
        cluster.ok(&["get", "wd"]).await,
        "NAME   SIZE   PHASE\nw      3      Ready\n"
    );
    cluster
        .ok(&[
            "patch",
            "wd",
            "w",
            "--type=merge",
            "-p",
            r#"{"spec":{"size":4}}"#,
        ])
        .await;
    assert_eq!(cluster.ok(&["get", "wd", "w", "-o", value]).await, "red 2");
    let explained = cluster.ok(&["explain", "widget.spec.size"]).await;
    assert!(explained.contains("How big it is."), "{explained}");
    let old = cluster
        .ok(&["get", "widgets.v1alpha1.example.org", "w", "-o", "yaml"])
        .await;
    assert!(old.contains("apiVersion: example.org/v1alpha1"), "{old}");
    let strategic = cluster
        .refused(&["patch", "wd", "w", "--type=strategic", "-p", "{}"])
        .await;
    assert!(
        strategic.contains("application/merge-patch+json"),
        "{strategic}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_held_to_their_schema() {
    let cluster = defined().await;
    let refuse = async |manifest: String, wanted: &str| {
        let answer = cluster.feed(&["create", "-f", "-"], &manifest).await;
        assert!(
            !answer.success && answer.stderr.contains(wanted),
            "{}",
            answer.stderr
        );
    };
    refuse(
        WIDGET.replace("size: 3", "colour: blue"),
        "spec.size: Required value",
    )
    .await;
    refuse(WIDGET.replace('3', "0"), "spec.size: Invalid value: 0").await;
    refuse(WIDGET.replace('3', "big"), "must be of type integer").await;
    refuse(
        WIDGET.replace("size: 3", "size: 3, sise: 3"),
        "unknown field \"spec.sise\"",
    )
    .await;

    let refuse = async |definition: String, wanted: &str| {
        let answer = cluster
            .feed(&["apply", "--validate=false", "-f", "-"], &definition)
            .await;
        assert!(
            !answer.success && answer.stderr.contains(wanted),
            "{}",
            answer.stderr
        );
    };
    refuse(
        DEFINITION.replace("widgets.example.org", "other.example.org"),
        "metadata.name",
    )
    .await;
    refuse(
        DEFINITION.replace("Namespaced", "Cluster"),
        "spec.scope: Invalid value",
    )
    .await;
    refuse(
        DEFINITION.replace("storage: true", "storage: false"),
        "exactly one version",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_taken_are_not_accepted() {
    let cluster = defined().await;
    let other = DEFINITION.replace("widgets", "gadgets");
    cluster.feed(&["create", "-f", "-"], &other).await;
    let conditions = "jsonpath={range .status.conditions[*]}{.type}={.status} {.reason} {end}";
    let found = cluster
        .ok(&["get", "crd", "gadgets.example.org", "-o", conditions])
        .await;
    assert_eq!(
        found,
        "NamesAccepted=False ListKindConflict Established=False NotAccepted "
    );
    cluster.refused(&["get", "gadgets"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_definition_deletes_its_objects() {
    let cluster = defined().await;
    cluster.feed(&["create", "-f", "-"], WIDGET).await;
    let held = WIDGET.replace("name: w", "name: held, finalizers: [example.org/hold]");
    cluster.feed(&["create", "-f", "-"], &held).await;
    cluster
        .ok(&["delete", "crd", "widgets.example.org", "--wait=false"])
        .await;
    assert_eq!(
        cluster.ok(&["get", "wd", "-o", "name"]).await,
        "widget.example.org/held\n"
    );
    let another = WIDGET.replace("name: w", "name: late");
    let late = cluster.feed(&["create", "-f", "-"], &another).await;
    assert!(
        late.stderr.contains("definition is terminating"),
        "{}",
        late.stderr
    );
    let release = r#"{"metadata":{"finalizers":null}}"#;
    cluster
        .ok(&["patch", "wd", "held", "--type=merge", "-p", release])
        .await;
    cluster
        .refused(&["get", "crd", "widgets.example.org"])
        .await;
    let made = cluster.feed(&["create", "-f", "-"], DEFINITION).await;
    assert!(made.success, "{}", made.stderr);
    assert_eq!(cluster.ok(&["get", "wd", "-o", "name"]).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_scales_what_says_how_it_is_scaled() {
    let cluster = Cluster::start().await;
    let scaled = DEFINITION
        .replace(
            "subresources: {status: {}}",
            "subresources: {status: {}, scale: {specReplicasPath: .spec.size, \
             statusReplicasPath: .status.size}}",
        )
        .replace(
            "{phase: {type: string}}",
            "{phase: {type: string}, size: {type: integer}}",
        );
    let made = cluster.feed(&["create", "-f", "-"], &scaled).await;
    assert!(made.success, "{}", made.stderr);
    let condition = "--for=condition=Established";
    let crd = "crd/widgets.example.org";
    cluster.ok(&["wait", condition, crd, "--timeout=10s"]).await;
    let made = cluster.feed(&["create", "-f", "-"], WIDGET).await;
    assert!(made.success, "{}", made.stderr);

    let size = ["get", "widget", "w", "-o", "jsonpath={.spec.size}"];
    let scaled = cluster.ok(&["scale", "widget/w", "--replicas=5"]).await;
    assert_eq!(scaled, "widget.example.org/w scaled\n");
    assert_eq!(cluster.ok(&size).await, "5");
    let wrong = ["scale", "widget/w", "--current-replicas=4", "--replicas=6"];
    let refused = cluster.refused(&wrong).await;
    assert!(
        refused.contains("Expected replicas to be 4, was 5"),
        "{refused}"
    );
    let right = ["scale", "widget/w", "--current-replicas=5", "--replicas=6"];
    cluster.ok(&right).await;
    assert_eq!(cluster.ok(&size).await, "6");
    let raw = "/apis/example.org/v1/namespaces/default/widgets/w/scale";
    let scale = cluster.ok(&["get", "--raw", raw]).await;
    assert!(scale.contains(r#""kind":"Scale""#), "{scale}");
}
