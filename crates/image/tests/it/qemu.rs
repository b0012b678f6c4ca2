//! The qcow2 reader against `qemu-img` and `qemu-io`.

use std::fs;

use longshore_image::pipeline::{Format, Method};
use proptest::prelude::*;

use crate::{
    server::Server,
    support::{Bench, Random, attempt, disk, import_to, judge, run},
};

/// One command of `qemu-io`, in units of 512 bytes.
#[derive(Debug, Clone)]
enum Operation {
    Write { pattern: u8 },
    Compressed { pattern: u8 },
    Zero { unmap: bool },
    Discard,
}

fn operation() -> impl Strategy<Value = (Operation, u32, u32)> {
    let operation = prop_oneof![
        4 => any::<u8>().prop_map(|pattern| Operation::Write { pattern }),
        2 => any::<u8>().prop_map(|pattern| Operation::Compressed { pattern }),
        2 => any::<bool>().prop_map(|unmap| Operation::Zero { unmap }),
        1 => Just(Operation::Discard),
    ];
    (operation, 0..8192_u32, 1..600_u32)
}

/// The command, with its range kept inside a disk of `sectors` sectors.
fn command(operation: &Operation, at: u32, count: u32, sectors: u32, cluster: u32) -> String {
    let at = at % sectors;
    let count = count.min(sectors - at);
    let bytes = |n: u32| u64::from(n) * 512;
    match operation {
        Operation::Write { pattern } => {
            format!("write -P {pattern} {} {}", bytes(at), bytes(count))
        }
        Operation::Compressed { pattern } => {
            let start = bytes(at) / u64::from(cluster) * u64::from(cluster);
            let length = u64::from(cluster).min(bytes(sectors) - start);
            format!("write -c -P {pattern} {start} {length}")
        }
        Operation::Zero { unmap: true } => format!("write -z -u {} {}", bytes(at), bytes(count)),
        Operation::Zero { unmap: false } => format!("write -z {} {}", bytes(at), bytes(count)),
        Operation::Discard => format!("discard {} {}", bytes(at), bytes(count)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_of_writes_reads_back(
        cluster_bits in 9_u32..=21,
        version_2 in any::<bool>(),
        zstd in any::<bool>(),
        preallocation in prop_oneof![Just("off"), Just("metadata"), Just("full")],
        sectors in 1..8192_u32,
        operations in proptest::collection::vec(operation(), 0..12),
    ) {
        let bench = Bench::new();
        let path = bench.path("image.qcow2");
        let image = path.to_str().unwrap();
        let cluster = 1 << cluster_bits;
        // zstd needs version 3, and clusters that it can make smaller.
        let codec = if zstd && !version_2 && cluster_bits > 9 { "zstd" } else { "zlib" };
        let version = if version_2 { "0.10" } else { "1.1" };
        let options = format!(
            "cluster_size={cluster},compat={version},compression_type={codec},\
             preallocation={preallocation}"
        );
        let size = (u64::from(sectors) * 512).to_string();
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &options, image, &size]);
        for (operation, at, count) in &operations {
            let command = command(operation, *at, *count, sectors, cluster);
            // QEMU refuses some, such as compressing what is already allocated.
            attempt("qemu-io", &["-f", "qcow2", "-d", "unmap", "-c", &command, image]);
        }
        bench.import(image).unwrap();
        prop_assert!(bench.disk() == judge(&path));
    }
}

#[test]
fn whole_disks_in_every_shape() {
    let raw = disk(11, 9 << 20);
    for codec in ["zlib", "zstd"] {
        for cluster in ["4k", "64k", "2M"] {
            let bench = Bench::new();
            let options = format!("cluster_size={cluster},compression_type={codec}");
            for arguments in [
                &["-O", "qcow2", "-c", "-o", &options][..],
                &["-O", "qcow2", "-o", &options],
            ] {
                let image = bench.file("image.qcow2", &bench.convert(&raw, arguments));
                bench.import(&image).unwrap();
                assert!(bench.disk() == raw, "{arguments:?}");
            }
        }
    }
}

