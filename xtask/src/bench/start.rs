//! Starting, idling, and blank disks.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use testkit::{Longshore, manifest, process, wait_for};

use super::{Promise, RUNS, Row, mebibytes, median, milliseconds, time_to_succeeded};

/// How long an instance that has nothing to do is looked at.
const IDLE: Duration = Duration::from_secs(3);

pub(super) fn measure(program: &Path) -> Vec<Row> {
    let mut ready = Vec::new();
    let mut blank = Vec::new();
    let mut memory = 0;
    for run in 0..RUNS {
        let longshore = Longshore::start(program);
        ready.push(longshore.time_to_ready);
        blank.push(time_of_blank(&longshore));
        if run == 0 {
            memory = idle_memory(&longshore);
        }
    }
    let (ready, blank) = (median(ready), median(blank));
    vec![
        Row {
            what: "`longshore up`, start to ready",
            measured: milliseconds(ready),
            promise: Some(Promise {
                bound: "at most 1000 ms",
                kept: ready <= Duration::from_secs(1),
            }),
        },
        Row {
            what: "`longshore up`, idle, resident, with its CSI driver",
            measured: mebibytes(memory),
            promise: Some(Promise {
                bound: "at most 80 MiB",
                kept: memory <= 80 << 20,
            }),
        },
        Row {
            what: "DataVolume `blank`, create to Succeeded",
            measured: milliseconds(blank),
            promise: Some(Promise {
                bound: "at most 500 ms",
                kept: blank <= Duration::from_millis(500),
            }),
        },
    ]
}

/// The first disk also pays for what is made once; the second one is measured.
fn time_of_blank(longshore: &Longshore) -> Duration {
    let [_, second] = ["first", "second"]
        .map(|name| time_to_succeeded(longshore, name, &manifest::blank(name, "1Gi")));
    second
}

/// The most that all its processes together have resident while nothing is asked of them.
fn idle_memory(longshore: &Longshore) -> u64 {
    wait_for("the workers to end", Duration::from_secs(30), || {
        longshore.workers().is_empty().then_some(())
    });
    let mut most = 0;
    let end = Instant::now() + IDLE;
    wait_for("the end of the idle time", IDLE * 2, || {
        let children = process::descendants(longshore.pid());
        let own = process::Process::find(longshore.pid());
        let all = children
            .iter()
            .chain(&own)
            .filter_map(process::Process::memory);
        most = most.max(all.sum());
        (Instant::now() > end).then_some(())
    });
    most
}
