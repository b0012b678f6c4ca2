//! The API under load, beside etcd and kube-apiserver, which were measured with the same load on
//! such a machine: 1480 creates/s, 3400 gets/s, 100 ms for the list, 450 MB, 4 s to start.

mod client;
mod watchers;
mod wrk;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use testkit::{Longshore, process};

use super::{Promise, RUNS, Row, mebibytes, median, milliseconds};
use client::Client;

/// Objects of the list that is timed.
const LISTED: usize = 14_000;
/// Objects of a large cluster.
const MANY: usize = 100_000;
/// How long an instance settles before its idle time is measured.
const SETTLE: Duration = Duration::from_secs(15);
/// The idle time.
const IDLE: Duration = Duration::from_mins(1);

pub(super) fn measure(program: &Path) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start a runtime")?;
    let longshore = Longshore::start(program);
    let mut rows = vec![idle_time(&longshore)];
    let client = Client::new(&longshore)?;

    client::make_namespace(&longshore, "listed");
    runtime.block_on(client.fill("listed", LISTED))?;
    let list = runtime.block_on(time_list(&client, "listed"))?;
    rows.push(Row {
        what: "list of 14,000 ConfigMaps (100 ms)",
        measured: milliseconds(list),
        promise: Some(Promise {
            bound: "at most 50 ms",
            kept: list <= Duration::from_millis(50),
        }),
    });
    client::make_namespace(&longshore, "created");
    rows.extend(wrk::measure(&client, "created", "listed", LISTED)?);
    client::make_namespace(&longshore, "watched");
    rows.extend(runtime.block_on(watchers::measure(&client, "watched"))?);
    drop(longshore);

    rows.extend(many_objects(program, &runtime)?);
    Ok(rows)
}

async fn time_list(client: &Client, namespace: &str) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        client.list(namespace).await?;
        times.push(began.elapsed());
    }
    Ok(median(times))
}

/// The share of a core that all its processes take while nothing is asked of them.
fn idle_time(longshore: &Longshore) -> Row {
    let spent = || -> Duration {
        let own = process::Process::find(longshore.pid());
        let all = process::descendants(longshore.pid()).into_iter().chain(own);
        all.filter_map(|process| process.cpu_time()).sum()
    };
    pass(SETTLE);
    let before = spent();
    pass(IDLE);
    let share = (spent().saturating_sub(before)).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    Row {
        what: "`longshore up`, idle, share of a core",
        measured: format!("{share:.2} %"),
        promise: Some(Promise {
            bound: "at most 0.5 %",
            kept: share <= 0.5,
        }),
    }
}

#[expect(clippy::disallowed_methods, reason = "time itself is what is awaited")]
fn pass(time: Duration) {
    thread::sleep(time);
}

/// What 100,000 objects cost: memory, and time at a start.
fn many_objects(program: &Path, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Vec<Row>> {
    let resident = |longshore: &Longshore| {
        // What was used only while it started is given back.
        pass(SETTLE);
        let own = process::Process::find(longshore.pid());
        own.and_then(|process| process.memory()).unwrap_or_default()
    };
    // Both are measured after a start over an existing store.
    let longshore = Longshore::start(program).restart();
    let empty = resident(&longshore);
    let client = Client::new(&longshore)?;
    client::make_namespace(&longshore, "many");
    runtime.block_on(client.fill("many", MANY))?;
    let longshore = longshore.restart();
    let ready = longshore.time_to_ready;
    let full = resident(&longshore);
    let client = Client::new(&longshore)?;
    let json = runtime.block_on(client.list("many"))?;
    let overhead = full.saturating_sub(empty).saturating_sub(json) / MANY as u64;
    Ok(vec![
        Row {
            what: "100,000 ConfigMaps, start to ready (4 s when empty)",
            measured: milliseconds(ready),
            promise: Some(Promise {
                bound: "at most 2000 ms",
                kept: ready <= Duration::from_secs(2),
            }),
        },
        Row {
            what: "100,000 ConfigMaps, memory for each beside its JSON",
            measured: format!("{overhead} bytes"),
            promise: Some(Promise {
                bound: "at most 600 bytes",
                kept: overhead <= 600,
            }),
        },
        Row {
            what: "100,000 ConfigMaps, resident (450 MB when empty)",
            measured: format!("{}, of which JSON {}", mebibytes(full), mebibytes(json)),
            promise: None,
        },
    ])
}
