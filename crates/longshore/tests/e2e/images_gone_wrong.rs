//! Images that cannot become a disk: each is refused for a reason that `kubectl describe dv` shows.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use testkit::{
    LONG, Longshore,
    image::{self, MIB},
    manifest, wait_for,
};

use crate::{Site, longshore};

/// Imports an image, which must fail with `message`; then deletes the DataVolume.
#[track_caller]
fn is_refused(make: impl FnOnce(&Site) -> PathBuf, message: &str) {
    let site = Site::new();
    let image = make(&site);
    let longshore = longshore();
    site.import(&longshore, "disk", &image);
    shows_why(&longshore, message);
}

#[track_caller]
fn shows_why(longshore: &Longshore, message: &str) {
    longshore.wait_until_failing("disk", message);
    longshore
        .run("describe dv disk")
        .prints(&[message, "Error"]);
    let phase = longshore
        .kubectl()
        .field("dv disk", "{.status.phase}")
        .unwrap();
    assert_ne!(phase, "Succeeded");
    longshore.run("delete dv disk --timeout=60s").ok();
    wait_for("all that was made for it to go", LONG, || {
        let left = longshore.run("get pvc,pv,pods -o name").ok();
        left.is_empty().then_some(())
    });
}

/// A qcow2 image with this 32-bit number at `offset` of its header.
fn with_header_field(site: &Site, offset: u64, value: u32) -> PathBuf {
    let image = image::qcow2(&site.raw(), &site.path("disk.qcow2"), "");
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&value.to_be_bytes(), offset).unwrap();
    image
}

fn qcow2_of_size(site: &Site, size: &str) -> PathBuf {
    let image = site.path("disk.qcow2");
    let arguments = ["create", "-q", "-f", "qcow2", image.to_str().unwrap(), size];
    image::qemu_img(arguments);
    image
}

#[test]
fn an_l1_table_of_2_to_the_31_entries_is_refused() {
    is_refused(
        |site| with_header_field(site, 36, 1 << 31),
        "L1 size too big",
    );
}

#[test]
fn a_qcow2_with_a_backing_file_is_refused() {
    let make = |site: &Site| {
        let raw = site.raw();
        let image = site.path("disk.qcow2");
        let (raw, target) = (raw.to_str().unwrap(), image.to_str().unwrap());
        let arguments = [
            "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", target,
        ];
        image::qemu_img(arguments);
        image
    };
    is_refused(make, "invalid backing file");
}

#[test]
fn a_qcow2_with_an_external_data_file_is_refused() {
    let make = |site: &Site| {
        let image = site.path("disk.qcow2");
        let option = format!("data_file={}", site.path("data.raw").display());
        let target = image.to_str().unwrap();
        let arguments = ["create", "-q", "-f", "qcow2", "-o", &option, target, "16M"];
        image::qemu_img(arguments);
        image
    };
    is_refused(make, "external file");
}

#[test]
fn a_qcow2_of_an_unknown_version_is_refused() {
    is_refused(
        |site| with_header_field(site, 4, 9),
        "qcow2 version 9 is unknown",
    );
}

#[test]
fn a_truncated_qcow2_is_refused() {
    let make = |site: &Site| {
        let image = image::qcow2(&site.raw(), &site.path("disk.qcow2"), "");
        let file = File::options().write(true).open(&image).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        image
    };
    is_refused(make, "damaged or cut short");
}

#[test]
fn a_corrupt_cluster_is_refused() {
    let make = |site: &Site| {
        let text = image::text(&site.path("text.img"), 16 * MIB);
        let image = image::qcow2(&text, &site.path("disk.qcow2"), "-c");
        let file = File::options().write(true).open(&image).unwrap();
        let length = file.metadata().unwrap().len();
        file.write_all_at(&vec![0xFF; 64 << 10], length / 4 * 3)
            .unwrap();
        image
    };
    is_refused(make, "the qcow2 image is damaged");
}

#[test]
fn a_truncated_gzip_is_refused() {
    let make = |site: &Site| {
        let image = image::gzip(&site.raw());
        let file = File::options().write(true).open(&image).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        image
    };
    is_refused(make, "damaged or cut short");
}

#[test]
fn a_text_file_is_refused() {
    let make = |site: &Site| {
        let page = site.path("index.img");
        fs::write(&page, "<!doctype html>\n<title>Downloads</title>\n").unwrap();
        page
    };
    is_refused(make, "this is a text document");
}

#[test]
fn an_empty_file_is_refused() {
    let make = |site: &Site| {
        let image = site.path("empty.img");
        fs::write(&image, "").unwrap();
        image
    };
    is_refused(make, "the image is empty");
}

#[test]
fn a_raw_image_larger_than_the_volume_is_refused() {
    let make = |site: &Site| image::pattern(&site.path("large.img"), 80 * MIB);
    is_refused(make, "DataVolume too small to contain image");
}

#[test]
fn a_qcow2_larger_than_the_volume_is_refused() {
    is_refused(
        |site| qcow2_of_size(site, "1T"),
        "DataVolume too small to contain image",
    );
}

#[test]
fn a_gzip_that_unpacks_to_more_than_the_volume_is_refused() {
    let make = |site: &Site| {
        let raw = site.path("large.img");
        File::create(&raw).unwrap().set_len(80 * MIB).unwrap();
        image::gzip(&raw)
    };
    is_refused(make, "DataVolume too small to contain image");
}

#[test]
fn a_corrected_image_succeeds_without_a_new_data_volume() {
    let site = Site::new();
    let page = site.path("disk.img");
    fs::write(&page, "not yet\n").unwrap();
    let longshore = longshore();
    longshore.apply(&manifest::http("disk", &site.web.url("disk.img"), "64Mi"));
    longshore.wait_until_failing("disk", "this is a text document");
    // In one step: a worker may start at any time, and must not meet half a file.
    let raw = image::pattern(&site.path("corrected.img"), 24 * image::MIB);
    fs::rename(&raw, &page).unwrap();
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &page);
}
