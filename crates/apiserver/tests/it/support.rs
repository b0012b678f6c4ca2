//! A server on a temporary folder and a real port, and kubectl to talk to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use longshore_apiserver::ApiServer;
use longshore_apiserver::access::pki::Pki;
use longshore_apiserver::extend::Extensions;
use longshore_apiserver::server::{Limits, Listener};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server; dropping it stops the port.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) pki: Pki,
    url: String,
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// What a command printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(Extensions::default()).await
    }

    pub(crate) async fn with(extensions: Extensions) -> Self {
        Self::within(Limits::default(), extensions).await
    }

    /// A server that is less patient with its clients.
    pub(crate) async fn within(limits: Limits, extensions: Extensions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path(), extensions).await.unwrap();
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let listener = listener.with_limits(limits);
        let address = listener.address();
        let pki = Pki::open(&dir.path().join("pki"), &[]).unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        let url = listener.url();
        pki.write_kubeconfig(&kubeconfig, &url).unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let server = server.clone();
            let pki = pki.clone();
            async move {
                let stopped = async { drop(stopped.await) };
                listener.serve(server, &pki, stopped).await.unwrap();
            }
        });
        Self {
            server,
            kubeconfig,
            pki,
            url,
            dir,
            address,
            stop,
            serving,
        }
    }

    /// Stops the port, and waits until it is closed.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }

    /// Writes the kubeconfig as the certificates of this moment ask for.
    pub(crate) fn write_kubeconfig(&self) {
        self.pki
            .write_kubeconfig(&self.kubeconfig, &self.url)
            .unwrap();
    }

    /// The administrator with a copy of the kubeconfig of this moment.
    pub(crate) fn someone_as_admin(&self) -> Someone<'_> {
        let home = tempfile::tempdir_in(self.dir.path()).unwrap();
        std::fs::copy(&self.kubeconfig, home.path().join("kubeconfig")).unwrap();
        Someone {
            _cluster: self,
            home,
        }
    }

    /// The same port for somebody who shows these credentials (fields of a kubeconfig's user) and
    /// not the administrator's certificate.
    pub(crate) fn someone(&self, credentials: &str) -> Someone<'_> {
        let own = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let (before, rest) = own.split_once("    client-certificate-data").unwrap();
        let (_, after) = rest.split_once("contexts:").unwrap();
        let home = tempfile::tempdir_in(self.dir.path()).unwrap();
        let text = format!("{before}    {credentials}\ncontexts:{after}");
        std::fs::write(home.path().join("kubeconfig"), text).unwrap();
        Someone {
            _cluster: self,
            home,
        }
    }

    /// kubectl, ready for arguments.
    pub(crate) fn command(&self) -> Command {
        kubectl(&self.kubeconfig, self.dir.path())
    }

    /// Runs kubectl to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Answer {
        finish(self.command().args(arguments), "").await
    }

    /// Runs kubectl, which must succeed, and returns what it prints.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments).await;
        assert!(answer.success, "kubectl {arguments:?}: {}", answer.stderr);
        answer.stdout
    }

    /// Runs kubectl, which must fail, and returns what it complains about.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments).await;
        assert!(!answer.success, "kubectl {arguments:?}: {}", answer.stdout);
        answer.stderr
    }

    /// Runs kubectl with a manifest on its standard input.
    pub(crate) async fn feed(&self, arguments: &[&str], manifest: &str) -> Answer {
        finish(self.command().args(arguments), manifest).await
    }
}

/// Somebody else than the administrator at a [`Cluster`].
pub(crate) struct Someone<'a> {
    _cluster: &'a Cluster,
    home: TempDir,
}

impl Someone<'_> {
    /// Runs kubectl to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Answer {
        self.feed(arguments, "").await
    }

    /// Runs kubectl, which must succeed, and returns what it prints.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments).await;
        assert!(answer.success, "kubectl {arguments:?}: {}", answer.stderr);
        answer.stdout
    }

    /// Runs kubectl, which must fail, and returns what it complains about.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments).await;
        assert!(!answer.success, "kubectl {arguments:?}: {}", answer.stdout);
        answer.stderr
    }

    /// Runs kubectl with a manifest on its standard input.
    pub(crate) async fn feed(&self, arguments: &[&str], manifest: &str) -> Answer {
        let mut kubectl = kubectl(&self.home.path().join("kubeconfig"), self.home.path());
        finish(kubectl.args(arguments), manifest).await
    }
}

pub(crate) fn kubectl(kubeconfig: &Path, home: &Path) -> Command {
    let mut command = Command::new("kubectl");
    command
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn finish(command: &mut Command, input: &str) -> Answer {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // kubectl may end without reading its input.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Answer {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
