//! nginx as a child process: a web server of another make, which behaves as those of the world do.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{tool, wait_for};

/// An nginx that serves the files of one folder on a free port of the loopback interface.
#[derive(Debug)]
pub struct WebServer {
    child: Child,
    address: SocketAddr,
    prefix: TempDir,
}

impl WebServer {
    /// Serves `folder` as nginx does.
    #[track_caller]
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, "")
    }

    /// Serves `folder`, and refuses requests for parts of a file.
    #[track_caller]
    pub fn start_without_ranges(folder: &Path) -> Self {
        Self::start_with(folder, "max_ranges 0;")
    }

    #[track_caller]
    fn start_with(folder: &Path, directives: &str) -> Self {
        // A port that was free a moment ago can be taken by now: then another one is tried.
        wait_for("nginx to listen", Duration::from_secs(20), || {
            Self::try_start(folder, directives)
        })
    }

    fn try_start(folder: &Path, directives: &str) -> Option<Self> {
        let prefix = tempfile::Builder::new().prefix("nginx-").tempdir().unwrap();
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        fs::write(
            prefix.path().join("nginx.conf"),
            configuration(address, folder, directives),
        )
        .unwrap();
        let child = tool("nginx")
            .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
            .arg(prefix.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            address,
            prefix,
        };
        let listens = wait_for("nginx to start", Duration::from_secs(10), || {
            if server.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        listens.then_some(server)
    }

    /// The address of a file.
    pub fn url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.address)
    }

    /// What was asked for, a request per line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.prefix.path().join("access.log")).unwrap_or_default()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(address: SocketAddr, folder: &Path, directives: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
         master_process off;
         pid nginx.pid;
         events {{ worker_connections 256; }}
         http {{
             access_log access.log;
             client_body_temp_path body;
             proxy_temp_path proxy;
             fastcgi_temp_path fastcgi;
             uwsgi_temp_path uwsgi;
             scgi_temp_path scgi;
             default_type application/octet-stream;
             sendfile on;
             server {{
                 listen {address};
                 root \"{folder}\";
                 {directives}
             }}
         }}
        "
    )
}
