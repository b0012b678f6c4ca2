//! What is refused, and how: as a Kubernetes API server does it.

use serde_json::Value;
use testkit::{Longshore, finish, manifest, tool};

use crate::longshore;

#[track_caller]
fn refused(longshore: &Longshore, manifest: &str, parts: &[&str]) {
    longshore
        .kubectl()
        .run_with("create -f -", manifest)
        .fails_with(parts);
}

fn claim(storage: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: c}}, spec: {{accessModes: \
         [ReadWriteOnce], resources: {{requests: {{storage: {storage}}}}}}}}}"
    )
}

#[test]
fn what_is_not_there_is_not_found() {
    let longshore = longshore();
    longshore.run("get cm nope").fails_with(&[
        "Error from server (NotFound)",
        "configmaps \"nope\" not found",
    ]);
    longshore
        .run("get dv nope")
        .fails_with(&["datavolumes.cdi.kubevirt.io \"nope\" not found"]);
    longshore
        .run("get nonsense")
        .fails_with(&["the server doesn't have a resource type"]);
    longshore
        .run("delete pvc nope")
        .fails_with(&["persistentvolumeclaims \"nope\" not found"]);
    let elsewhere = longshore
        .kubectl()
        .run_with("create -n nowhere -f -", &claim("1Gi"));
    elsewhere.fails_with(&["namespaces \"nowhere\" not found"]);
}

#[test]
fn unknown_kinds_and_fields_are_refused() {
    let longshore = longshore();
    refused(
        &longshore,
        "{apiVersion: cdi.kubevirt.io/v1beta1, kind: DataVolumes, metadata: {name: d}}",
        &["no matches for kind \"DataVolumes\" in version \"cdi.kubevirt.io/v1beta1\""],
    );
    let misspelt =
        manifest::blank("d", "16Mi").replace("storage:\n    access", "storag:\n    access");
    refused(
        &longshore,
        &misspelt,
        &["strict decoding error", "unknown field \"spec.storag\""],
    );
    let misspelt = claim("1Gi").replace("accessModes", "accessModus");
    refused(
        &longshore,
        &misspelt,
        &["unknown field \"spec.accessModus\""],
    );
    let lenient = longshore
        .kubectl()
        .run_with("create --validate=ignore -f -", &misspelt);
    lenient.fails_with(&["spec.accessModes: Required value"]);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.json");
    std::fs::write(
        &secret,
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}"#,
    )
    .unwrap();
    let raw = format!(
        "create --raw /api/v1/namespaces/default/configmaps -f {}",
        secret.display()
    );
    longshore.run(&raw).fails_with(&["BadRequest"]);
}

#[test]
fn bad_values_are_refused_with_the_field() {
    let longshore = longshore();
    refused(
        &longshore,
        &claim("lots"),
        &["quantities must match the regular expression"],
    );
    refused(
        &longshore,
        &claim("-1Gi"),
        &["Invalid", "spec.resources", "greater than zero"],
    );
    refused(
        &longshore,
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_Good}}",
        &[
            "Invalid",
            "metadata.name: Invalid value: \"Not_Good\"",
            "RFC 1123",
        ],
    );
    refused(
        &longshore,
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {a: \"b c\"}}}",
        &["Invalid", "metadata.labels"],
    );
    let wrong_type = manifest::blank("d", "16Mi").replace("blank: {}", "blank: 7");
    refused(&longshore, &wrong_type, &["spec.source.blank"]);
    let modes = manifest::blank("d", "16Mi").replace("ReadWriteOnce", "ReadSometimes");
    refused(&longshore, &modes, &["ReadSometimes"]);
}

#[test]
fn data_volumes_that_cannot_be_are_refused_with_the_reason() {
    let longshore = longshore();
    let good = manifest::http("d", "http://host/disk.img", "16Mi");
    for (bad, reason) in [
        (
            good.replace("http://host", "ftp://host"),
            "Invalid source URL scheme: ftp://host/disk.img",
        ),
        (
            good.replace("16Mi", "0"),
            "Storage size can't be equal or less than zero",
        ),
        (
            good.replace("16Mi", "1Ki"),
            "Storage size should be at least 1MiB",
        ),
        (good.replace("16Mi", "lots"), "lots"),
        (
            good.replace("http: {url: \"http://host/disk.img\"}", "{}"),
            "Missing Data volume source",
        ),
        (
            good.replace("  source:", "  contentType: archive\n  source:"),
            "archive",
        ),
        (
            good.replace("    http:", "    blank: {}\n    http:"),
            "Multiple Data volume sources",
        ),
    ] {
        refused(&longshore, &bad, &[reason]);
    }
    assert!(longshore.run("get dv,pvc -o name").ok().is_empty());
}

