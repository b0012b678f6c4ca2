//! `longshore demo`, from beginning to end.

use std::{fs, process::Command};

use testkit::finish;

use crate::PROGRAM;

#[test]
fn the_demo_verifies_its_import_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("demo").env("TMPDIR", folder.path());
    let finished = finish(command);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for part in [
        "importing it by a DataVolume",
        "the same bytes",
        "longshore up",
    ] {
        assert!(
            finished.stdout.contains(part),
            "{part:?} is not in {}",
            finished.stdout
        );
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "something is left"
    );
}
