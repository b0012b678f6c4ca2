//! Images of every supported kind become the bytes that `qemu-img` finds in them.

use std::path::Path;

use testkit::image::{self, MIB};

use crate::{Site, longshore};

/// Imports an image by nginx, and compares.
fn becomes_the_same_bytes(make: impl FnOnce(&Site, &Path) -> std::path::PathBuf) {
    let site = Site::new();
    let image = make(&site, &site.raw());
    let longshore = longshore();
    site.import(&longshore, "disk", &image);
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &site.path("disk.img"));
}

#[test]
fn raw_over_nginx_becomes_the_same_bytes() {
    becomes_the_same_bytes(|_, raw| raw.to_owned());
}

#[test]
fn raw_gz_over_nginx_becomes_the_same_bytes() {
    becomes_the_same_bytes(|_, raw| image::gzip(raw));
}

#[test]
fn qcow2_zlib_over_nginx_becomes_the_same_bytes() {
    becomes_the_same_bytes(|site, raw| image::qcow2(raw, &site.path("disk.qcow2"), "-c"));
}

#[test]
fn qcow2_gz_over_nginx_becomes_the_same_bytes() {
    becomes_the_same_bytes(|site, raw| {
        image::gzip(&image::qcow2(raw, &site.path("disk.qcow2"), ""))
    });
}

#[test]
fn qcow2_of_every_kind_becomes_the_same_bytes() {
    let kinds = [
        ("v2", "-o compat=0.10"),
        ("v2-zlib", "-c -o compat=0.10"),
        ("v3", "-o compat=1.1"),
        ("zstd", "-c -o compression_type=zstd"),
        ("clusters-512", "-o cluster_size=512"),
        ("clusters-4k-zlib", "-c -o cluster_size=4k"),
        (
            "clusters-2m-zstd",
            "-c -o cluster_size=2M,compression_type=zstd",
        ),
        ("lazy-refcounts", "-o lazy_refcounts=on"),
        ("preallocated", "-o preallocation=metadata"),
    ];
    let site = Site::new();
    let raw = site.raw();
    let longshore = longshore();
    for (name, options) in kinds {
        let image = image::qcow2(&raw, &site.path(&format!("{name}.qcow2")), options);
        site.import(&longshore, name, &image);
    }
    for (name, _) in kinds {
        longshore.wait_until_succeeded(name);
        image::assert_same_disk(&longshore.disk(name), &raw);
    }
}

#[test]
fn zero_clusters_and_discarded_ones_read_as_zeros() {
    let site = Site::new();
    let image = image::qcow2(&site.raw(), &site.path("disk.qcow2"), "");
    let commands = [
        "write -z 1M 3M",
        "discard 8M 2M",
        "write -P 7 16777000 1000",
        "write -z 0 64k",
    ];
    image::qemu_io(&image, "qcow2", &commands);
    let longshore = longshore();
    site.import(&longshore, "disk", &image);
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &image);
}

#[test]
fn the_active_disk_of_an_image_with_snapshots_is_imported() {
    let site = Site::new();
    let image = image::qcow2(&site.raw(), &site.path("disk.qcow2"), "");
    image::qemu_img([
        "snapshot".as_ref(),
        "-c".as_ref(),
        "before".as_ref(),
        image.as_os_str(),
    ]);
    image::qemu_io(&image, "qcow2", &["write -P 9 2M 5M"]);
    let longshore = longshore();
    site.import(&longshore, "disk", &image);
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &image);
}

#[test]
fn a_disk_whose_size_is_no_whole_cluster_is_complete() {
    let site = Site::new();
    let raw = image::pattern(&site.path("odd.img"), 5 * MIB + 512);
    let image = image::qcow2(&raw, &site.path("odd.qcow2"), "-c");
    let longshore = longshore();
    site.import(&longshore, "raw", &raw);
    site.import(&longshore, "qcow2", &image);
    for name in ["raw", "qcow2"] {
        longshore.wait_until_succeeded(name);
        image::assert_same_disk(&longshore.disk(name), &raw);
    }
}

#[test]
fn a_file_system_of_this_machines_files_becomes_the_same_bytes() {
    let site = Site::new();
    let raw = image::ext4(&site.path("ext4.img"), Path::new("/usr/include/linux"), 64);
    let image = image::qcow2(&raw, &site.path("ext4.qcow2"), "-c");
    let longshore = longshore();
    site.import(&longshore, "disk", &image);
    longshore.wait_until_succeeded("disk");
    image::assert_same_disk(&longshore.disk("disk"), &image);
}
