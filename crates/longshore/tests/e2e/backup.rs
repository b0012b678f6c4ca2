//! `longshore backup` and `longshore restore`.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use testkit::{Finished, Longshore, finish};

use crate::{PROGRAM, longshore};

fn run(longshore: &Longshore, verb: &str, file: &str) -> Finished {
    let mut command = Command::new(PROGRAM);
    let data = longshore.data();
    command.args([verb, file, "--data-dir"]).arg(data);
    finish(command)
}

#[track_caller]
fn succeeds(longshore: &Longshore, verb: &str, file: &str) -> String {
    let finished = run(longshore, verb, file);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

#[test]
fn objects_come_back_from_a_backup() {
    let mut longshore = longshore();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let path = file.to_str().unwrap();
    longshore
        .run("create configmap kept --from-literal=a=1")
        .ok();
    let told = succeeds(&longshore, "backup", path);
    assert!(told.contains("objects at revision"), "{told}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // While it runs.
    longshore.run("delete configmap kept").ok();
    longshore
        .run("create configmap new --from-literal=a=1")
        .ok();
    let watch = longshore.kubectl().watch("get configmaps -w -o name");
    let told = succeeds(&longshore, "restore", path);
    assert!(told.contains("created"), "{told}");
    watch.wait_for_line(&["configmap/kept"]);
    longshore.run("get configmap kept").ok();
    longshore
        .run("get configmap new")
        .fails_with(&["not found"]);

    // What is no backup changes nothing.
    let garbage = folder.path().join("garbage");
    fs::write(&garbage, vec![b'x'; 10_000]).unwrap();
    let refused = run(&longshore, "restore", garbage.to_str().unwrap());
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is no whole backup"), "{refused:?}");
    longshore.run("get configmap kept").ok();

    // While it does not run, and cannot, since its database is damaged.
    longshore.kill9();
    fs::remove_file(longshore.data().join("state.db-wal")).unwrap();
    let refused = run(&longshore, "backup", path);
    assert!(refused.stderr.contains("does not run"), "{refused:?}");
    let told = succeeds(&longshore, "restore", path);
    assert!(told.contains("state.db.damaged-1"), "{told}");
    let longshore = longshore.start_again();
    longshore.run("get configmap kept").ok();
}