#[test]
fn a_data_volumes_spec_stays_as_it_is() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    let patch = r#"{"spec":{"preallocation":true}}"#;
    longshore
        .kubectl()
        .run_args(&["patch", "dv", "disk", "--type=merge", "-p", patch])
        .fails_with(&["Cannot update DataVolume Spec"]);
}

#[test]
fn a_change_of_something_old_is_a_conflict() {
    let longshore = longshore();
    longshore
        .run("create cm settings --from-literal=color=blue")
        .ok();
    let old = longshore.run("get cm settings -o yaml").ok();
    longshore.run("label cm settings changed=yes").ok();
    longshore
        .kubectl()
        .run_with("replace -f -", &old)
        .fails_with(&[
            "Error from server (Conflict)",
            "Operation cannot be fulfilled on configmaps \"settings\"",
            "the object has been modified; please apply your changes to the latest version",
        ]);
}

#[test]
fn what_may_not_change_does_not() {
    let longshore = longshore();
    longshore.apply(&claim("16Mi"));
    let patch = |what: &str, patch: &str| {
        let mut arguments: Vec<&str> = vec!["patch"];
        arguments.extend(what.split(' '));
        arguments.extend(["--type=merge", "-p", patch]);
        longshore.kubectl().run_args(&arguments)
    };
    patch("pvc c", r#"{"spec":{"accessModes":["ReadWriteMany"]}}"#)
        .fails_with(&["Forbidden", "immutable"]);
    patch(
        "sc longshore-local",
        r#"{"parameters":{"storagePool":"other"}}"#,
    )
    .fails_with(&["parameters", "Forbidden"]);
    patch("cm kube-root-ca.crt", r#"{"metadata":{"name":"other"}}"#).fails_with(&[]);
}

#[test]
fn refusals_are_status_objects() {
    let longshore = longshore();
    let proxy = longshore.kubectl().proxy();
    let maps = "/api/v1/namespaces/default/configmaps";

    let missing = proxy.call("GET", &format!("{maps}/nope"), None);
    assert_eq!(missing["kind"], "Status");
    assert_eq!(missing["code"], 404);
    assert_eq!(missing["reason"], "NotFound");
    assert_eq!(missing["details"]["name"], "nope");
    assert_eq!(missing["details"]["kind"], "configmaps");

    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Bad Name"}}"#;
    let invalid = proxy.call("POST", maps, Some(body));
    assert_eq!(invalid["code"], 422);
    assert_eq!(invalid["reason"], "Invalid");
    let cause = &invalid["details"]["causes"][0];
    assert_eq!(cause["reason"], "FieldValueInvalid");
    assert_eq!(cause["field"], "metadata.name");

    let wrong = body.replace("ConfigMap", "Secret");
    assert_eq!(proxy.call("POST", maps, Some(&wrong))["code"], 400);
    let garbage = proxy.call("POST", maps, Some("{"));
    assert_eq!(garbage["reason"], "BadRequest");
    assert_eq!(proxy.call("GET", "/api/v1/nonsense", None)["code"], 404);
    let patch = proxy.call("PATCH", &format!("{maps}/nope"), Some("{}"));
    assert_eq!(patch["code"], 415);
    let good = body.replace("Bad Name", "settings");
    assert_eq!(proxy.call("POST", maps, Some(&good))["kind"], "ConfigMap");
    let taken = proxy.call("POST", maps, Some(&good));
    assert_eq!(taken["code"], 409);
    assert_eq!(taken["reason"], "AlreadyExists");
}

#[test]
fn strangers_are_turned_away() {
    let longshore = longshore();
    let mut curl = tool("curl");
    curl.args(["-s", "-k", &format!("{}/api/v1/secrets", longshore.url)]);
    let answer: Value = serde_json::from_str(&finish(curl).stdout).unwrap();
    assert_eq!(answer["code"], 401);
    assert_eq!(answer["reason"], "Unauthorized");
}
