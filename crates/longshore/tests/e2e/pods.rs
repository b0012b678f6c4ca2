//! Pods of a standalone are processes: listed, read, confined, restarted, and ended with their Pod.

use testkit::{AwkwardServer, LONG, image, manifest, process, wait_for};

use crate::longshore;

/// A Pod without volumes.
fn pod(name: &str, restart: &str, command: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: {restart}
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: host
      command: [sh, -c, "{command}"]
"#
    )
}

#[test]
fn a_pod_runs_and_its_output_is_read() {
    let longshore = longshore();
    longshore.apply(&pod("greeter", "Never", "echo one; echo two >&2; exit 0"));
    longshore
        .kubectl()
        .wait("pod greeter", "{.status.phase}", "Succeeded");
    let log = longshore.run("logs greeter").ok();
    assert!(log.contains("one\n") && log.contains("two\n"), "{log}");
    assert_eq!(
        longshore.run("logs greeter --tail=1").ok().lines().count(),
        1
    );
    longshore
        .run("get pod greeter")
        .prints(&["0/1", "Completed"]);
    longshore
        .run("describe pod greeter")
        .prints(&["Exit Code:", "node-1"]);
    longshore.run("logs nobody").fails_with(&["NotFound"]);
}

#[test]
fn logs_are_followed() {
    let longshore = longshore();
    longshore.apply(&pod(
        "counter",
        "Never",
        "for i in 1 2 3; do echo number $i; done; sleep 1000",
    ));
    longshore
        .kubectl()
        .wait("pod counter", "{.status.phase}", "Running");
    let logs = longshore.kubectl().watch("logs -f counter");
    logs.wait_for_line(&["number 3"]);
}

#[test]
fn a_failing_pod_is_restarted_with_back_off() {
    let longshore = longshore();
    longshore.apply(&pod("failing", "OnFailure", "echo trying; exit 3"));
    wait_for("a second try", LONG, || {
        let path = "{.status.containerStatuses[0].restartCount}";
        let count = longshore.kubectl().field("pod failing", path)?;
        (count.parse::<u32>().ok()? >= 1).then_some(())
    });
    wait_for("the back-off", LONG, || {
        longshore
            .run("get pod failing")
            .ok()
            .contains("CrashLoopBackOff")
            .then_some(())
    });
    longshore.run("logs failing --previous").prints(&["trying"]);
    longshore
        .run("describe pod failing")
        .prints(&["Exit Code:", "3", "BackOff"]);
}

#[test]
fn a_pod_that_is_deleted_ends_with_all_its_processes() {
    let longshore = longshore();
    longshore.apply(&pod("family", "Never", "sleep 1000 & sleep 1001 & wait"));
    longshore
        .kubectl()
        .wait("pod family", "{.status.phase}", "Running");
    let family = wait_for("its processes", LONG, || {
        let all = process::descendants(longshore.pid());
        let family: Vec<_> = all
            .into_iter()
            .filter(|process| process.command.starts_with("sleep 100"))
            .collect();
        (family.len() == 2).then_some(family)
    });
    longshore.run("delete pod family --timeout=60s").ok();
    for process in family {
        wait_for("its end", LONG, || (!process.is_alive()).then_some(()));
    }
}

#[test]
fn a_pod_sees_its_own_volumes_and_nothing_else_of_longshore() {
    let longshore = longshore();
    for name in ["mine", "other"] {
        longshore.apply(&manifest::blank(name, "16Mi"));
        longshore.wait_until_succeeded(name);
    }
    let data = longshore.data();
    let command = format!(
        "ls /disk; ls {} 2>/dev/null; ls -d /proc/[0-9]* | wc -l; touch /usr/x 2>/dev/null && echo wrote",
        data.display()
    );
    longshore.apply(&manifest::consumer("curious", "mine", &command));
    longshore
        .kubectl()
        .wait("pod curious", "{.status.phase}", "Failed");
    let log = longshore.run("logs curious").ok();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "disk.img");
    assert_eq!(lines.len(), 2, "it sees more than it should: {log}");
    let processes: u32 = lines[1].trim().parse().unwrap();
    assert!(processes <= 5, "it sees {processes} processes");
}

#[test]
fn a_pod_with_an_image_only_says_that_images_are_not_run() {
    let longshore = longshore();
    longshore.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: main, image: \
         nginx}]}}",
    );
    wait_for("the reason", LONG, || {
        longshore
            .run("get pod web")
            .ok()
            .contains("ErrImagePull")
            .then_some(())
    });
    longshore
        .run("describe pod web")
        .prints(&["ErrImagePull", "standalone"]);
    longshore.run("delete pod web --timeout=60s").ok();
}

#[test]
fn the_worker_of_an_import_is_listed_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let raw = image::pattern(&folder.path().join("disk.img"), 16 * image::MIB);
    let server = AwkwardServer::of(std::fs::read(raw).unwrap())
        .holding_after(8 << 20)
        .start();
    let longshore = longshore();
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));
    wait_for("the first half", LONG, || {
        (server.sent() >= 8 << 20).then_some(())
    });
    let uid = longshore
        .kubectl()
        .field("pvc disk", "{.metadata.uid}")
        .unwrap();
    let name = format!("importer-prime-{uid}");
    longshore
        .kubectl()
        .wait(&format!("pod {name}"), "{.status.phase}", "Running");
    longshore.run("get pods").prints(&[&name, "1/1", "Running"]);
    longshore
        .run(&format!("logs {name}"))
        .prints(&["importing", "disk.img"]);
    longshore
        .run(&format!("describe pod {name}"))
        .prints(&["importer", "/data", "Started"]);
    let worker = longshore.workers().pop().unwrap();
    if rustix::process::getuid().is_root() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(field("Uid:"), "107", "a worker is no root");
        assert_eq!(field("CapEff:"), "0000000000000000");
        assert_eq!(field("NoNewPrivs:"), "1");
    }
    server.release();
    longshore.wait_until_succeeded("disk");
}

#[test]
fn pods_are_spread_over_the_nodes_that_are_asked_for() {
    let longshore = testkit::Setup::of(crate::PROGRAM)
        .argument("--nodes=3")
        .start();
    longshore
        .run("wait --for=condition=Ready --timeout=60s node --all")
        .ok();
    assert_eq!(longshore.run("get nodes -o name").ok().lines().count(), 3);
    longshore.apply(&pod("pinned", "Never", "sleep 1000").replace(
        "spec:",
        "spec:\n  nodeSelector: {kubernetes.io/hostname: node-3}",
    ));
    longshore
        .kubectl()
        .wait("pod pinned", "{.status.phase}", "Running");
    let node = longshore.kubectl().field("pod pinned", "{.spec.nodeName}");
    assert_eq!(node.as_deref(), Some("node-3"));
    longshore.apply(&pod("lost", "Never", "true").replace(
        "spec:",
        "spec:\n  nodeSelector: {kubernetes.io/hostname: node-9}",
    ));
    wait_for("the reason", LONG, || {
        longshore
            .run("describe pod lost")
            .ok()
            .contains("FailedScheduling")
            .then_some(())
    });
}
