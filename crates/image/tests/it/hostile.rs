//! Images that lie. Each must end in an error that says why; none may hang or leave anything.

use std::fs;

use longshore_image::{Kind, format::check_qcow2};

use crate::{
    server::Server,
    support::{Bench, Random, disk, run},
};

/// Imports `image` from a file, from a server with ranges and as a spooled gzip stream; all must
/// fail with `text`.
fn refuse(bench: &Bench, image: &[u8], text: &str) {
    let file = bench.file("hostile.qcow2", image);
    for location in [file, Server::of(image).url()] {
        let error = bench.import(&location).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind(), Kind::Permanent);
        assert!(bench.is_clean());
    }
}

fn patched(image: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut copy = image.to_vec();
    copy[offset..offset + bytes.len()].copy_from_slice(bytes);
    copy
}

#[test]
fn images_that_name_other_files() {
    let bench = Bench::new();
    let secret = bench.file("secret", &[7; 4096]);
    let image = bench.path("overlay.qcow2");
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            &secret,
            "-F",
            "raw",
            image.to_str().unwrap(),
        ],
    );
    refuse(
        &bench,
        &fs::read(&image).unwrap(),
        "has invalid backing file",
    );

    let data = format!(
        "data_file={},data_file_raw=on",
        bench.path("data").display()
    );
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            &data,
            image.to_str().unwrap(),
            "1M",
        ],
    );
    refuse(&bench, &fs::read(&image).unwrap(), "external file");
}

#[test]
fn images_that_need_a_key_or_unknown_features() {
    let bench = Bench::new();
    let path = bench.path("image.qcow2");
    let image = path.to_str().unwrap();
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "--object",
            "secret,id=key,data=0123456789",
            "-o",
            "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10",
            image,
            "1M",
        ],
    );
    refuse(&bench, &fs::read(&path).unwrap(), "encrypted");
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            "extended_l2=on",
            image,
            "1M",
        ],
    );
    refuse(&bench, &fs::read(&path).unwrap(), "extended L2");
}

#[test]
fn tables_that_cannot_be() {
    let bench = Bench::new();
    let raw = disk(21, 3 << 20);
    let image = bench.convert(&raw, &["-O", "qcow2", "-c"]);
    let l1 = u64::from_be_bytes(*image[40..].first_chunk().unwrap());
    let l1 = usize::try_from(l1).unwrap();
    let end = image.len() as u64;
    let l2 = u64::from_be_bytes(*image[l1..].first_chunk().unwrap()) & ((1 << 56) - 1);
    let l2 = usize::try_from(l2).unwrap();

    refuse(
        &bench,
        &patched(&image, 36, &(1_u32 << 31).to_be_bytes()),
        "L1 size too big",
    );
    refuse(
        &bench,
        &patched(&image, 36, &[0; 4]),
        "L1 table is too small",
    );
    refuse(
        &bench,
        &patched(&image, 24, &(1_u64 << 60).to_be_bytes()),
        "at most",
    );
    refuse(
        &bench,
        &patched(&image, 40, &(1_u64 << 40).to_be_bytes()),
        "L1 table",
    );
    refuse(
        &bench,
        &patched(&image, l1, &(1_u64 << 40).to_be_bytes()),
        "L2 table",
    );
    refuse(
        &bench,
        &patched(&image, l1, &(0x200_u64 | l2 as u64).to_be_bytes()),
        "inside a cluster",
    );
    refuse(
        &bench,
        &patched(&image, l2, &(1_u64 << 40).to_be_bytes()),
        "data cluster",
    );
    let beyond = (1_u64 << 62) | (end + 512);
    refuse(
        &bench,
        &patched(&image, l2, &beyond.to_be_bytes()),
        "compressed cluster",
    );
    refuse(&bench, &image[..image.len() / 2], "cut short");
    refuse(&bench, &image[..80], "cut short");
}

#[test]
fn clusters_that_do_not_decompress() {
    let bench = Bench::new();
    for codec in ["compression_type=zlib", "compression_type=zstd"] {
        let image = bench.convert(&disk(22, 3 << 20), &["-O", "qcow2", "-c", "-o", codec]);
        let middle = image.len() / 2;
        refuse(
            &bench,
            &patched(&image, middle, &vec![0xFF; 70_000]),
            "is damaged",
        );
    }
}

#[test]
fn formats_that_would_not_be_disks() {
    let bench = Bench::new();
    for format in ["vmdk", "vhdx", "vdi"] {
        let image = bench.convert(&disk(23, 1 << 20), &["-O", format]);
        refuse(&bench, &image, "cannot be imported");
    }
}

/// Whatever is flipped, reading ends: with the data or with an error.
#[test]
fn flipped_bytes() {
    let bench = Bench::new();
    let raw = disk(24, 1 << 20);
    let mut random = Random(25);
    for options in [
        "cluster_size=512,compat=0.10",
        "compression_type=zstd",
        "cluster_size=2M",
    ] {
        for compress in [&["-c"][..], &[]] {
            let arguments = [&["-O", "qcow2", "-o", options], compress].concat();
            let image = bench.convert(&raw, &arguments);
            assert!(check_qcow2(&image, 1 << 24).is_ok());
            for _ in 0..60 {
                let mut copy = image.clone();
                for _ in 0..=random.below(4) {
                    // Half of the flips hit the header and the first tables.
                    let reach = if random.below(2) == 0 {
                        200
                    } else {
                        copy.len()
                    };
                    let at = random.below(reach.min(copy.len()));
                    copy[at] = random.byte();
                }
                copy.truncate(copy.len() - random.below(2) * random.below(copy.len()));
                check_qcow2(&copy, 1 << 24).ok();
            }
        }
    }
}
