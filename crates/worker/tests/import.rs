//! Workers against a real server, nginx, and on a real volume: a folder.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop the test")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use api::size::Overhead;
use image::{HttpOptions, Progress};
use longshore_worker::{
    config::{Config, Places, SourceConfig},
    failure::Failure,
    import,
    metrics::MetricsServer,
};
use tempfile::TempDir;

/// nginx serving a folder on loopback.
struct Nginx {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Workers of nginx are another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let root = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {root}/{name};"))
            .concat();
        let config = format!(
            "daemon off; pid {root}/pid; error_log stderr; events {{}}\n\
             http {{ access_log off; {temporary}\n\
             server {{ listen 127.0.0.1:{port}; root {root}/files; \
             location /forbidden {{ return 403; }} location /broken {{ return 500; }} }} }}\n"
        );
        fs::create_dir(folder.path().join("files")).unwrap();
        fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::yield_now();
        }
        Self {
            child,
            port,
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        self.child.wait().ok();
    }
}

fn config(volume: &Path, url: Option<&str>) -> Config {
    let options = HttpOptions {
        attempts: 2,
        first_pause: Duration::from_millis(1),
        ..HttpOptions::default()
    };
    let http = |url: &str| SourceConfig::Http {
        location: url.parse().unwrap(),
        options,
    };
    Config {
        source: url.map_or(SourceConfig::Blank, http),
        requested: Some(api::size::required(64 << 20, Overhead::DEFAULT)),
        overhead: Overhead::DEFAULT,
        preallocate: false,
        owner_uid: "uid".to_owned(),
        places: Places {
            volume: volume.to_owned(),
            termination_log: volume.join("log"),
            metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        },
    }
}

fn qemu_img(arguments: &[&Path]) {
    assert!(
        Command::new("qemu-img")
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(std::iter::repeat_n(
            state.to_be_bytes()[0],
            1 + (state >> 24) as usize,
        ));
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn an_image_becomes_a_disk_of_the_volumes_size() {
    let nginx = Nginx::start();
    let raw = noise(9 << 20);
    fs::write(nginx.file("disk.raw"), &raw).unwrap();
    qemu_img(&[
        "convert".as_ref(),
        "-c".as_ref(),
        "-O".as_ref(),
        "qcow2".as_ref(),
        &nginx.file("disk.raw"),
        &nginx.file("disk.qcow2"),
    ]);
    for name in ["disk.raw", "disk.qcow2"] {
        let volume = tempfile::tempdir().unwrap();
        let config = config(volume.path(), Some(&nginx.url(name)));
        let success = import::run(&config).unwrap();
        assert_eq!(success.message, "Import Complete");
        let disk = fs::read(volume.path().join("disk.img")).unwrap();
        assert_eq!(disk.len(), 64 << 20);
        assert!(disk[..raw.len()] == raw && disk[raw.len()..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn failures_read_as_people_know_them() {
    let nginx = Nginx::start();
    fs::write(nginx.file("page.html"), "<html>Not here</html>").unwrap();
    fs::write(nginx.file("large.raw"), vec![1; 70 << 20]).unwrap();
    let volume = tempfile::tempdir().unwrap();
    let fail =
        |name: &str| import::run(&config(volume.path(), Some(&nginx.url(name)))).unwrap_err();
    let connect = "Unable to process data: Unable to connect to http data source: \
                   expected status code 200, got";

    let missing = fail("missing");
    assert_eq!(
        missing.sentence(),
        format!("{connect} 404. Status: 404 Not Found")
    );
    assert!(missing.is_permanent());
    assert_eq!(
        fail("forbidden").sentence(),
        format!("{connect} 403. Status: 403 Forbidden")
    );
    let broken = fail("broken");
    assert_eq!(
        broken.sentence(),
        format!("{connect} 500. Status: 500 Internal Server Error")
    );
    assert!(!broken.is_permanent());
    assert!(matches!(
        fail("page.html"),
        Failure::Inspect(image::Error::Text { .. })
    ));
    assert_eq!(
        fail("large.raw").sentence(),
        "Unable to process data: Unable to transfer source data to target file: \
         virtual image size 73400320 is larger than the reported available storage 67108864. \
         A larger PVC is required"
    );
    assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 0);
}

#[test]
fn a_blank_disk_is_sparse_unless_it_is_preallocated() {
    let volume = tempfile::tempdir().unwrap();
    let mut config = config(volume.path(), None);
    for preallocate in [false, true] {
        config.preallocate = preallocate;
        let success = import::run(&config).unwrap();
        assert_eq!(success.preallocation_applied, preallocate);
        let metadata = fs::metadata(volume.path().join("disk.img")).unwrap();
        assert_eq!(
            (metadata.len(), metadata.mode() & 0o7777),
            (64 << 20, 0o660)
        );
        assert_eq!(metadata.blocks() * 512 >= metadata.len(), preallocate);
    }
}

#[test]
fn progress_is_served_over_tls() {
    let progress = Progress::default();
    progress.complete();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = MetricsServer::start(address, "a\"b", &progress).unwrap();
    let client = reqwest::blocking::Client::builder().tls_danger_accept_invalid_certs(true);
    let client = client.build().unwrap();
    let get = |path: &str| {
        client
            .get(format!("https://{}{path}", server.address()))
            .send()
            .unwrap()
    };
    let text = get("/metrics").text().unwrap();
    assert!(
        text.contains("\nkubevirt_cdi_import_progress_total{ownerUID=\"a\\\"b\"} 100.00\n"),
        "{text}"
    );
    assert!(
        text.contains("\nlongshore_import_bytes_read_total{ownerUID=\"a\\\"b\"} 0\n"),
        "{text}"
    );
    assert_eq!(get("/other").status(), 404);
    drop(server);
}
