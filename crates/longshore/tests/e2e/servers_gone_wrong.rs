//! Web servers that refuse, fail, break off, or know only half of HTTP.

use std::{fs, net::TcpListener};

use tempfile::TempDir;
use testkit::{
    AwkwardServer, Longshore, WebServer,
    image::{self, MIB},
    manifest,
};

use crate::{Site, longshore};

/// A raw image and a qcow2 image of it, with their bytes.
struct Images {
    _folder: TempDir,
    raw: std::path::PathBuf,
    qcow2: std::path::PathBuf,
}

impl Images {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let raw = image::pattern(&folder.path().join("disk.img"), 12 * MIB);
        let qcow2 = image::qcow2(&raw, &folder.path().join("disk.qcow2"), "-c");
        Self {
            _folder: folder,
            raw,
            qcow2,
        }
    }

    /// Imports both from servers of this kind, and compares.
    #[track_caller]
    fn succeed_by(&self, server: impl Fn(Vec<u8>) -> AwkwardServer) {
        let longshore = longshore();
        let mut servers = Vec::new();
        for (name, image) in [("raw", &self.raw), ("qcow2", &self.qcow2)] {
            let server = server(fs::read(image).unwrap()).start();
            longshore.apply(&manifest::http(name, &server.url("disk"), "64Mi"));
            servers.push(server);
        }
        for name in ["raw", "qcow2"] {
            longshore.wait_until_succeeded(name);
            image::assert_same_disk(&longshore.disk(name), &self.raw);
        }
    }
}

#[track_caller]
fn fails_by(server: AwkwardServer, message: &str) -> Longshore {
    let server = server.start();
    let longshore = longshore();
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));
    longshore.wait_until_failing("disk", message);
    longshore.run("describe dv disk").prints(&[message]);
    let phase = longshore.kubectl().field("dv disk", "{.status.phase}");
    assert_eq!(
        phase.as_deref(),
        Some("ImportInProgress"),
        "it is tried again"
    );
    longshore
}

fn some_bytes() -> Vec<u8> {
    fs::read(Images::new().raw).unwrap()
}

#[test]
fn not_found_is_told_with_its_code() {
    let site = Site::new();
    let longshore = longshore();
    longshore.apply(&manifest::http(
        "disk",
        &site.web.url("missing.img"),
        "64Mi",
    ));
    let message = "expected status code 200, got 404. Status: 404 Not Found";
    longshore.wait_until_failing("disk", message);
    longshore.run("describe dv disk").prints(&[message]);
}

#[test]
fn forbidden_is_told_with_its_code() {
    let server = AwkwardServer::of(some_bytes()).answering(403);
    fails_by(
        server,
        "expected status code 200, got 403. Status: 403 Forbidden",
    );
}

#[test]
fn a_failing_server_is_told_with_its_code() {
    let server = AwkwardServer::of(some_bytes()).answering(500);
    fails_by(
        server,
        "expected status code 200, got 500. Status: 500 Internal Server Error",
    );
}

#[test]
fn a_refused_connection_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/disk.img", listener.local_addr().unwrap());
    drop(listener);
    let longshore = longshore();
    longshore.apply(&manifest::http("disk", &url, "64Mi"));
    longshore.wait_until_failing("disk", "Unable to connect to http data source");
    longshore.wait_until_failing("disk", "refused");
}

#[test]
fn a_host_without_an_address_is_told() {
    let longshore = longshore();
    longshore.apply(&manifest::http(
        "disk",
        "http://no-such-host.invalid/disk.img",
        "64Mi",
    ));
    longshore.wait_until_failing("disk", "Unable to connect to http data source");
}

#[test]
fn a_connection_that_always_breaks_at_one_point_is_told() {
    let server = AwkwardServer::of(some_bytes())
        .without_ranges()
        .cutting_after(3 << 20);
    fails_by(server, "broke off");
}

#[test]
fn connections_that_break_are_resumed() {
    Images::new().succeed_by(|bytes| AwkwardServer::of(bytes).cutting_after(1 << 20));
}

#[test]
fn a_server_without_ranges_is_enough() {
    Images::new().succeed_by(|bytes| AwkwardServer::of(bytes).without_ranges());
}

#[test]
fn a_server_without_content_length_is_enough() {
    Images::new().succeed_by(|bytes| AwkwardServer::of(bytes).without_length());
}

#[test]
fn a_server_that_forbids_head_is_enough() {
    Images::new().succeed_by(|bytes| AwkwardServer::of(bytes).answering_head(403));
}

#[test]
fn a_server_that_is_unavailable_at_first_is_enough() {
    Images::new().succeed_by(|bytes| AwkwardServer::of(bytes).unavailable_at_first(2));
}

#[test]
fn redirects_are_followed() {
    let images = Images::new();
    let target = AwkwardServer::of(fs::read(&images.raw).unwrap()).start();
    let server = AwkwardServer::default()
        .redirecting_to(&target.url("disk.img"))
        .start();
    let longshore = longshore();
    longshore.apply(&manifest::http("disk", &server.url("disk.img"), "64Mi"));
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &images.raw);
}

#[test]
fn nginx_without_ranges_is_enough() {
    let images = Images::new();
    let web = WebServer::start_without_ranges(images.raw.parent().unwrap());
    let longshore = longshore();
    longshore.apply(&manifest::http("raw", &web.url("disk.img"), "64Mi"));
    longshore.apply(&manifest::http("qcow2", &web.url("disk.qcow2"), "64Mi"));
    for name in ["raw", "qcow2"] {
        longshore.wait_until_succeeded(name);
        image::assert_same_disk(&longshore.disk(name), &images.raw);
    }
}
