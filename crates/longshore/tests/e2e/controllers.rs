//! `longshore controllers`: the reconcilers as a process of their own, over TLS with a kubeconfig.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use testkit::{LONG, Longshore, Setup, finish, image, manifest, wait_for};

use crate::{PROGRAM, Site};

/// Ends with the test.
struct Controllers(Child);

impl Controllers {
    fn start(longshore: &Longshore) -> Self {
        let log = File::create(longshore.data().join("controllers.log")).unwrap();
        let child = Command::new(PROGRAM)
            .args(["controllers", "--kubeconfig"])
            .arg(longshore.data().join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_reconcilers_work_over_tls_as_well() {
    let longshore = Setup::of(PROGRAM).argument("--no-controllers").start();
    let site = Site::new();
    let raw = site.raw();
    let image = image::qcow2(&raw, &site.path("disk.qcow2"), "-c");
    site.import(&longshore, "disk", &image);
    let phase = longshore.kubectl().field("dv disk", "{.status.phase}");
    assert_eq!(phase.as_deref(), Some(""), "nobody has looked at it yet");

    let mut controllers = Controllers::start(&longshore);
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &raw);
    wait_for("the event", LONG, || {
        let events = longshore.run("events --for dv/disk").stdout;
        events.contains("ImportSucceeded").then_some(())
    });
    let pid = rustix::process::Pid::from_child(&controllers.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_for("its end", LONG, || controllers.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_one_process_began_another_one_finishes() {
    let longshore = Setup::of(PROGRAM).argument("--no-controllers").start();
    let names: Vec<String> = (0..6).map(|number| format!("disk-{number}")).collect();
    let controllers = Controllers::start(&longshore);
    for name in &names {
        longshore.apply(&manifest::blank(name, "16Mi"));
    }
    longshore.wait_until_succeeded(&names[0]);
    drop(controllers);
    let _controllers = Controllers::start(&longshore);
    for name in &names {
        longshore.wait_until_succeeded(name);
    }
    assert_eq!(longshore.volumes().len(), names.len());
}

#[test]
fn a_kubeconfig_that_is_not_there_is_told() {
    let mut command = Command::new(PROGRAM);
    command.args(["controllers", "--kubeconfig", "/nonexistent/kubeconfig"]);
    let refused = finish(command);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    assert!(
        refused.stderr.contains("/nonexistent/kubeconfig"),
        "{refused:?}"
    );
}
