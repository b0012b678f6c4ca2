//! Containers as real processes: what they see, what they may do, and how they end.
//!
//! They are started by the example program `node`, as root and as an ordinary user. Where the
//! machine permits no namespaces, the tests say so and pass.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says when it is skipped"
)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// An ordinary user of the machine: nobody.
const NOBODY: u32 = 65534;

/// The example program, which Cargo builds beside the tests.
fn program() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let program = this
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/node");
    assert!(
        program.exists(),
        "{} is not built: run all targets",
        program.display()
    );
    program
}

fn container(user: &str, volume: Option<&Path>, script: &str) -> Command {
    let mut command = Command::new(program());
    command.args(["--user", user]);
    if let Some(volume) = volume {
        command
            .arg("--volume")
            .arg(format!("{}:/data", volume.display()));
    }
    command.args(["sh", "-c", script]).stdin(Stdio::null());
    command
}

/// Runs a container; `None` where that is not permitted.
fn run(mut command: Command) -> Option<Output> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("user namespaces") {
        println!("skipped: {errors}");
        return None;
    }
    Some(output)
}

fn says(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// A folder that the user owns, as a volume is.
fn volume(owner: u32) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(owner), Some(owner)).unwrap();
    folder
}

/// Whether files can be given to other users here.
fn is_root() -> bool {
    let is_root =
        sys::namespace::can_become(107, 107).unwrap() && rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: needs root");
    }
    is_root
}

#[test]
fn a_container_sees_its_volume_and_nothing_else() {
    if !is_root() {
        return;
    }
    let folder = volume(107);
    let secret = TempDir::new().unwrap();
    fs::write(secret.path().join("file"), "secret").unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let script = format!(
        "ls -A /; echo of-tmp: $(ls -A /tmp); echo of-home: $(ls -A /root /home 2>/dev/null);
         test ! -e {0} && test ! -e /etc/shadow && test -e /etc/passwd && echo hidden",
        secret.path().display()
    );
    let Some(output) = run(container("107", Some(folder.path()), &script)) else {
        return;
    };
    let said = says(&output);
    assert!(said.contains("of-tmp:\nof-home:\nhidden"), "{said}");
    let top: Vec<&str> = said
        .lines()
        .take_while(|line| !line.starts_with("of-"))
        .collect();
    for name in top {
        assert!(
            [
                "bin",
                "sbin",
                "usr",
                "etc",
                "dev",
                "proc",
                "tmp",
                "run",
                "data",
                "longshore"
            ]
            .contains(&name)
                || name.starts_with("lib"),
            "/{name} is visible"
        );
    }
}

#[test]
fn a_volume_is_writable_as_the_containers_user() {
    if !is_root() {
        return;
    }
    let folder = volume(107);
    let script = "id -u; id -g; echo data > /data/disk.img; ! touch /usr/x 2>/dev/null";
    let Some(output) = run(container("107", Some(folder.path()), script)) else {
        return;
    };
    assert_eq!(says(&output), "107\n107\n");
    let file = folder.path().join("disk.img");
    assert_eq!(fs::read_to_string(&file).unwrap(), "data\n");
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(&file).unwrap()),
        107
    );
}

#[test]
fn an_ordinary_users_container_writes_as_that_user() {
    if !is_root() {
        return;
    }
    let folder = volume(NOBODY);
    let script = "id -u; echo data > /data/disk.img; stat -c %u /data/disk.img";
    let mut command = container("107", Some(folder.path()), script);
    command.uid(NOBODY).gid(NOBODY);
    let Some(output) = run(command) else {
        return;
    };
    assert_eq!(says(&output), "107\n107\n");
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.path().join("disk.img")).unwrap());
    assert_eq!(owner, NOBODY);
}

#[test]
fn a_container_has_no_rights_to_gain() {
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";
    for user in ["0", "107"] {
        let Some(output) = run(container(user, None, script)) else {
            return;
        };
        let said = says(&output);
        for line in [
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(said.contains(line), "{user}: {said}");
        }
    }
}

