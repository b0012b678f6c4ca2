//! Requests per second, as `wrk` counts them.

use std::{fs, process::Command};

use anyhow::{Context, bail, ensure};

use super::super::{Promise, Row};
use super::client::Client;

/// Clients at a time, and how long they are at it.
const LOAD: [&str; 3] = ["--threads=2", "--connections=16", "--duration=15s"];

/// Numbers its threads, so that each makes objects of its own.
const CREATE: &str = r#"
local threads = 0
function setup(thread)
  thread:set("thread", threads)
  threads = threads + 1
end
local count = 0
local data = string.rep("x", 256)
function request()
  count = count + 1
  return wrk.format("POST", PATH, HEADERS, string.format(
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%d-%d"},"data":{"k":"%s"}}',
    thread, count, data))
end
"#;

const GET: &str = r#"
function request()
  return wrk.format("GET", PATH .. "/c" .. math.random(0, COUNT - 1), HEADERS)
end
"#;

/// Creates in one namespace, and then gets of the `count` objects of another one.
pub(super) fn measure(
    client: &Client,
    created: &str,
    listed: &str,
    count: usize,
) -> anyhow::Result<Vec<Row>> {
    if Command::new("wrk").arg("-v").output().is_err() {
        let missing = |what| Row {
            what,
            measured: "not measured: wrk is missing".to_owned(),
            promise: None,
        };
        return Ok(vec![
            missing("durable creates per second (1480)"),
            missing("gets per second (3400)"),
        ]);
    }
    let creates = run(client, created, CREATE)?;
    let gets = run(client, listed, &GET.replace("COUNT", &count.to_string()))?;
    Ok(vec![
        Row {
            what: "durable creates per second, 16 clients of wrk (1480)",
            measured: format!("{creates:.0}"),
            promise: Some(Promise {
                bound: "at least 4440",
                kept: creates >= 4440.0,
            }),
        },
        Row {
            what: "gets per second, 16 clients of wrk (3400)",
            measured: format!("{gets:.0}"),
            promise: Some(Promise {
                bound: "at least 17000",
                kept: gets >= 17000.0,
            }),
        },
    ])
}

fn run(client: &Client, namespace: &str, script: &str) -> anyhow::Result<f64> {
    let Client { token, url, .. } = client;
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let file = folder.path().join("load.lua");
    let head = format!(
        "local PATH = '/api/v1/namespaces/{namespace}/configmaps'\n\
         local HEADERS = {{['Authorization'] = 'Bearer {token}', \
                           ['Content-Type'] = 'application/json'}}\n"
    );
    fs::write(&file, head + script).context("failed to write a script")?;
    let output = Command::new("wrk")
        .args(LOAD)
        .arg("--script")
        .arg(&file)
        .arg(url)
        .output()
        .context("failed to run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    let refused = ["Non-2xx", "Socket errors"];
    if let Some(line) = text
        .lines()
        .find(|line| refused.iter().any(|r| line.contains(r)))
    {
        bail!("wrk was refused: {line}");
    }
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate = rate.with_context(|| format!("wrk gave no rate: {text}"))?;
    rate.trim().parse().context("wrk gave no number")
}
