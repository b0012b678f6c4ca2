//! The real `kubectl`, with a configuration and caches of its own.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{LONG, finish, tool, wait_for};

/// How to call `kubectl` for one API server.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    command: String,
    code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it printed; the command must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code,
            Some(0),
            "{} failed: {}{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// What it complained about; the command must have failed, and must say all of `parts`.
    #[track_caller]
    pub fn fails_with(self, parts: &[&str]) -> String {
        assert_ne!(
            self.code,
            Some(0),
            "{} succeeded: {}",
            self.command,
            self.stdout
        );
        for part in parts {
            let said = self.stderr.contains(part);
            assert!(
                said,
                "{}: {part:?} is not in {:?}",
                self.command, self.stderr
            );
        }
        self.stderr
    }

    /// Checks that all of `parts` were printed, after success.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> String {
        let command = self.command.clone();
        let stdout = self.ok();
        for part in parts {
            assert!(
                stdout.contains(part),
                "{command}: {part:?} is not in:\n{stdout}"
            );
        }
        stdout
    }
}

impl Kubectl {
    /// With this kubeconfig; caches are kept in `home`.
    pub fn new(kubeconfig: &Path, home: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
        }
    }

    /// A command with these arguments, separated by spaces, to be changed before it is run.
    pub fn command(&self, arguments: &str) -> Command {
        self.command_of(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    fn command_of(&self, arguments: &[&str]) -> Command {
        let mut command = tool("kubectl");
        command
            .args(arguments)
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBE_EDITOR", "true")
            .stdin(Stdio::null());
        command
    }

    /// Runs it with these arguments, separated by spaces.
    #[track_caller]
    pub fn run(&self, arguments: &str) -> Output {
        self.finish(self.command(arguments), None)
    }

    /// Runs it with arguments that contain spaces themselves.
    #[track_caller]
    pub fn run_args(&self, arguments: &[&str]) -> Output {
        self.finish(self.command_of(arguments), None)
    }

    /// Runs it with this text at its standard input.
    #[track_caller]
    pub fn run_with(&self, arguments: &str, input: &str) -> Output {
        self.finish(self.command(arguments), Some(input))
    }

    /// Runs a prepared command.
    #[track_caller]
    pub fn finish(&self, mut command: Command, input: Option<&str>) -> Output {
        let shown = format!("kubectl {:?}", command.get_args().collect::<Vec<_>>());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        Output {
            command: shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The object or list that these arguments of `get` name.
    #[track_caller]
    pub fn json(&self, what: &str) -> Value {
        let text = self.run(&format!("get {what} -o json")).ok();
        serde_json::from_str(&text).unwrap()
    }

    /// What a JSONPath finds in what these arguments of `get` name; nothing where there is no such
    /// object yet.
    pub fn field(&self, what: &str, path: &str) -> Option<String> {
        let path = format!("jsonpath={path}");
        let mut arguments: Vec<&str> = vec!["get"];
        arguments.extend(what.split_whitespace());
        arguments.extend(["-o", &path]);
        let output = self.run_args(&arguments);
        output.succeeded().then_some(output.stdout)
    }

    /// Waits, with `kubectl wait`, until a field has a value.
    #[track_caller]
    pub fn wait(&self, what: &str, path: &str, value: &str) {
        wait_for(&format!("{what} to exist"), LONG, || {
            self.run(&format!("get {what}")).succeeded().then_some(())
        });
        let until = format!("--for=jsonpath={path}={value}");
        let deadline = format!("--timeout={}s", LONG.as_secs());
        let mut arguments = vec!["wait", &until, &deadline];
        arguments.extend(what.split_whitespace());
        let output = self.run_args(&arguments);
        if !output.succeeded() {
            let mut describe = vec!["describe"];
            describe.extend(what.split_whitespace());
            panic!("{}\n{}", output.stderr, self.run_args(&describe).stdout);
        }
    }

    /// Starts a proxy on a free port.
    #[track_caller]
    pub fn proxy(&self) -> Proxy {
        let process = self.watch("proxy --port=0");
        let line = process.wait_for_line(&["Starting to serve on"]);
        let address = line.rsplit(' ').next().unwrap_or_default();
        Proxy {
            url: format!("http://{address}"),
            _process: process,
        }
    }

    /// Starts a command that goes on, such as `get -w`.
    #[track_caller]
    pub fn watch(&self, arguments: &str) -> Watch {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sink, stdout) = (lines.clone(), child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                sink.lock().push(line);
            }
        });
        Watch { child, lines }
    }
}

/// A `kubectl proxy`: the API by plain HTTP, for what `kubectl` itself does not show.
#[derive(Debug)]
pub struct Proxy {
    _process: Watch,
    url: String,
}

impl Proxy {
    /// Sends a request by `curl`, with a body in JSON if there is one, and gives the answer.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let mut curl = tool("curl");
        curl.args(["-s", "-X", method, &format!("{}{path}", self.url)]);
        if let Some(body) = body {
            curl.args([
                "-H",
                "Content-Type: application/json",
                "--data-binary",
                body,
            ]);
        }
        let finished = finish(curl);
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {finished:?}"))
    }
}

/// A `kubectl` that goes on printing.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// Waits for a line that contains all of `parts`.
    #[track_caller]
    pub fn wait_for_line(&self, parts: &[&str]) -> String {
        wait_for(&format!("a line with {parts:?}"), LONG, || {
            let lines = self.lines.lock();
            lines
                .iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .cloned()
        })
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
