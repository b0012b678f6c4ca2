//! Deleting a DataVolume removes everything that was made for it, at any time.

use std::fs;

use testkit::{AwkwardServer, LONG, Longshore, image, manifest, process, wait_for};

use crate::longshore;

/// A server that stops in the middle, and a DataVolume that waits for the rest.
fn half_imported(longshore: &Longshore) -> AwkwardServer {
    let folder = tempfile::tempdir().unwrap();
    let raw = image::pattern(&folder.path().join("disk.img"), 16 * image::MIB);
    let bytes = fs::read(raw).unwrap();
    let half = bytes.len() / 2;
    let server = AwkwardServer::of(bytes).holding_after(half).start();
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));
    wait_for("the first half", LONG, || {
        (server.sent() >= half).then_some(())
    });
    server
}

/// Checks that no object, process, mount or folder is left of any DataVolume.
#[track_caller]
fn assert_nothing_is_left(longshore: &Longshore) {
    wait_for("all objects to go", LONG, || {
        let left = longshore
            .run("get dv,pvc,pv,pods,volumeimportsources -o name")
            .ok();
        left.is_empty().then_some(())
    });
    wait_for("all folders to go", LONG, || {
        longshore.volumes().is_empty().then_some(())
    });
    wait_for("all workers to go", LONG, || {
        longshore.workers().is_empty().then_some(())
    });
    wait_for("all mounts to go", LONG, || {
        let mounts = process::mounts_below(&longshore.data(), longshore.pid());
        mounts.is_empty().then_some(())
    });
}

#[test]
fn deleting_a_finished_data_volume_removes_claim_volume_and_bytes() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
    longshore.run("delete dv disk").ok();
    assert_nothing_is_left(&longshore);
}

#[test]
fn deleting_a_data_volume_in_the_middle_of_its_import_leaves_nothing() {
    let longshore = longshore();
    let _server = half_imported(&longshore);
    longshore.run("delete dv disk --timeout=60s").ok();
    assert_nothing_is_left(&longshore);
}

#[test]
fn deleting_a_data_volume_that_waits_leaves_nothing() {
    let longshore = longshore();
    longshore.apply(&manifest::http_pvc(
        "disk",
        "http://127.0.0.1:1/disk.img",
        "64Mi",
    ));
    longshore.wait_until_phase("disk", "PendingPopulation");
    longshore.run("delete dv disk --timeout=60s").ok();
    assert_nothing_is_left(&longshore);
}

#[test]
fn deleting_a_namespace_removes_its_data_volumes() {
    let longshore = longshore();
    longshore.run("create namespace machines").ok();
    let volume = manifest::blank("disk", "16Mi");
    longshore
        .kubectl()
        .run_with("apply -n machines -f -", &volume)
        .ok();
    longshore
        .kubectl()
        .wait("dv disk -n machines", "{.status.phase}", "Succeeded");
    longshore
        .run("delete namespace machines --timeout=60s")
        .ok();
    longshore
        .run("get namespace machines")
        .fails_with(&["NotFound"]);
    assert_nothing_is_left(&longshore);
}

#[test]
fn a_claim_that_is_deleted_in_the_middle_is_made_and_filled_again() {
    let longshore = longshore();
    let server = half_imported(&longshore);
    let before = longshore
        .kubectl()
        .field("pvc disk", "{.metadata.uid}")
        .unwrap();
    // Without waiting: kubectl would take the new claim for the old one.
    longshore.run("delete pvc disk --wait=false").ok();
    wait_for("a new claim", LONG, || {
        let uid = longshore.kubectl().field("pvc disk", "{.metadata.uid}");
        uid.filter(|uid| *uid != before)
    });
    server.release();
    longshore.wait_until_succeeded("disk");
    let claims = longshore.run("get pvc -o name").ok();
    assert!(claims.contains("persistentvolumeclaim/disk"), "{claims}");
}

#[test]
fn a_claim_in_use_is_protected_until_its_pod_is_gone() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
    longshore.apply(&manifest::consumer("machine", "disk", "sleep 1000"));
    longshore
        .kubectl()
        .wait("pod machine", "{.status.phase}", "Running");
    longshore.run("delete dv disk --wait=false").ok();
    wait_for("the claim to be marked", LONG, || {
        let marked = longshore
            .kubectl()
            .field("pvc disk", "{.metadata.deletionTimestamp}")?;
        (!marked.is_empty()).then_some(())
    });
    assert_eq!(
        longshore.volumes().len(),
        1,
        "the disk of a running machine must stay"
    );
    longshore
        .run("delete pod machine --timeout=60s --grace-period=1")
        .ok();
    assert_nothing_is_left(&longshore);
}
