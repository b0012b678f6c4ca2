//! Any process may be killed at any time, and nothing that was acknowledged is lost.

use std::fs;

use testkit::{AwkwardServer, LONG, image, manifest, process, wait_for};

use crate::longshore;

/// The bytes of a raw image.
fn raw_bytes() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::read(image::pattern(
        &folder.path().join("disk.img"),
        16 * image::MIB,
    ))
    .unwrap()
}

#[test]
fn a_killed_worker_is_started_again_and_the_import_succeeds() {
    let bytes = raw_bytes();
    let half = bytes.len() / 2;
    let server = AwkwardServer::of(bytes.clone()).holding_after(half).start();
    let longshore = longshore();
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));
    wait_for("the first half", LONG, || {
        (server.sent() >= half).then_some(())
    });
    let workers = longshore.workers();
    assert!(!workers.is_empty(), "a worker must be there");
    for worker in workers {
        if worker.is_alive() {
            worker.kill9();
        }
    }
    longshore
        .kubectl()
        .wait("dv disk", "{.status.restartCount}", "1");
    server.release();
    longshore.wait_until_succeeded("disk");
    let restarts = longshore
        .kubectl()
        .field("dv disk", "{.status.restartCount}");
    assert_eq!(restarts.as_deref(), Some("1"));
    let disk = fs::read(longshore.disk("disk")).unwrap();
    assert!(
        disk.starts_with(&bytes),
        "the disk has the bytes of the image"
    );
}

#[test]
fn an_import_goes_on_after_everything_was_killed() {
    let bytes = raw_bytes();
    let half = bytes.len() / 2;
    let server = AwkwardServer::of(bytes.clone()).holding_after(half).start();
    let mut longshore = longshore();
    longshore.apply(&manifest::blank("finished", "16Mi"));
    longshore.wait_until_succeeded("finished");
    let finished = longshore.kubectl().json("dv finished");
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));
    wait_for("the first half", LONG, || {
        (server.sent() >= half).then_some(())
    });

    longshore.kill9();
    let longshore = longshore.start_again();
    server.release();
    longshore.wait_until_succeeded("disk");
    let disk = fs::read(longshore.disk("disk")).unwrap();
    assert!(
        disk.starts_with(&bytes),
        "the disk has the bytes of the image"
    );
    let after = longshore.kubectl().json("dv finished");
    assert_eq!(after["metadata"]["uid"], finished["metadata"]["uid"]);
    assert_eq!(after["status"]["phase"], "Succeeded");
    assert!(longshore.disk("finished").is_file());
    assert_eq!(longshore.volumes().len(), 2, "nothing half done stays");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut longshore = longshore();
    for number in 0..10 {
        longshore
            .run(&format!("create configmap acknowledged-{number}"))
            .ok();
    }
    longshore.kill9();
    let longshore = longshore.start_again();
    for number in 0..10 {
        longshore
            .run(&format!("get configmap acknowledged-{number}"))
            .ok();
    }
}

#[test]
fn a_deletion_goes_on_after_everything_was_killed() {
    let mut longshore = longshore();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
    longshore.run("delete dv disk --wait=false").ok();
    longshore.kill9();
    let longshore = longshore.start_again();
    wait_for("everything to go", LONG, || {
        let left = longshore.run("get dv,pvc,pv -o name").ok();
        (left.is_empty() && longshore.volumes().is_empty()).then_some(())
    });
}

#[test]
fn a_killed_storage_driver_is_started_again() {
    let longshore = longshore();
    longshore.apply(&manifest::blank("before", "16Mi"));
    longshore.wait_until_succeeded("before");
    let mut processes = process::descendants(longshore.pid()).into_iter();
    let driver = processes.find(|process| process.command.contains(" csi "));
    driver.expect("a driver must be there").kill9();
    longshore.apply(&manifest::blank("after", "16Mi"));
    longshore.wait_until_succeeded("after");
    assert_eq!(longshore.volumes().len(), 2);
}
