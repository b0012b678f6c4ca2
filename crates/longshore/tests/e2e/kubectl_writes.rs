//! `kubectl create`, `apply`, `edit`, `patch`, `replace`, `label`, `annotate`, `wait` and `delete`.

use testkit::{Longshore, manifest};

use crate::longshore;

fn color(longshore: &Longshore) -> String {
    longshore
        .kubectl()
        .field("cm settings", "{.data.color}")
        .unwrap()
}

const SETTINGS: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {color: blue, size: big}}";

#[test]
fn an_object_is_created_changed_and_deleted() {
    let longshore = longshore();
    let kubectl = longshore.kubectl();
    kubectl
        .run_with("create -f -", SETTINGS)
        .prints(&["configmap/settings created"]);
    kubectl
        .run_with("create -f -", SETTINGS)
        .fails_with(&["AlreadyExists", "already exists"]);
    kubectl
        .run_with("replace -f -", &SETTINGS.replace("blue", "red"))
        .prints(&["replaced"]);
    assert_eq!(color(&longshore), "red");
    longshore
        .run("delete cm settings")
        .prints(&["configmap \"settings\" deleted"]);
    longshore.run("get cm settings").fails_with(&["NotFound"]);
    longshore.run("delete cm settings --ignore-not-found").ok();
}

#[test]
fn apply_changes_what_differs_and_removes_what_is_gone() {
    let longshore = longshore();
    assert!(longshore.apply(SETTINGS).contains("created"));
    assert!(longshore.apply(SETTINGS).contains("unchanged"));
    let changed = SETTINGS.replace("color: blue, ", "shape: round, ");
    assert!(longshore.apply(&changed).contains("configured"));
    let data = longshore.kubectl().json("cm settings")["data"].clone();
    assert_eq!(data, serde_json::json!({ "shape": "round", "size": "big" }));
    longshore
        .kubectl()
        .run_with("apply --dry-run=server -f -", SETTINGS)
        .prints(&["dry run"]);
    assert_eq!(longshore.kubectl().json("cm settings")["data"], data);
    assert_eq!(
        longshore
            .kubectl()
            .run_with("delete -f -", SETTINGS)
            .ok()
            .lines()
            .count(),
        1
    );
}

#[test]
fn apply_keeps_what_others_wrote() {
    let longshore = longshore();
    longshore.apply(SETTINGS);
    longshore.run("annotate cm settings seen=yes").ok();
    longshore.apply(&SETTINGS.replace("blue", "red"));
    let seen = longshore
        .kubectl()
        .field("cm settings", "{.metadata.annotations.seen}");
    assert_eq!(seen.as_deref(), Some("yes"));
}

