//! Many watchers of one kind, and how long after a write each of them knows of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::{Promise, Row, milliseconds};
use super::client::Client;

const WATCHERS: usize = 1000;
const WRITES: usize = 2000;
/// Between two writes: 200 in a second.
const PACE: Duration = Duration::from_millis(5);
/// Within which every watcher must have seen everything.
const DEADLINE: Duration = Duration::from_mins(2);
/// How many watches begin at a time.
const BEGINNERS: usize = 50;

/// What stands before the number of a write.
const MARK: &[u8] = b"write-";
/// Digits of such a number.
const DIGITS: usize = 6;

pub(super) async fn measure(client: &Client, namespace: &str) -> anyhow::Result<Vec<Row>> {
    let start = Instant::now();
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS / BEGINNERS {
        let beginning = (0..BEGINNERS).map(|_| client.watch(namespace));
        for watch in futures::future::try_join_all(beginning).await? {
            watchers.spawn(timeout(DEADLINE, follow(watch, start)));
        }
    }
    let acknowledged = write(client, namespace, start).await?;
    let mut delays = Vec::with_capacity(WATCHERS * WRITES);
    while let Some(followed) = watchers.join_next().await {
        let followed = followed.context("a watcher failed")?;
        for (write, arrived) in followed.context("a watcher waits in vain")?? {
            let acknowledged = acknowledged.get(write).context("not one of the writes")?;
            delays.push(arrived.saturating_sub(*acknowledged));
        }
    }
    delays.sort_unstable();
    let percentile = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    let (half, most) = (percentile(50), percentile(99));
    Ok(vec![
        Row {
            what: "1,000 watchers at 200 writes/s, from the answer to the delivery, 99 of 100",
            measured: milliseconds(most),
            promise: Some(Promise {
                bound: "at most 100 ms",
                kept: most <= Duration::from_millis(100),
            }),
        },
        Row {
            what: "1,000 watchers at 200 writes/s, from the answer to the delivery, half",
            measured: milliseconds(half),
            promise: None,
        },
    ])
}

/// Makes the writes, and returns when each of them was answered.
async fn write(client: &Client, namespace: &str, start: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut clock = interval(PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut writes = JoinSet::new();
    let namespace: Arc<str> = namespace.into();
    for n in 0..WRITES {
        clock.tick().await;
        let (client, namespace) = (client.clone(), Arc::clone(&namespace));
        writes.spawn(async move {
            let data = format!("write-{n:0DIGITS$}");
            let made = client.create(&namespace, &format!("w{n}"), &data).await;
            made.map(|()| (n, start.elapsed()))
        });
    }
    let mut acknowledged = vec![Duration::MAX; WRITES];
    while let Some(written) = writes.join_next().await {
        let (n, at) = written.context("a writer failed")??;
        acknowledged[n] = at;
    }
    Ok(acknowledged)
}

/// Notes when each write arrives.
async fn follow(
    mut watch: reqwest::Response,
    start: Instant,
) -> anyhow::Result<Vec<(usize, Duration)>> {
    let mut arrived = Vec::with_capacity(WRITES);
    let mut text = Vec::new();
    while arrived.len() < WRITES {
        let chunk = watch.chunk().await.context("a watch failed")?;
        let now = start.elapsed();
        text.extend_from_slice(&chunk.context("a watch ended")?);
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        // Every namespace also has a ConfigMap that is not one of these writes.
        let writes = text[..end].split(|byte| *byte == b'\n').filter_map(number);
        arrived.extend(writes.map(|write| (write, now)));
        text.drain(..=end);
    }
    ensure!(arrived.len() == WRITES, "more events than writes");
    Ok(arrived)
}

fn number(line: &[u8]) -> Option<usize> {
    let at = line.windows(MARK.len()).position(|part| part == MARK)? + MARK.len();
    let digits = line.get(at..at + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
