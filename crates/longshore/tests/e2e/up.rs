//! `longshore up`: how it starts, stops, refuses, and keeps its state; and the other verbs.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use testkit::{Finished, Setup, finish, image, manifest};

use crate::{PROGRAM, Site, longshore};

fn run(arguments: &[&str]) -> Finished {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove("LONGSHORE_LOG");
    finish(command)
}

/// Runs `longshore up`, which must refuse in one line.
#[track_caller]
fn up_refuses(data: &Path, listen: &str, parts: &[&str]) {
    let data = data.to_str().unwrap();
    let refused = run(&["up", "--data-dir", data, "--listen", listen]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(
        refused.stderr.starts_with("longshore: "),
        "{}",
        refused.stderr
    );
    for part in parts {
        assert!(
            refused.stderr.contains(part),
            "{part:?} is not in {}",
            refused.stderr
        );
    }
    assert!(!refused.stdout.contains("ready"), "{}", refused.stdout);
}

#[test]
fn it_serves_what_it_says_and_keeps_its_keys_to_itself() {
    let longshore = longshore();
    assert!(
        longshore.url.starts_with("https://127.0.0.1:"),
        "{}",
        longshore.url
    );
    let kubeconfig = longshore.data().join("kubeconfig");
    let mode = fs::metadata(&kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    longshore.run("get nodes").prints(&["node-1", "Ready"]);
    let printed = run(&[
        "kubeconfig",
        "--data-dir",
        longshore.data().to_str().unwrap(),
    ]);
    assert_eq!(
        printed.stdout.trim(),
        fs::read_to_string(kubeconfig).unwrap().trim()
    );
    let status = run(&["status", "--data-dir", longshore.data().to_str().unwrap()]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains("node-1"), "{status:?}");
}

#[test]
fn state_survives_a_restart() {
    let site = Site::new();
    let raw = site.raw();
    let longshore = longshore();
    site.import(&longshore, "disk", &raw);
    longshore
        .run("create configmap settings --from-literal=color=blue")
        .ok();
    longshore.wait_until_succeeded("disk");
    let before = longshore.kubectl().json("dv,pvc,cm");
    let longshore = longshore.restart();
    let after = longshore.kubectl().json("dv,pvc,cm");
    assert_eq!(uids(&before), uids(&after));
    longshore
        .run("get dv disk")
        .prints(&["Succeeded", "100.0%"]);
    image::assert_same_disk(&longshore.disk("disk"), &raw);
    longshore.apply(&manifest::blank("next", "16Mi"));
    longshore.wait_until_succeeded("next");
}

fn uids(list: &serde_json::Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["uid"].as_str().unwrap())
        .collect()
}

#[test]
fn it_stops_cleanly_when_it_is_asked_to() {
    for stop in [testkit::Longshore::terminate, testkit::Longshore::interrupt] {
        let mut longshore = longshore();
        longshore.apply(&manifest::blank("disk", "16Mi"));
        longshore.wait_until_succeeded("disk");
        longshore.apply(&manifest::consumer("machine", "disk", "sleep 1000"));
        longshore
            .kubectl()
            .wait("pod machine", "{.status.phase}", "Running");
        let status = stop(&mut longshore);
        assert_eq!(status.code(), Some(0), "{}", longshore.log());
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    up_refuses(&folder.path().join("data"), &address, &[&address, "in use"]);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let data = file.join("data");
    up_refuses(
        &data,
        "127.0.0.1:0",
        &[data.to_str().unwrap(), "--data-dir"],
    );
}

#[test]
fn a_second_instance_is_refused() {
    let longshore = longshore();
    up_refuses(
        &longshore.data(),
        "127.0.0.1:0",
        &[longshore.data().to_str().unwrap()],
    );
    longshore.run("get nodes").ok();
}

#[test]
fn wrong_arguments_are_told_with_the_right_ones() {
    let wrong = run(&["up", "--listen", "nowhere"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("--listen"), "{wrong:?}");
    assert_eq!(run(&["sail"]).code, Some(2));
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for verb in [
        "up",
        "demo",
        "kubeconfig",
        "status",
        "crds",
        "controllers",
        "csi",
    ] {
        assert!(
            help.stdout.contains(&format!("  {verb} ")),
            "{verb}:\n{}",
            help.stdout
        );
    }
    assert!(run(&["--version"]).stdout.starts_with("longshore 0."));
}

#[test]
fn without_an_instance_the_client_verbs_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for verb in ["kubeconfig", "status"] {
        let refused = run(&[verb, "--data-dir", data]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(refused.stderr.contains("longshore up"), "{refused:?}");
    }
}

#[test]
fn the_definitions_that_are_printed_can_be_applied() {
    let crds = run(&["crds"]);
    assert_eq!(crds.code, Some(0), "{crds:?}");
    assert!(
        crds.stdout.contains("name: datavolumes.cdi.kubevirt.io"),
        "{}",
        crds.stdout
    );
    let longshore = longshore();
    longshore
        .kubectl()
        .run_with("apply -f -", &crds.stdout)
        .ok();
    longshore.apply(&manifest::blank("disk", "16Mi"));
    longshore.wait_until_succeeded("disk");
}

#[test]
fn an_ordinary_user_imports_and_deletes() {
    const NOBODY: u32 = 65534;
    let setup = Setup::of(PROGRAM);
    let setup = if rustix::process::getuid().is_root() {
        setup.user(NOBODY)
    } else {
        setup
    };
    let longshore = match setup.try_start() {
        Ok(longshore) => longshore,
        Err(refusal) => {
            // Where the system forbids user namespaces, this is all that can be done.
            let said = refusal.stderr;
            assert!(
                said.contains("this user may not make user namespaces"),
                "{said}"
            );
            assert_eq!(refusal.status.code(), Some(1));
            return;
        }
    };
    let site = Site::new();
    let raw = site.raw();
    let image = image::qcow2(&raw, &site.path("disk.qcow2"), "-c");
    site.import(&longshore, "disk", &image);
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &raw);
    longshore.run("delete dv disk --timeout=60s").ok();
    assert!(longshore.run("get pvc,pv -o name").ok().is_empty());
    testkit::wait_for("the bytes to go", testkit::LONG, || {
        longshore.volumes().is_empty().then_some(())
    });
}
