//! DataVolumes: sizes, phases, conditions, events, progress, and waiting for a consumer.

use std::{fs, os::unix::fs::MetadataExt};

use serde_json::Value;
use testkit::{
    AwkwardServer, LONG, Longshore,
    image::{self, MIB},
    manifest, wait_for,
};

use crate::{Site, longshore};

/// The condition of a DataVolume: status, reason and message.
fn condition(longshore: &Longshore, name: &str, kind: &str) -> [String; 3] {
    condition_if_any(longshore, name, kind).unwrap()
}

fn condition_if_any(longshore: &Longshore, name: &str, kind: &str) -> Option<[String; 3]> {
    let object = longshore.kubectl().json(&format!("dv {name}"));
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(["status", "reason", "message"].map(text))
}

fn storage_request(claim: &Value) -> &str {
    claim["spec"]["resources"]["requests"]["storage"]
        .as_str()
        .unwrap()
}

#[test]
fn spec_storage_adds_room_for_the_file_system() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "1Gi"));
    longshore.wait_until_succeeded("disk");
    let claim = longshore.kubectl().json("pvc disk");
    assert_eq!(storage_request(&claim), "1138166334");
    let disk = fs::metadata(longshore.disk("disk")).unwrap();
    assert_eq!(disk.len(), 1 << 30);
    assert_eq!(disk.mode() & 0o777, 0o660);
    assert!(
        disk.blocks() * 512 < MIB,
        "a blank disk takes {} blocks",
        disk.blocks()
    );
    if rustix::process::getuid().is_root() {
        assert_eq!(disk.gid(), 107, "the group of virtual machines");
    }
}

#[test]
fn spec_pvc_is_taken_word_for_word() {
    let site = Site::new();
    let raw = site.raw();
    let longshore = longshore();
    let volume = manifest::http_pvc("disk", &site.web.url("disk.img"), "1Gi").replace(
        "  pvc:",
        "  pvc:\n    storageClassName: longshore-local-immediate",
    );
    longshore.apply(&volume);
    longshore.wait_until_succeeded("disk");
    let claim = longshore.kubectl().json("pvc disk");
    assert_eq!(storage_request(&claim), "1Gi");
    assert_eq!(
        fs::metadata(longshore.disk("disk")).unwrap().len(),
        966 * MIB
    );
    image::assert_same_disk(&longshore.disk("disk"), &raw);
}

#[test]
fn preallocation_allocates_the_whole_disk() {
    let longshore = longshore();
    let volume = manifest::blank("disk", "32Mi").replace("spec:", "spec:\n  preallocation: true");
    longshore.apply(&volume);
    longshore.wait_until_succeeded("disk");
    let disk = fs::metadata(longshore.disk("disk")).unwrap();
    assert!(
        disk.blocks() * 512 >= 32 * MIB,
        "{} blocks are allocated",
        disk.blocks()
    );
    let done = r"{.metadata.annotations.cdi\.kubevirt\.io/storage\.preallocation}";
    assert_eq!(
        longshore.kubectl().field("pvc disk", done).as_deref(),
        Some("true")
    );
}

#[test]
fn success_is_told_in_status_conditions_and_events() {
    let site = Site::new();
    let image = image::qcow2(&site.raw(), &site.path("disk.qcow2"), "-c");
    let longshore = longshore();
    site.import(&longshore, "disk", &image);
    longshore.wait_until_succeeded("disk");

    assert_eq!(
        condition(&longshore, "disk", "Bound"),
        ["True", "Bound", "PVC disk Bound"]
    );
    let running = condition(&longshore, "disk", "Running");
    assert_eq!(running, ["False", "Completed", "Import Complete"]);
    assert_eq!(condition(&longshore, "disk", "Ready")[0], "True");
    let volume = longshore.kubectl().json("dv disk");
    assert_eq!(volume["status"]["progress"], "100.0%");
    assert_eq!(volume["status"]["claimName"], "disk");
    assert_eq!(volume["status"]["restartCount"], 0);
    longshore
        .run("wait --for=condition=Ready --timeout=10s dv/disk")
        .ok();

    let table = longshore
        .run("get dv disk")
        .prints(&["NAME", "PHASE", "PROGRESS", "RESTARTS"]);
    assert!(
        table
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("disk   Succeeded   100.0%     0")
    );
    wait_for("the last event", LONG, || {
        let described = longshore.run("describe dv disk").ok();
        let events = [
            "ImportScheduled",
            "ImportInProgress",
            "Successfully imported into PVC disk",
        ];
        events
            .iter()
            .all(|event| described.contains(event))
            .then_some(())
    });
    longshore
        .run("events --for dv/disk")
        .prints(&["ImportSucceeded"]);
}

