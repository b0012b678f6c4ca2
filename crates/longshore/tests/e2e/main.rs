//! The product as its users meet it: the program, `kubectl`, and web servers with images on them.
//! `qemu-img` is the judge of bytes. Each test has a Longshore of its own.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share fails as tests do; the lint knows only the tests themselves"
)]

mod access;
mod backup;
mod controllers;
mod crash;
mod data_volume;
mod deletion;
mod demo;
mod examples;
mod formats;
mod images_gone_wrong;
mod kubectl_errors;
mod kubectl_reads;
mod kubectl_writes;
mod pods;
mod servers_gone_wrong;
mod up;

use std::path::Path;

use tempfile::TempDir;
use testkit::{Longshore, WebServer, image, manifest};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_longshore");

/// A Longshore with the defaults.
#[track_caller]
fn longshore() -> Longshore {
    Longshore::start(PROGRAM)
}

/// A folder for images, with nginx in front of it.
struct Site {
    folder: TempDir,
    web: WebServer,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let web = WebServer::start(folder.path());
        Self { folder, web }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    /// A raw image of 24 MiB with what disks have.
    fn raw(&self) -> std::path::PathBuf {
        image::pattern(&self.path("disk.img"), 24 * image::MIB)
    }

    /// Asks for a DataVolume of a file.
    fn import(&self, longshore: &Longshore, name: &str, file: &Path) {
        let file = file.file_name().unwrap().to_str().unwrap();
        longshore.apply(&manifest::http(name, &self.web.url(file), "64Mi"));
    }
}