#[test]
fn objects_are_patched_in_three_ways() {
    let longshore = longshore();
    longshore.apply(SETTINGS);
    let patch = |kind: &str, patch: &str| {
        longshore
            .kubectl()
            .run_args(&["patch", "cm", "settings", "--type", kind, "-p", patch])
    };
    patch("merge", r#"{"data":{"color":"red","size":null}}"#).ok();
    assert_eq!(color(&longshore), "red");
    patch(
        "json",
        r#"[{"op":"replace","path":"/data/color","value":"green"}]"#,
    )
    .ok();
    assert_eq!(color(&longshore), "green");
    patch("strategic", r#"{"data":{"color":"white"}}"#).ok();
    assert_eq!(color(&longshore), "white");
    patch(
        "json",
        r#"[{"op":"test","path":"/data/color","value":"black"}]"#,
    )
    .fails_with(&["The request is invalid", "value did not match"]);
    patch("merge", r#"{"data":{"color":"white"}}"#).prints(&["no change"]);
}

#[test]
fn lists_are_merged_by_their_keys() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
    longshore.apply(&manifest::consumer("machine", "disk", "sleep 1000"));
    let more = r#"[{"op":"add","path":"/spec/tolerations/-","value":{"key":"night","operator":"Exists"}}]"#;
    longshore
        .kubectl()
        .run_args(&["patch", "pod", "machine", "--type", "json", "-p", more])
        .ok();
    let image = r#"{"spec":{"containers":[{"name":"main","image":"other"}]}}"#;
    longshore
        .kubectl()
        .run_args(&["patch", "pod", "machine", "-p", image])
        .ok();
    let container = longshore.kubectl().json("pod machine")["spec"]["containers"][0].clone();
    assert_eq!(container["image"], "other");
    assert_eq!(
        container["command"][0], "sh",
        "what the patch does not name stays"
    );
}

#[test]
fn edit_writes_what_the_editor_leaves() {
    let longshore = longshore();
    longshore.apply(SETTINGS);
    let mut edit = longshore.kubectl().command("edit cm settings");
    edit.env("KUBE_EDITOR", "sed -i s/blue/orange/");
    longshore
        .kubectl()
        .finish(edit, None)
        .prints(&["configmap/settings edited"]);
    assert_eq!(color(&longshore), "orange");
    longshore.apply(&manifest::blank("disk", "16Mi"));
    let mut edit = longshore.kubectl().command("edit dv disk");
    edit.env(
        "KUBE_EDITOR",
        r"sed -i 's/^metadata:/metadata:\n  labels: {edited: by-hand}/'",
    );
    longshore.kubectl().finish(edit, None).prints(&["edited"]);
    longshore.run("get dv -l edited=by-hand").prints(&["disk"]);
}

#[test]
fn labels_and_annotations_come_and_go() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    for verb in ["label", "annotate"] {
        longshore.run(&format!("{verb} dv disk team=blue")).ok();
        longshore
            .run(&format!("{verb} dv disk team=red"))
            .fails_with(&["already has a value"]);
        longshore
            .run(&format!("{verb} dv disk team=red --overwrite"))
            .ok();
        longshore.run(&format!("{verb} dv disk team-")).ok();
    }
    let metadata = longshore.kubectl().json("dv disk")["metadata"].clone();
    assert!(metadata["labels"]["team"].is_null(), "{metadata}");
    assert!(metadata["annotations"]["team"].is_null(), "{metadata}");
    longshore.run("label node node-1 rack=7").ok();
    longshore.run("get nodes -l rack=7").prints(&["node-1"]);
}

#[test]
fn wait_waits_for_conditions_values_and_the_end() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore
        .run("wait --for=condition=Ready --timeout=60s dv disk")
        .prints(&["condition met"]);
    longshore
        .run("wait --for=jsonpath={.status.phase}=Bound --timeout=60s pvc disk")
        .ok();
    longshore
        .run("wait --for=condition=Ready --timeout=60s node --all")
        .ok();
    longshore
        .run("wait --for=condition=Bound=False --timeout=1s dv disk")
        .fails_with(&["timed out waiting for the condition"]);
    longshore.run("delete dv disk --wait=false").ok();
    longshore
        .run("wait --for=delete --timeout=60s pvc/disk")
        .ok();
}

#[test]
fn many_objects_are_deleted_at_once() {
    let longshore = longshore();
    longshore.run("create namespace team").ok();
    for number in 0..5 {
        longshore
            .run(&format!("create cm batch-{number} -n team"))
            .ok();
        longshore
            .run(&format!(
                "label cm batch-{number} -n team half={}",
                number % 2
            ))
            .ok();
    }
    longshore.run("delete cm -n team -l half=1").ok();
    assert_eq!(
        longshore
            .run("get cm -n team -l half -o name")
            .ok()
            .lines()
            .count(),
        3
    );
    longshore.run("delete cm -n team --all").ok();
    longshore.run("delete ns team --timeout=60s").ok();
}

#[test]
fn custom_resources_of_others_are_served() {
    let longshore = longshore();
    longshore.apply(
        r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns:
        - {name: Masts, type: integer, jsonPath: .spec.masts}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                masts: {type: integer, minimum: 1, default: 2}
",
    );
    longshore
        .run("wait --for=condition=Established --timeout=30s crd/boats.example.com")
        .ok();
    let boat = "{apiVersion: example.com/v1, kind: Boat, metadata: {name: ketch}, spec: {}}";
    longshore.apply(boat);
    longshore
        .run("get bt")
        .prints(&["NAME", "MASTS", "ketch", "2"]);
    let bad = boat.replace("spec: {}", "spec: {masts: 0}");
    let refused = longshore.kubectl().run_with("apply -f -", &bad);
    refused.fails_with(&["spec.masts", "greater than or equal to 1"]);
    longshore.run("delete crd boats.example.com").ok();
    longshore
        .run("get boats")
        .fails_with(&["could not find the requested resource"]);
}