#[test]
fn a_container_sees_only_its_own_processes() {
    let Some(output) = run(container(
        "107",
        None,
        "ls /proc | grep -c '^[0-9]'; hostname",
    )) else {
        return;
    };
    let said = says(&output);
    let (processes, host_name) = said.trim().split_once('\n').unwrap();
    assert!(processes.parse::<u32>().unwrap() <= 5, "{said}");
    assert_eq!(host_name, "sandbox");
}

#[test]
fn this_program_is_in_the_containers_path() {
    let script = "command -v node; test -x /longshore/bin/longshore && echo there";
    let Some(output) = run(container("107", None, script)) else {
        return;
    };
    assert!(says(&output).ends_with("there\n"));
}

#[test]
fn the_exit_status_is_passed_on() {
    for (script, status) in [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let Some(output) = run(container("107", None, script)) else {
            return;
        };
        assert_eq!(output.status.code(), Some(status), "{script}");
    }
}

#[test]
fn a_container_that_cannot_start_says_why() {
    let mut missing = Command::new(program());
    missing.args(["--user", "107", "no-such-program"]);
    let mut nowhere = Command::new(program());
    nowhere.args(["--volume", "/tmp:/data/../etc", "true"]);
    let mut gone = Command::new(program());
    gone.args(["--volume", "/no/such/folder:/data", "true"]);
    for (command, why) in [
        (missing, "cannot start \"no-such-program\""),
        (nowhere, "must be absolute and without \"..\""),
        (gone, "/no/such/folder"),
    ] {
        let Some(output) = run(command) else {
            return;
        };
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_planted_link_is_no_volume() {
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let Some(output) = run(container("107", Some(&link), "ls /data")) else {
        return;
    };
    assert!(!output.status.success());
}

#[test]
fn even_root_cannot_write_the_machines_settings() {
    let script = "test -e /proc/self || { echo no process list; exit; }
         for file in sys/kernel/panic sys/vm/drop_caches sysrq-trigger; do
             test -e /proc/$file || continue
             (: >> /proc/$file) 2>/dev/null && echo $file is writable
         done
         for file in kallsyms kcore; do
             test ! -e /proc/$file || test ! -s /proc/$file || echo $file is readable
         done
         test -r /proc/sys/kernel/ostype && echo settings are visible";
    let Some(output) = run(container("0", None, script)) else {
        return;
    };
    let said = says(&output);
    assert!(
        ["settings are visible\n", "no process list\n"].contains(&said.as_str()),
        "{said}"
    );
}

#[test]
fn a_container_has_no_terminal() {
    let script = "test ! -e /dev/tty && (test ! -e /proc/self || cut -d' ' -f6,7 /proc/self/stat)";
    let Some(output) = run(container("107", None, script)) else {
        return;
    };
    // The session of process 1, and no terminal.
    assert!(["1 0\n", ""].contains(&says(&output).as_str()));
}

/// A container that never ends.
fn endless() -> Option<Child> {
    let script = "(trap '' TERM HUP; while :; do sleep 1000; done) & echo ready; wait";
    let mut agent = container("107", None, script)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    if agent
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .is_ok()
    {
        return Some(agent);
    }
    let output = agent.wait_with_output().unwrap();
    println!("skipped: {}", String::from_utf8_lossy(&output.stderr));
    None
}

/// What `/proc/<pid>/stat` says after the name: the state, the parent, the process group.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// All processes below one.
fn descendants(ancestor: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((process, stat(process)?[1].parse().ok()?))
        })
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            processes
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(process, _)| process),
        );
        next += 1;
    }
    found.split_off(1)
}

#[test]
fn a_container_dies_with_its_agent() {
    let Some(mut agent) = endless() else {
        return;
    };
    let below = descendants(agent.id());
    assert!(
        below.len() >= 4,
        "parent, process 1, shell and its child: {below:?}"
    );
    let group = &stat(agent.id()).unwrap()[2];
    for process in &below {
        let stat = stat(*process).unwrap();
        assert_ne!(
            &stat[2], group,
            "a container is in its agent's process group"
        );
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    for process in below {
        while stat(process).is_some_and(|stat| stat[0] != "Z") {
            assert!(Instant::now() < deadline, "process {process} lives on");
            std::thread::yield_now();
        }
    }
}
