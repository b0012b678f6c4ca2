//! `kubectl get`, `describe`, `explain`, `api-resources` and `events`, on every kind that is served.

use testkit::{LONG, Longshore, manifest, wait_for};

use crate::longshore;

/// Every kind: its resource, and whether there is one of it in each Longshore with a blank disk.
const KINDS: [(&str, &str); 16] = [
    ("namespaces", "Namespace"),
    ("nodes", "Node"),
    ("pods", "Pod"),
    ("persistentvolumes", "PersistentVolume"),
    ("persistentvolumeclaims", "PersistentVolumeClaim"),
    ("storageclasses", "StorageClass"),
    ("configmaps", "ConfigMap"),
    ("secrets", "Secret"),
    ("serviceaccounts", "ServiceAccount"),
    ("events", "Event"),
    ("leases", "Lease"),
    ("csidrivers", "CSIDriver"),
    ("csinodes", "CSINode"),
    ("customresourcedefinitions", "CustomResourceDefinition"),
    ("datavolumes", "DataVolume"),
    ("volumeimportsources", "VolumeImportSource"),
];

/// A Longshore with at least one object of every kind.
fn furnished() -> Longshore {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore
        .run("create configmap settings --from-literal=color=blue")
        .ok();
    longshore
        .run("create secret generic password --from-literal=word=hush")
        .ok();
    longshore.run("create serviceaccount robot").ok();
    longshore.apply(
        "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: turn}, \
         spec: {holderIdentity: me}}",
    );
    longshore.apply(
        "{apiVersion: cdi.kubevirt.io/v1beta1, kind: VolumeImportSource, metadata: {name: origin}, \
         spec: {source: {blank: {}}}}",
    );
    longshore.wait_until_succeeded("disk");
    longshore.apply(&manifest::consumer(
        "machine",
        "disk",
        "echo started; sleep 1000",
    ));
    longshore
        .kubectl()
        .wait("pod machine", "{.status.phase}", "Running");
    longshore
}

#[test]
fn every_kind_is_printed_in_every_form() {
    let longshore = furnished();
    for (resource, kind) in KINDS {
        let names = longshore.run(&format!("get {resource} -A -o name")).ok();
        assert!(!names.is_empty(), "there is at least one of {resource}");
        let list = longshore.kubectl().json(&format!("{resource} -A"));
        let first = &list["items"][0];
        assert_eq!(first["kind"], kind, "{resource}");
        let name = first["metadata"]["name"].as_str().unwrap();
        let get = |options: &str| longshore.run(&format!("get {resource} -A {options}"));
        get("").prints(&["NAME"]);
        get("-o wide").prints(&["NAME", name]);
        get("-o yaml").prints(&["apiVersion:", &format!("kind: {kind}"), name]);
        get("-o jsonpath={.items[*].metadata.name}").prints(&[name]);
        get("-o custom-columns=CALLED:.metadata.name").prints(&["CALLED", name]);
        get(&format!("--field-selector metadata.name={name} -o name")).prints(&[name]);
        get("-l nobody=has-this-label").ok();
        let place = first["metadata"]["namespace"].as_str().unwrap_or("default");
        longshore
            .run(&format!("describe {resource} {name} -n {place}"))
            .prints(&[name]);
    }
}

#[test]
fn every_kind_is_explained() {
    let longshore = longshore();
    for (resource, kind) in KINDS {
        longshore
            .run(&format!("explain {resource}"))
            .prints(&["KIND:", kind, "DESCRIPTION:"]);
    }
    let field = "datavolumes.spec.source.http.url";
    longshore
        .run(&format!("explain {field}"))
        .prints(&["FIELD: url", "<string>"]);
    longshore
        .run("explain pvc.spec.accessModes")
        .prints(&["<[]string>"]);
    longshore
        .run("explain dv --recursive")
        .prints(&["storageClassName", "volumeMode"]);
}

#[test]
fn all_resources_are_discovered() {
    let longshore = longshore();
    let resources = longshore.run("api-resources --no-headers").ok();
    for (resource, kind) in KINDS {
        let found = resources
            .lines()
            .find(|line| line.starts_with(&format!("{resource} ")));
        assert!(
            found.is_some_and(|line| line.ends_with(kind)),
            "{resource}:\n{resources}"
        );
    }
    let volumes = resources
        .lines()
        .find(|line| line.starts_with("datavolumes "))
        .unwrap();
    assert!(volumes.contains("dv,dvs"), "{volumes}");
    assert!(volumes.contains("cdi.kubevirt.io/v1beta1"), "{volumes}");
    longshore.run("api-versions").prints(&[
        "v1\n",
        "storage.k8s.io/v1\n",
        "cdi.kubevirt.io/v1beta1",
    ]);
    longshore.run("version").prints(&["Server Version: v1."]);
}