#[test]
fn a_disk_that_ends_inside_a_cluster() {
    let raw = disk(12, (1 << 20) + 512 * 77);
    let bench = Bench::new();
    for arguments in [&["-O", "qcow2", "-c"][..], &["-O", "qcow2"]] {
        let image = bench.file("image.qcow2", &bench.convert(&raw, arguments));
        bench.import(&image).unwrap();
        assert!(bench.disk() == raw, "{arguments:?}");
    }
}

#[test]
fn internal_snapshots_are_left_out() {
    let bench = Bench::new();
    let path = bench.path("image.qcow2");
    let image = path.to_str().unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", image, "4M"]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 1 0 1M", image]);
    run("qemu-img", &["snapshot", "-c", "before", image]);
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 2 512k 1M", image],
    );
    let (plan, _) = bench.import(image).unwrap();
    assert!(
        matches!(plan.format, Format::Qcow2 { snapshots: 1, .. }),
        "{plan}"
    );
    assert!(bench.disk() == judge(&path));
}

#[test]
fn a_sparse_raw_file_stays_sparse() {
    let bench = Bench::new();
    let image = bench.file("disk.raw", &disk(13, 2 << 20));
    let file = fs::File::options().write(true).open(&image).unwrap();
    file.set_len(512 << 20).unwrap();
    let target = longshore_image::Target {
        grow_to: 768 << 20,
        ..bench.target(1 << 30)
    };
    let (plan, report) = import_to(&image, &target).unwrap();
    assert_eq!(plan.method, Method::File);
    assert_eq!(
        (report.virtual_size, report.disk_size),
        (512 << 20, 768 << 20)
    );
    assert!(
        report.bytes_read <= 3 << 20 && report.allocated <= 3 << 20,
        "{report:?}"
    );
}

#[test]
fn preallocation_takes_all_blocks() {
    let bench = Bench::new();
    let raw = disk(14, 2 << 20);
    let image = bench.file("disk.raw", &raw);
    let target = longshore_image::Target {
        preallocate: true,
        grow_to: 8 << 20,
        ..bench.target(1 << 30)
    };
    let (_, report) = import_to(&image, &target).unwrap();
    assert!(report.allocated >= 8 << 20, "{report:?}");
    assert!(bench.disk()[..2 << 20] == raw && bench.disk()[2 << 20..].iter().all(|b| *b == 0));
}

#[test]
fn memory_does_not_grow_with_the_image() {
    let bench = Bench::new();
    let path = bench.path("image.qcow2");
    let image = path.to_str().unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", image, "400M"]);
    let mut random = Random(15);
    for megabyte in (0..400).step_by(4) {
        let command = format!("write -P {} {megabyte}M 3M", random.byte());
        run("qemu-io", &["-f", "qcow2", "-c", &command, image]);
    }
    bench.import(image).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
}

#[test]
fn an_image_may_end_where_its_disk_does() {
    let bench = Bench::new();
    let raw = vec![7; (3 << 16) + 512];
    let image = bench.convert(&raw, &["-O", "qcow2"]);
    let word = |at: u64| {
        let at = usize::try_from(at).unwrap();
        u64::from_be_bytes(*image[at..].first_chunk().unwrap())
    };
    let offset = |entry: u64| entry & 0x00FF_FFFF_FFFF_FE00;
    let l2 = offset(word(word(40)));
    let last = usize::try_from(offset(word(l2 + 3 * 8))).unwrap();
    assert!(
        image.len() <= last + (1 << 16),
        "the last cluster is at the end"
    );

    let cut = bench.file("cut.qcow2", &image[..last + 512]);
    for location in [cut, Server::of(&image[..last + 512]).url()] {
        bench.import(&location).unwrap();
        assert!(bench.disk() == raw);
    }
    let cut = bench.file("short.qcow2", &image[..last + 511]);
    let error = bench.import(&cut).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
}
