//! Importing by HTTP, beside `qemu-img convert` of the same image from a local file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::Context;
use testkit::{
    Longshore, WebServer,
    image::{self, MIB},
    manifest, wait_for,
};

use super::{Promise, RUNS, Row, mebibytes, median, time, time_to_succeeded};

/// The size of the disk.
const SIZE: u64 = 512 * MIB;
/// The most that a worker may have resident, in bytes.
const MEMORY: u64 = 64 << 20;

/// A kind of image, and the options of `qemu-img convert` that make it.
const KINDS: [(&str, &str, &str); 4] = [
    (
        "zlib",
        "import of a zlib qcow2 by HTTP : `qemu-img convert` of a local file",
        "-c",
    ),
    (
        "zstd",
        "import of a zstd qcow2 by HTTP : `qemu-img convert` of a local file",
        "-c -o compression_type=zstd",
    ),
    (
        "plain",
        "import of a plain qcow2 by HTTP : `qemu-img convert` of a local file",
        "",
    ),
    (
        "raw",
        "import of a raw image by HTTP : `qemu-img convert` of a local file",
        "",
    ),
];

pub(super) fn measure(program: &Path) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("failed to make a folder for images")?;
    let raw = make_disk(folder.path())?;
    let web = WebServer::start(folder.path());
    let longshore = Longshore::start(program);
    let mut rows = Vec::new();
    let mut peak = 0;
    for (kind, what, options) in KINDS {
        let file = match kind {
            "raw" => raw.clone(),
            kind => image::qcow2(&raw, &folder.path().join(format!("{kind}.qcow2")), options),
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            theirs.push(convert(&file, &folder.path().join("converted.img"))?);
            let name = format!("{kind}-{run}");
            let (took, memory) = import(&longshore, &web, &name, &file)?;
            ours.push(took);
            peak = peak.max(memory);
        }
        rows.push(compared(kind, what, median(ours), median(theirs)));
    }
    rows.push(Row {
        what: "worker, peak resident over all these imports",
        measured: mebibytes(peak),
        promise: Some(Promise {
            bound: "at most 64 MiB",
            kept: peak <= MEMORY,
        }),
    });
    Ok(rows)
}

/// A file system with the programs and libraries of this machine.
fn make_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("tree");
    let mut left = SIZE / 10 * 7;
    for place in [
        "/usr/bin",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/share/doc",
        "/usr/include",
    ] {
        let target = tree.join(place.trim_start_matches('/'));
        fs::create_dir_all(&target).context("failed to make a folder")?;
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            if metadata.is_file() && metadata.len() < left {
                fs::copy(entry.path(), target.join(entry.file_name()))
                    .with_context(|| format!("failed to copy {}", entry.path().display()))?;
                left -= metadata.len();
            }
        }
    }
    let raw = image::ext4(&folder.join("disk.img"), &tree, SIZE / MIB);
    fs::remove_dir_all(&tree).context("failed to remove what was copied")?;
    Ok(raw)
}

fn convert(file: &Path, target: &Path) -> anyhow::Result<Duration> {
    let took = time(|| {
        let arguments = ["convert".as_ref(), "-O".as_ref(), "raw".as_ref()];
        image::qemu_img(
            arguments
                .into_iter()
                .chain([file.as_os_str(), target.as_os_str()]),
        );
    });
    fs::remove_file(target).context("failed to remove what qemu-img made")?;
    Ok(took)
}

/// From the request to Succeeded, and the most memory that a worker had.
fn import(
    longshore: &Longshore,
    web: &WebServer,
    name: &str,
    file: &Path,
) -> anyhow::Result<(Duration, u64)> {
    let file = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("a file has a name")?;
    let done = AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        let sampler = scope.spawn(|| peak_memory(longshore, &done));
        let manifest = manifest::http(name, &web.url(file), &SIZE.to_string());
        let took = time_to_succeeded(longshore, name, &manifest);
        done.store(true, Relaxed);
        sampler.join().map(|memory| (took, memory))
    });
    longshore
        .run(&format!("delete dv {name} --timeout=60s"))
        .ok();
    measured.map_err(|_| anyhow::anyhow!("the memory of the worker could not be watched"))
}

fn peak_memory(longshore: &Longshore, done: &AtomicBool) -> u64 {
    let mut peak = 0;
    wait_for("the end of the import", Duration::from_mins(5), || {
        let workers = longshore.workers();
        let most = workers
            .iter()
            .filter_map(testkit::process::Process::peak_memory)
            .max();
        peak = peak.max(most.unwrap_or_default());
        done.load(Relaxed).then_some(())
    });
    peak
}

/// Only the kind that most images are of has a promise; the others are there to see.
fn compared(kind: &str, what: &'static str, ours: Duration, theirs: Duration) -> Row {
    let (ours, theirs) = (ours.as_secs_f64(), theirs.as_secs_f64());
    let ratio = ours / theirs;
    let kept = ratio <= 1.0;
    Row {
        what,
        measured: format!("{ratio:.2} ({ours:.2} s : {theirs:.2} s)"),
        promise: (kind == "zlib").then_some(Promise {
            bound: "at most 1.00",
            kept,
        }),
    }
}
