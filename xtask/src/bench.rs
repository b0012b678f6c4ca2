//! Measurements of the product: against `qemu-img` in the same run and on the same machine, and
//! against what etcd and kube-apiserver did on such a machine.
//!
//! Times are medians of a few runs; memory is the largest that was seen. The promises beside them
//! are those of docs/SPECIFICATION.md.

mod api;
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

/// The bound that something must keep to, and whether it did.
struct Promise {
    bound: &'static str,
    kept: bool,
}

/// Measures `program`, and prints tables in Markdown; with `api_only` that of the API alone.
pub(crate) fn run(program: &Path, api_only: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    print(&mut out, api::measure(program)?)?;
    writeln!(
        out,
        "\nIn brackets: etcd and kube-apiserver 1.36 with the same load on a machine of two cores.\n"
    )?;
    if api_only {
        return Ok(());
    }
    let mut rows = start::measure(program);
    rows.extend(import::measure(program)?);
    print(&mut out, rows)?;
    writeln!(
        out,
        "\nImports end when the disk is synced and its DataVolume says Succeeded; qemu-img does not sync."
    )?;
    Ok(())
}

fn print(out: &mut impl Write, rows: Vec<Row>) -> std::io::Result<()> {
    writeln!(out, "| what | measured | promise | kept |")?;
    writeln!(out, "|---|---|---|---|")?;
    for Row {
        what,
        measured,
        promise,
    } in rows
    {
        let (bound, kept) = match promise {
            None => ("", ""),
            Some(Promise { bound, kept: true }) => (bound, "yes"),
            Some(Promise { bound, kept: false }) => (bound, "no"),
        };
        writeln!(out, "| {what} | {measured} | {bound} | {kept} |")?;
    }
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
