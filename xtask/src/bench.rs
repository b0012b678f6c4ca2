//! Measurements of the product against `qemu-img`, in the same run and on the same machine.
//!
//! Times are medians of a few runs; memory is the largest that was seen. The promises beside them
//! are those of docs/SPECIFICATION.md.

mod import;
mod start;

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use testkit::Longshore;

/// How often each time is measured.
const RUNS: usize = 5;

/// A line of the table.
struct Row {
    what: &'static str,
    measured: String,
    promise: Option<Promise>,
}

/// The most that something may take, and whether it took no more.
struct Promise {
    at_most: &'static str,
    kept: bool,
}

/// Measures `program`, and prints a table in Markdown.
pub(crate) fn run(program: &Path) -> anyhow::Result<()> {
    let mut rows = start::measure(program);
    rows.extend(import::measure(program)?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "| what | measured | at most | kept |")?;
    writeln!(out, "|---|---|---|---|")?;
    for Row {
        what,
        measured,
        promise,
    } in rows
    {
        let (at_most, kept) = match promise {
            None => ("", ""),
            Some(Promise {
                at_most,
                kept: true,
            }) => (at_most, "yes"),
            Some(Promise {
                at_most,
                kept: false,
            }) => (at_most, "no"),
        };
        writeln!(out, "| {what} | {measured} | {at_most} | {kept} |")?;
    }
    writeln!(
        out,
        "\nImports end when the disk is synced and its DataVolume says Succeeded; qemu-img does not sync."
    )?;
    Ok(())
}

/// How long it takes from a request for a DataVolume until `kubectl get -w` says Succeeded.
fn time_to_succeeded(longshore: &Longshore, name: &str, manifest: &str) -> Duration {
    let watch = longshore.kubectl().watch("get dv -w --no-headers");
    let proxy = longshore.kubectl().proxy();
    let to_json = "create --dry-run=client -o json -f -";
    let object = longshore.kubectl().run_with(to_json, manifest).ok();
    let path = "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes";
    time(|| {
        proxy.call("POST", path, Some(&object));
        watch.wait_for_line(&[name, "Succeeded"]);
    })
}

/// How long it takes.
fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The one in the middle.
fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
