//! The examples of the documentation work as they stand.

use std::{path::PathBuf, process::Command};

use testkit::{finish, image};

use crate::{Site, longshore};

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

#[test]
fn the_script_imports_a_disk_and_shows_it() {
    let site = Site::new();
    let raw = site.raw();
    image::qcow2(&raw, &site.path("disk.qcow2"), "-c");
    let longshore = longshore();
    let mut script = Command::new(example("import.sh"));
    script
        .args(["first", &site.web.url("disk.qcow2"), "64Mi"])
        .env("KUBECONFIG", longshore.data().join("kubeconfig"));
    let finished = finish(script);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("Succeeded"), "{}", finished.stdout);
    image::assert_same_disk(&longshore.disk("first"), &raw);
}

#[test]
fn the_manifests_are_accepted() {
    let longshore = longshore();
    for manifest in ["blank.yaml", "import-http.yaml"] {
        let path = example(manifest);
        longshore
            .run(&format!("apply -f {}", path.display()))
            .prints(&["created"]);
    }
    longshore.wait_until_succeeded("scratch-disk");
}
