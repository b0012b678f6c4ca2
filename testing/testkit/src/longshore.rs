//! A standalone Longshore in a temporary folder.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Kubectl, LONG, Output,
    process::{self, Process},
    wait_for,
};

/// The line that says that everything is served.
const READY: &str = "longshore is ready";
/// How long it may take until then, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(30);
/// How much of the log is shown when a test fails.
const SHOWN_LOG: usize = 60;

/// How to start a Longshore.
#[derive(Debug)]
pub struct Setup {
    program: PathBuf,
    arguments: Vec<String>,
    user: Option<u32>,
}

impl Setup {
    /// By this program.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            user: None,
        }
    }

    /// With one more argument of `longshore up`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// As this user, without any rights of root. Only root can do that.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Longshore {
        match self.try_start() {
            Ok(longshore) => longshore,
            Err(refusal) => panic!("longshore did not start: {}", refusal.stderr),
        }
    }

    /// Starts it, and waits until it is ready or has refused.
    #[track_caller]
    pub fn try_start(self) -> Result<Longshore, Refusal> {
        let folder = tempfile::Builder::new()
            .prefix("longshore-")
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        let mut setup = self;
        if let Some(user) = setup.user {
            // The tree may lie where only its owner may look.
            let copy = folder.path().join("longshore");
            if fs::hard_link(&setup.program, &copy).is_err() {
                fs::copy(&setup.program, &copy).unwrap();
            }
            setup.program = copy;
            chown(folder.path(), Some(user), Some(user)).unwrap();
        }
        Longshore::launch(setup, folder)
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"));
        command.args(&self.arguments).current_dir("/");
        if let Some(user) = self.user {
            command
                .uid(user)
                .gid(user)
                .env("HOME", folder)
                .env_remove("XDG_DATA_HOME");
        }
        command
    }
}

/// A Longshore that did not start.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stderr: String,
}

/// A running Longshore. It ends, and its folder goes, with this value.
#[derive(Debug)]
pub struct Longshore {
    setup: Setup,
    folder: TempDir,
    child: Child,
    kubectl: Kubectl,
    /// The address of its API, as it said.
    pub url: String,
    /// How long it took from the start of the process to ready.
    pub time_to_ready: Duration,
}

impl Longshore {
    /// Starts this program in a temporary folder, and waits until it is ready.
    #[track_caller]
    pub fn start(program: impl Into<PathBuf>) -> Self {
        Setup::of(program).start()
    }

    fn launch(setup: Setup, folder: TempDir) -> Result<Self, Refusal> {
        let log = folder.path().join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let began = Instant::now();
        let mut child = setup
            .command(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", setup.program.display()));
        let lines = lines_of(child.stdout.take().unwrap());
        let mut said = Vec::new();
        loop {
            let left = START.saturating_sub(began.elapsed());
            match lines.recv_timeout(left) {
                Ok(line) if line == READY => break,
                Ok(line) => said.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = child.wait().unwrap();
                    let stderr = fs::read_to_string(folder.path().join("log")).unwrap();
                    return Err(Refusal { status, stderr });
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let log = fs::read_to_string(folder.path().join("log")).unwrap();
                    panic!("not ready after {START:?}; it said {said:?}\n{log}");
                }
            }
        }
        let time_to_ready = began.elapsed();
        let value = |name: &str| {
            let found = said.iter().find_map(|line| line.strip_prefix(name));
            found
                .unwrap_or_else(|| panic!("no line {name:?} in {said:?}"))
                .to_owned()
        };
        let url = value("listening: ");
        let kubectl = Kubectl::new(value("kubeconfig: ").as_ref(), &folder.path().join("home"));
        Ok(Self {
            setup,
            folder,
            child,
            kubectl,
            url,
            time_to_ready,
        })
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its `kubectl`.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Runs `kubectl` with these arguments, separated by spaces.
    #[track_caller]
    pub fn run(&self, arguments: &str) -> Output {
        self.kubectl.run(arguments)
    }

    /// Applies a manifest, which must be accepted.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl.run_with("apply -f -", manifest).ok()
    }

    /// Waits until a DataVolume is in `phase`.
    #[track_caller]
    pub fn wait_until_phase(&self, data_volume: &str, phase: &str) {
        self.kubectl
            .wait(&format!("dv {data_volume}"), "{.status.phase}", phase);
    }

    /// Waits until a DataVolume is `Succeeded`.
    #[track_caller]
    pub fn wait_until_succeeded(&self, data_volume: &str) {
        self.wait_until_phase(data_volume, "Succeeded");
    }