#[test]
fn a_claim_is_owned_by_its_data_volume_and_nothing_else_stays() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
    let uid = longshore
        .kubectl()
        .field("dv disk", "{.metadata.uid}")
        .unwrap();
    let claim = longshore.kubectl().json("pvc disk");
    let owner = &claim["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "DataVolume");
    assert_eq!(owner["uid"], uid);
    assert_eq!(owner["controller"], true);
    assert_eq!(
        claim["metadata"]["labels"]["app"],
        "containerized-data-importer"
    );
    assert_eq!(
        claim["metadata"]["annotations"]["cdi.kubevirt.io/createdForDataVolume"],
        uid
    );
    wait_for("the worker, its claim and its source to go", LONG, || {
        let left = longshore
            .run("get pods,pvc,volumeimportsources -o name")
            .ok();
        (left.trim() == "persistentvolumeclaim/disk").then_some(())
    });
    assert_eq!(longshore.volumes().len(), 1);
    assert!(longshore.workers().is_empty());
}

#[test]
fn progress_is_shown_while_an_import_runs() {
    let folder = tempfile::tempdir().unwrap();
    let raw = image::pattern(&folder.path().join("disk.img"), 24 * MIB);
    let bytes = fs::read(&raw).unwrap();
    let half = bytes.len() / 2;
    let server = AwkwardServer::of(bytes).holding_after(half).start();
    let longshore = longshore();
    let watch = longshore.kubectl().watch("get dv -w");
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));

    let progress = wait_for("progress", LONG, || {
        let progress = longshore.kubectl().field("dv disk", "{.status.progress}")?;
        let part: f64 = progress.strip_suffix('%')?.parse().ok()?;
        (part > 20.0).then_some(part)
    });
    assert!(
        progress < 80.0,
        "half of the bytes have come, not {progress} %"
    );
    longshore.wait_until_phase("disk", "ImportInProgress");
    let running = condition(&longshore, "disk", "Running");
    assert_eq!(running, ["True", "Pod is running", ""]);
    assert_eq!(
        condition(&longshore, "disk", "Ready")[..2],
        ["False", "TransferRunning"]
    );
    server.release();
    longshore.wait_until_succeeded("disk");
    watch.wait_for_line(&["disk", "ImportInProgress"]);
    watch.wait_for_line(&["disk", "Succeeded", "100.0%"]);
    image::assert_same_disk(&longshore.disk("disk"), &raw);
}

#[test]
fn a_data_volume_waits_for_its_first_consumer() {
    let site = Site::new();
    let raw = site.raw();
    let longshore = longshore();
    longshore.apply(&manifest::http_pvc(
        "disk",
        &site.web.url("disk.img"),
        "64Mi",
    ));
    longshore.wait_until_phase("disk", "PendingPopulation");
    longshore
        .run("get pvc disk")
        .prints(&["Pending", "longshore-local"]);
    assert!(
        site.web.log().is_empty(),
        "nothing may be fetched before somebody needs it"
    );

    longshore.apply(&manifest::consumer(
        "machine",
        "disk",
        "stat -c %s /disk/disk.img",
    ));
    longshore.wait_until_succeeded("disk");
    longshore
        .kubectl()
        .wait("pod machine", "{.status.phase}", "Succeeded");
    let size = fs::metadata(longshore.disk("disk")).unwrap().len();
    assert_eq!(longshore.run("logs machine").ok().trim(), size.to_string());
    image::assert_same_disk(&longshore.disk("disk"), &raw);
}

