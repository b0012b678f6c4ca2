//! The other processes of the demo.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Folders that are searched beside those of `PATH`: ordinary users do not have them there.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/// How long a process may take to start, or to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Where the programs of this machine are that the demo needs.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) mke2fs: PathBuf,
    pub(super) qemu_img: PathBuf,
    nginx: PathBuf,
}

impl Programs {
    /// Finds them all, or names all that are missing.
    pub(super) fn find() -> Result<Self> {
        let wanted = [
            ("mke2fs", "e2fsprogs"),
            ("qemu-img", "qemu-utils"),
            ("nginx", "nginx-light"),
        ];
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|(program, _)| find(program).is_none())
            .map(|(_, package)| *package)
            .collect();
        match (find("mke2fs"), find("qemu-img"), find("nginx")) {
            (Some(mke2fs), Some(qemu_img), Some(nginx)) => Ok(Self {
                mke2fs,
                qemu_img,
                nginx,
            }),
            _ => bail!(
                "the demo needs more programs: run apt-get install {}",
                missing.join(" ")
            ),
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command that dies with this process, but not by a ctrl-c that is meant for it.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .kill_on_drop(true)
        .process_group(0)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end, and gives its last words if it fails.
pub(super) async fn finish(mut command: Command, what: &str) -> Result<()> {
    let output = command
        .output()
        .await
        .with_context(|| format!("failed to start {what}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().last().unwrap_or("it said nothing");
    ensure!(output.status.success(), "{what} failed: {words}");
    Ok(())
}

/// A standalone Longshore of its own.
#[derive(Debug)]
pub(super) struct Standalone {
    child: Child,
    pub(super) data: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

impl Standalone {
    /// Starts this very program in `folder`, and waits until it is ready.
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let program = env::current_exe().context("failed to find this program's own file")?;
        let data = folder.join("data");
        let mut child = command(&program)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .env(sys::lifeline::VARIABLE, sys::lifeline::STDIN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start longshore up")?;
        let stdout = child.stdout.take().context("longshore up has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line == "longshore is ready" {
                    return anyhow::Ok(());
                }
            }
            bail!("longshore up ended at once; what it said is above")
        };
        let ready = timeout(PATIENCE, ready).await;
        ready.with_context(|| format!("longshore up was not ready after {PATIENCE:?}"))??;
        Ok(Self {
            child,
            kubeconfig: data.join(crate::connect::KUBECONFIG),
            data,
        })
    }

    /// Lets it stop by itself.
    pub(super) async fn stop(mut self) -> Result<()> {
        // The end of its lifeline asks it to stop.
        drop(self.child.stdin.take());
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.with_context(|| format!("longshore up did not end in {PATIENCE:?}"))?;
        let status = ended.context("failed to wait for longshore up")?;
        ensure!(status.success(), "longshore up ended with {status}");
        Ok(())
    }
}

/// A web server of another make, on a free port. It ends with this value.
#[derive(Debug)]
pub(super) struct WebServer {
    _child: Child,
    address: SocketAddr,
}

impl WebServer {
    /// Serves `folder`.
    pub(super) async fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let address = probe.and_then(|probe| probe.local_addr());
        let address = address.context("failed to find a free port")?;
        let prefix = folder.join("nginx");
        let written = fs::create_dir(&prefix)
            .and_then(|()| fs::write(prefix.join("nginx.conf"), configuration(address, folder)));
        written.with_context(|| format!("failed to write to {}", prefix.display()))?;
        let mut child = command(&programs.nginx)
            .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
            .arg(&prefix)
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start nginx")?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().context("failed to look after nginx")?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(prefix.join("error.log")).unwrap_or_default();
                bail!(
                    "nginx does not serve: {}",
                    log.lines().last().unwrap_or("it does not say why")
                );
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self {
            _child: child,
            address,
        })
    }

    /// The address of a file.
    pub(super) fn url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.address)
    }
}

/// One process in the foreground, which keeps all its files to itself.
fn configuration(address: SocketAddr, root: &Path) -> String {
    let root = root.display();
    format!(
        "daemon off;
         master_process off;
         pid nginx.pid;
         events {{ worker_connections 64; }}
         http {{
             access_log off;
             client_body_temp_path body;
             proxy_temp_path proxy;
             fastcgi_temp_path fastcgi;
             uwsgi_temp_path uwsgi;
             scgi_temp_path scgi;
             default_type application/octet-stream;
             sendfile on;
             server {{ listen {address}; root \"{root}\"; }}
         }}
        "
    )
}
