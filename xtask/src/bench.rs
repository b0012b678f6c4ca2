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

/// How often each time is measured.
const RUNS: usize = 5;

/// A line of the table.
struct Row {
    what: &'static str,
    measured: String,
    promise: &'static str,
    kept: bool,
}

/// Measures `program`, and prints a table in Markdown.
pub(crate) fn run(program: &Path) -> anyhow::Result<()> {
    let mut rows = start::measure(program);
    rows.extend(import::measure(program)?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "| what | measured | promise | kept |")?;
    writeln!(out, "|---|---|---|---|")?;
    for Row {
        what,
        measured,
        promise,
        kept,
    } in rows
    {
        let kept = if kept { "yes" } else { "no" };
        writeln!(out, "| {what} | {measured} | {promise} | {kept} |")?;
    }
    Ok(())
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