#[test]
fn an_annotation_makes_a_data_volume_wait_for_nobody() {
    let site = Site::new();
    site.raw();
    let longshore = longshore();
    longshore.apply(
        &manifest::http_pvc("disk", &site.web.url("disk.img"), "64Mi").replace(
            "metadata:",
            "metadata:\n  annotations: {cdi.kubevirt.io/storage.bind.immediate.requested: \"\"}",
        ),
    );
    longshore.wait_until_succeeded("disk");
}

#[test]
fn a_claim_of_the_same_name_is_left_alone() {
    let longshore = longshore();
    longshore.apply(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: disk}, spec: {accessModes: \
         [ReadWriteOnce], resources: {requests: {storage: 8Mi}}}}",
    );
    longshore.apply(&manifest::blank("disk", "16Mi"));
    wait_for("an event", LONG, || {
        let events = longshore.run("events --for dv/disk").stdout;
        events
            .contains("already exists and is not managed by DataVolume")
            .then_some(())
    });
    assert_eq!(
        storage_request(&longshore.kubectl().json("pvc disk")),
        "8Mi"
    );
}

#[test]
fn the_older_version_of_the_api_is_accepted() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi").replace("v1beta1", "v1alpha1"));
    longshore.wait_until_succeeded("disk");
    longshore
        .run("get datavolumes.v1alpha1.cdi.kubevirt.io disk")
        .prints(&["Succeeded"]);
}

#[test]
fn many_blank_disks_are_made_at_once() {
    let longshore = longshore();
    let names: Vec<String> = (0..20).map(|number| format!("disk-{number}")).collect();
    let manifests: Vec<String> = names
        .iter()
        .map(|name| manifest::blank(name, "16Mi"))
        .collect();
    longshore.apply(&manifests.join("---\n"));
    for name in &names {
        longshore.wait_until_succeeded(name);
    }
    assert_eq!(longshore.volumes().len(), names.len());
}

#[test]
fn a_class_that_does_not_exist_is_told_and_awaited() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi").replace("longshore-local-immediate", "fancy"));
    wait_for("the reason", LONG, || {
        let described = longshore.run("describe dv disk").stdout;
        described
            .contains("StorageClass fancy was not found")
            .then_some(())
    });
    let class = longshore
        .run("get sc longshore-local-immediate -o yaml")
        .ok();
    longshore.apply(&class.replace("name: longshore-local-immediate", "name: fancy"));
    longshore.wait_until_succeeded("disk");
}

#[test]
fn a_disk_that_no_node_has_room_for_says_so() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "1000Ti"));
    wait_for("the reason", LONG, || {
        let [status, reason, message] = condition_if_any(&longshore, "disk", "Bound")?;
        let told = message.contains("no node has") && message.contains("target PVC disk Pending");
        (told && status == "False" && reason == "Pending").then_some(())
    });
    longshore.run("delete dv disk --timeout=60s").ok();
}

#[test]
fn a_block_volume_says_that_it_is_not_offered() {
    let longshore = longshore();
    let volume = manifest::blank("disk", "16Mi")
        .replace("    accessModes", "    volumeMode: Block\n    accessModes");
    longshore.apply(&volume);
    wait_for("the reason", LONG, || {
        let [_, _, message] = condition_if_any(&longshore, "disk", "Bound")?;
        message
            .contains("does not offer block volumes")
            .then_some(())
    });
}

#[test]
fn a_worker_that_is_to_be_kept_stays() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi").replace(
        "metadata:",
        "metadata:\n  annotations: {cdi.kubevirt.io/storage.pod.retainAfterCompletion: \"true\"}",
    ));
    longshore.wait_until_succeeded("disk");
    let uid = longshore
        .kubectl()
        .field("pvc disk", "{.metadata.uid}")
        .unwrap();
    let pod = format!("importer-prime-{uid}");
    longshore
        .kubectl()
        .wait(&format!("pod {pod}"), "{.status.phase}", "Succeeded");
    longshore.run(&format!("logs {pod}")).ok();
    longshore.run("delete dv disk --timeout=60s").ok();
    longshore
        .run(&format!("wait --for=delete pod/{pod} --timeout=60s"))
        .ok();
}