    /// Waits until a DataVolume's `Running` condition has the reason `Error` and a message that
    /// contains `part`, and gives the message.
    #[track_caller]
    pub fn wait_until_failing(&self, data_volume: &str, part: &str) -> String {
        let what = format!("dv {data_volume}");
        let mut last = None;
        let deadline = Instant::now() + LONG;
        wait_for(&format!("{what} to fail with {part:?}"), LONG * 2, || {
            let running = |field: &str| {
                let path = format!("{{.status.conditions[?(@.type==\"Running\")].{field}}}");
                self.kubectl.field(&what, &path).unwrap_or_default()
            };
            let (reason, message) = (running("reason"), running("message"));
            if reason == "Error" && message.contains(part) {
                return Some(message);
            }
            last = Some((reason, message));
            assert!(
                Instant::now() < deadline,
                "{what} does not fail with {part:?}, but with {last:?}\n{}",
                self.run(&format!("describe {what}")).stdout
            );
            None
        })
    }

    /// The file on the volume of a claim in the namespace `default`.
    #[track_caller]
    pub fn disk(&self, claim: &str) -> PathBuf {
        self.volume(claim).join("disk.img")
    }

    /// The folder of the volume that a claim in the namespace `default` is bound to.
    #[track_caller]
    pub fn volume(&self, claim: &str) -> PathBuf {
        let volume = self
            .kubectl
            .field(&format!("pvc {claim}"), "{.spec.volumeName}")
            .unwrap();
        assert!(!volume.is_empty(), "the claim {claim} is not bound");
        let handle = self
            .kubectl
            .field(&format!("pv {volume}"), "{.spec.csi.volumeHandle}");
        let handle = handle.unwrap();
        let found = self
            .volumes()
            .into_iter()
            .find(|folder| folder.ends_with(&handle));
        found.unwrap_or_else(|| panic!("no folder for the volume {handle}"))
    }

    /// The folders of all volumes, on all nodes.
    pub fn volumes(&self) -> Vec<PathBuf> {
        let nodes = entries(&self.data().join("nodes"));
        let pools = nodes.iter().map(|node| node.join("pool"));
        let visible = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
        };
        pools
            .flat_map(|pool| entries(&pool))
            .filter(visible)
            .collect()
    }

    /// The processes that do the work of worker Pods now.
    pub fn workers(&self) -> Vec<Process> {
        let all = process::descendants(self.pid()).into_iter();
        all.filter(|process| process.command.contains("worker import"))
            .collect()
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.stop(Signal::TERM)
    }

    /// Ends it as ctrl-c does, and waits until it has stopped.
    #[track_caller]
    pub fn interrupt(&mut self) -> ExitStatus {
        self.stop(Signal::INT)
    }

    /// Ends it at once, and waits until all its processes are gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.stop(Signal::KILL);
    }

    #[track_caller]
    fn stop(&mut self, signal: Signal) -> ExitStatus {
        let family = process::descendants(self.pid());
        process::signal(self.pid(), signal);
        let status = wait_for("longshore to end", LONG, || self.child.try_wait().unwrap());
        for process in family {
            let what = format!("the end of {}: {}", process.pid, process.command);
            wait_for(&what, Duration::from_secs(20), || {
                (!process.is_alive()).then_some(())
            });
        }
        let mounts = process::mounts_below(self.folder.path(), std::process::id());
        assert!(mounts.is_empty(), "still mounted: {mounts:?}");
        status
    }

    /// Starts it again in the same folder, after it has ended.
    #[track_caller]
    #[must_use]
    pub fn start_again(mut self) -> Self {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        let setup = Setup {
            program: self.setup.program.clone(),
            arguments: self.setup.arguments.clone(),
            user: self.setup.user,
        };
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        match Self::launch(setup, folder) {
            Ok(longshore) => longshore,
            Err(refusal) => panic!("longshore did not start again: {}", refusal.stderr),
        }
    }

    /// Stops it and starts it again.
    #[track_caller]
    #[must_use]
    pub fn restart(mut self) -> Self {
        let status = self.terminate();
        assert!(status.success(), "it ended with {status}");
        self.start_again()
    }
}

impl Drop for Longshore {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            show(&self.log());
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the log of a test that failed, for the one who looks"
)]
fn show(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN_LOG)..];
    eprintln!("--- the end of longshore's log\n{}\n---", last.join("\n"));
}

/// Reads to the end in a thread of its own, so that the writer never has to wait.
fn lines_of(stdout: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more after the line that says ready.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
