//! "CustomResourcePublishOpenAPI", as Kubernetes' conformance tests have it: what a definition says
//! of its objects is found by those who look into OpenAPI, above all kubectl.

use serde_json::{Value, json};

use crate::support::Cluster;

/// A definition of one kind, and the versions that it has, each with its schema.
fn definition(group: &str, kind: &str, versions: &[(&str, Value)]) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let versions: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(index, (name, schema))| {
            json!({"name": name, "served": true, "storage": index == 0,
                "schema": {"openAPIV3Schema": schema}})
        })
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "versions": versions,
            "names": {"kind": kind, "plural": plural}}})
}

fn foo() -> Value {
    let bar = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "description": "Name of Bar."},
        "age": {"type": "string", "description": "Age of Bar."}}});
    json!({"type": "object", "description": "Foo CRD for Testing", "properties": {
        "spec": {"type": "object", "description": "Specification of Foo", "properties": {
            "bars": {"type": "array", "description": "List of Bars and their specs.",
                "items": bar}}},
        "status": {"type": "object", "description": "Status of Foo"}}})
}

fn preserving() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Makes a definition known, or says it anew.
async fn define(cluster: &Cluster, definition: &Value) {
    let applied = cluster
        .feed(
            &["apply", "--server-side", "-f", "-"],
            &definition.to_string(),
        )
        .await;
    assert!(applied.success, "{}", applied.stderr);
}

async fn raw(cluster: &Cluster, path: &str) -> Value {
    let text = cluster.ok(&["get", "--raw", path]).await;
    serde_json::from_str(&text).unwrap()
}

/// The schema of a kind as OpenAPI v2 and v3 have it, without which both have none.
async fn published(cluster: &Cluster, group: &str, version: &str, kind: &str) -> Option<Value> {
    let package: Vec<_> = group.rsplit('.').collect();
    let name = format!("{}.{version}.{kind}", package.join("."));
    let old = raw(cluster, "/openapi/v2").await["definitions"]
        .get(&name)
        .cloned();
    let index = raw(cluster, "/openapi/v3").await;
    let address = &index["paths"][format!("apis/{group}/{version}")]["serverRelativeURL"];
    let new = match address.as_str() {
        Some(address) => raw(cluster, address).await["components"]["schemas"]
            .get(&name)
            .cloned(),
        None => None,
    };
    assert_eq!(old.is_some(), new.is_some(), "{name}");
    let kind = json!([{"group": group, "version": version, "kind": kind}]);
    for schema in old.iter().chain(&new) {
        assert_eq!(schema["x-kubernetes-group-version-kind"], kind);
    }
    new
}

async fn create(cluster: &Cluster, object: &Value) -> Result<(), String> {
    let answer = cluster
        .feed(
            &["create", "--validate=true", "-f", "-"],
            &object.to_string(),
        )
        .await;
    answer.success.then_some(()).ok_or(answer.stderr)
}