#[test]
fn columns_are_those_that_people_know() {
    let longshore = furnished();
    for (what, columns) in [
        ("dv", "NAME PHASE PROGRESS RESTARTS AGE"),
        ("pods", "NAME READY STATUS RESTARTS AGE"),
        (
            "pvc",
            "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE",
        ),
        ("nodes", "NAME STATUS ROLES AGE VERSION"),
        (
            "sc",
            "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE",
        ),
        ("cm", "NAME DATA AGE"),
        ("secrets", "NAME TYPE DATA AGE"),
        ("ns", "NAME STATUS AGE"),
        (
            "csidrivers",
            "NAME ATTACHREQUIRED PODINFOONMOUNT STORAGECAPACITY",
        ),
        ("csinodes", "NAME DRIVERS AGE"),
        ("crd", "NAME CREATED AT"),
        ("events", "LAST SEEN TYPE REASON OBJECT MESSAGE"),
    ] {
        let table = longshore.run(&format!("get {what}")).ok();
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        let header = header.join(" ");
        assert!(header.starts_with(columns), "{what}: {header}");
    }
    longshore
        .run("get sc")
        .prints(&["longshore-local (default)"]);
    longshore
        .run("get pods machine")
        .prints(&["1/1", "Running"]);
    longshore
        .run("get pods machine -o wide")
        .prints(&["NODE", "node-1", "127."]);
    longshore
        .run("get all")
        .prints(&["pod/machine", "datavolume.cdi.kubevirt.io/disk"]);
}

#[test]
fn objects_are_selected_by_labels_and_fields() {
    let longshore = longshore();
    for (name, tier) in [("one", "gold"), ("two", "silver"), ("three", "gold")] {
        longshore.run(&format!("create configmap {name}")).ok();
        longshore
            .run(&format!("label configmap {name} tier={tier}"))
            .ok();
    }
    let names = |options: &str| longshore.run(&format!("get cm -o name {options}")).ok();
    assert_eq!(names("-l tier=gold"), "configmap/one\nconfigmap/three\n");
    assert_eq!(names("-l tier!=gold,tier"), "configmap/two\n");
    assert_eq!(
        names("-l tier=gold --field-selector metadata.name=one"),
        "configmap/one\n"
    );
    let set = longshore
        .kubectl()
        .run_args(&["get", "cm", "-o", "name", "-l", "tier in (silver)"]);
    assert_eq!(set.ok(), "configmap/two\n");
    longshore.run("get cm -L tier").prints(&["TIER", "gold"]);
    longshore
        .run("get cm -l tier=gold --show-labels")
        .prints(&["tier=gold"]);
    longshore.run("get cm --sort-by=.metadata.name").ok();
    longshore
        .run("get cm --field-selector nonsense=1")
        .fails_with(&["field label not supported"]);
    longshore
        .run("get pods -A --field-selector status.phase=Running,spec.nodeName=node-1")
        .ok();
}

#[test]
fn changes_are_watched() {
    let longshore = longshore();
    let names = longshore.kubectl().watch("get configmaps -w -o name");
    let table = longshore.kubectl().watch("get configmaps -A --watch-only");
    let events = longshore
        .kubectl()
        .watch("get cm -w --output-watch-events -l color=blue");
    longshore.run("create configmap first").ok();
    names.wait_for_line(&["configmap/first"]);
    wait_for("the watch to begin", LONG, || {
        longshore.run("create configmap second").ok();
        longshore.run("label configmap second color=blue").ok();
        longshore.run("delete configmap second").ok();
        table
            .lines()
            .iter()
            .any(|line| line.contains("second"))
            .then_some(())
    });
    events.wait_for_line(&["ADDED", "second"]);
    events.wait_for_line(&["DELETED", "second"]);
}

#[test]
fn long_lists_come_in_parts() {
    let longshore = longshore();
    let many: Vec<String> = (0..60)
        .map(|n| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: many-{n}}}}}\n"))
        .collect();
    longshore.apply(&many.join("---\n"));
    let list = longshore.run("get cm -o name --chunk-size=7").ok();
    assert_eq!(
        list.lines().filter(|name| name.contains("many-")).count(),
        many.len()
    );
}

#[test]
fn events_say_what_happened_to_whom() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
    wait_for("the event", LONG, || {
        let events = longshore.run("events --for dv/disk").stdout;
        events.contains("ImportSucceeded").then_some(())
    });
    let selector = "involvedObject.kind=DataVolume,reason=ImportSucceeded";
    longshore
        .run(&format!("get events --field-selector {selector}"))
        .prints(&[
            "Normal",
            "datavolume/disk",
            "Successfully imported into PVC disk",
        ]);
    longshore.run("events --types=Warning").ok();
}