fn object(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "a.example.com/v1", "kind": "Foo", "metadata": {"name": name},
        "spec": spec})
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_publish_openapi_works_for_crd_with_validation_schema() {
    let cluster = Cluster::start().await;
    define(
        &cluster,
        &definition("a.example.com", "Foo", &[("v1", foo())]),
    )
    .await;
    let schema = published(&cluster, "a.example.com", "v1", "Foo")
        .await
        .unwrap();
    assert_eq!(schema["description"], "Foo CRD for Testing");
    let full = json!({"bars": [{"name": "test-bar", "age": "1"}]});
    create(&cluster, &object("full", &full)).await.unwrap();
    let unknown = json!({"bars": [{"name": "test-bar", "color": "red"}]});
    let refused = create(&cluster, &object("unknown", &unknown))
        .await
        .unwrap_err();
    assert!(
        refused.contains("unknown field \"spec.bars[0].color\""),
        "{refused}"
    );
    let missing = json!({"bars": [{"age": "1"}]});
    let refused = create(&cluster, &object("missing", &missing))
        .await
        .unwrap_err();
    assert!(
        refused.contains("spec.bars[0].name: Required value"),
        "{refused}"
    );
    for (path, told) in [
        ("foos", "Foo CRD for Testing"),
        ("foos.metadata", "Name, labels, annotations and the like."),
        ("foos.spec", "Specification of Foo"),
        ("foos.spec.bars", "List of Bars and their specs."),
        ("foos.spec.bars.name", "Name of Bar."),
    ] {
        let explained = cluster.ok(&["explain", path]).await;
        assert!(explained.contains(told), "{explained}");
        assert!(explained.contains("VERSION:    v1"), "{explained}");
    }
    let refused = cluster.refused(&["explain", "foos.spec.bars2"]).await;
    assert!(
        refused.contains("field \"bars2\" does not exist"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_publish_openapi_works_for_crd_that_preserves_unknown_fields() {
    let cluster = Cluster::start().await;
    let mut embedded = foo();
    embedded["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    for (schema, words) in [
        // "without validation schema", "preserving unknown fields at the schema root"
        (preserving(), "<empty>"),
        // "preserving unknown fields in an embedded object"
        (embedded, "Foo CRD for Testing"),
    ] {
        let definition = definition("a.example.com", "Foo", &[("v1", schema)]);
        define(&cluster, &definition).await;
        let schema = published(&cluster, "a.example.com", "v1", "Foo")
            .await
            .unwrap();
        assert_eq!(schema["type"], "object");
        let free = json!({"bars": [{"name": "a"}], "anything": {"at": ["all"]}});
        create(&cluster, &object("free", &free)).await.unwrap();
        let explained = cluster.ok(&["explain", "foos"]).await;
        assert!(explained.contains("KIND:       Foo"), "{explained}");
        assert!(explained.contains(words), "{explained}");
        cluster.ok(&["delete", "crd", "foos.a.example.com"]).await;
        assert_eq!(
            published(&cluster, "a.example.com", "v1", "Foo").await,
            None
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_publish_openapi_works_for_multiple_crds() {
    let cluster = Cluster::start().await;
    let described = |text: &str| {
        let mut schema = foo();
        schema["description"] = text.into();
        schema
    };
    let definitions = [
        definition("a.example.com", "Foo", &[("v1", described("a"))]),
        // "of different groups"
        definition("b.example.com", "Foo", &[("v1", described("b"))]),
        // "of same group but different versions"
        definition(
            "a.example.com",
            "Old",
            &[("v2", described("c")), ("v3", described("d"))],
        ),
        // "of same group and version but different kinds"
        definition("a.example.com", "Waldo", &[("v1", described("e"))]),
    ];
    for definition in &definitions {
        define(&cluster, definition).await;
    }
    for (group, version, kind, words) in [
        ("a.example.com", "v1", "Foo", "a"),
        ("b.example.com", "v1", "Foo", "b"),
        ("a.example.com", "v2", "Old", "c"),
        ("a.example.com", "v3", "Old", "d"),
        ("a.example.com", "v1", "Waldo", "e"),
    ] {
        let schema = published(&cluster, group, version, kind).await.unwrap();
        assert_eq!(schema["description"], words);
    }
    let explained = cluster.ok(&["explain", "foos.b.example.com"]).await;
    assert!(
        explained.contains("GROUP:      b.example.com"),
        "{explained}"
    );
    let third = ["explain", "olds", "--api-version=a.example.com/v3"];
    let explained = cluster.ok(&third).await;
    assert!(explained.contains("VERSION:    v3"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_publish_openapi_follows_versions_that_are_renamed_or_not_served() {
    let cluster = Cluster::start().await;
    let group = "a.example.com";
    let is_published =
        async |version: &str| published(&cluster, group, version, "Foo").await.is_some();
    define(
        &cluster,
        &definition(group, "Foo", &[("v2", foo()), ("v3", foo())]),
    )
    .await;
    assert!(is_published("v2").await && is_published("v3").await);
    // "updates the published spec when one version gets renamed"
    let mut renamed = definition(group, "Foo", &[("v2", foo()), ("v4", foo())]);
    define(&cluster, &renamed).await;
    assert!(is_published("v2").await && is_published("v4").await);
    assert!(!is_published("v3").await);
    // "removes definition from spec when one version gets changed to not be served"
    renamed["spec"]["versions"][1]["served"] = false.into();
    define(&cluster, &renamed).await;
    assert!(is_published("v2").await);
    assert!(!is_published("v4").await);
}
