//! The node's CSI driver: a child process that is started again whenever it ends.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use csi::{NodeGetInfoRequest, NodeGetInfoResponse, ProbeRequest};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::context::Context;
use super::{AgentConfig, registration};
use crate::csi_client::{DRIVER_NAME, driver_socket, node_folder};

/// How often a driver that is starting is asked whether it is ready. Nothing announces a socket
/// that another process makes.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// How long a driver may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the driver does not serve.
#[derive(Debug, thiserror::Error)]
enum DriverError {
    #[error("the CSI driver cannot be started")]
    Start(#[source] io::Error),
    #[error("the CSI driver ended before it was ready")]
    Ended,
    #[error("the CSI driver was not ready within {} s", START_TIMEOUT.as_secs())]
    NotReady,
}

/// Keeps the driver running, for ever.
pub(super) async fn supervise(node: Arc<Context>, config: AgentConfig, ready: watch::Sender<bool>) {
    let mut backoff = Backoff::restarts();
    loop {
        let started = Instant::now();
        match run(&node, &config, &ready).await {
            Ok(status) => tracing::warn!(node = node.name, %status, "the CSI driver ended"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(node = node.name, %error, cause, "the CSI driver does not serve");
            }
        }
        ready.send_replace(false);
        tokio::time::sleep(backoff.pause_after(started.elapsed())).await;
    }
}

/// Runs the driver once.
async fn run(
    node: &Context,
    config: &AgentConfig,
    ready: &watch::Sender<bool>,
) -> Result<std::process::ExitStatus, DriverError> {
    let mut child = command(config).spawn().map_err(DriverError::Start)?;
    // The lifeline: held as long as the child is wanted.
    let lifeline = child.stdin.take();
    let info = tokio::time::timeout(START_TIMEOUT, answers(node, &mut child))
        .await
        .map_err(|_| DriverError::NotReady)??;
    let topology = info.accessible_topology.unwrap_or_default();
    registration::register_driver(node, &info.node_id, topology.segments.into_keys()).await;
    ready.send_replace(true);
    let ended = child.wait().await.map_err(DriverError::Start);
    drop(lifeline);
    ended
}

fn command(config: &AgentConfig) -> Command {
    let (data_dir, node) = (&config.data_dir, &config.node_name);
    let socket = driver_socket(data_dir, node);
    let pools = json!([{ "name": "legacy", "path": node_folder(data_dir, node).join("pool") }]);
    let mut command = Command::new(&config.program);
    command
        .arg("csi")
        .arg("--endpoint")
        .arg(format!("unix://{}", socket.display()))
        .args(["--nodeid", node])
        .args(["--datadir", &pools.to_string()])
        .args(["--drivername", DRIVER_NAME])
        .args(["--version", &config.version])
        .env(sys::lifeline::VARIABLE, sys::lifeline::STDIN)
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Waits until the driver answers, and asks who it is.
async fn answers(node: &Context, child: &mut Child) -> Result<NodeGetInfoResponse, DriverError> {
    loop {
        let ready = node.driver.identity().probe(ProbeRequest {}).await;
        if ready.is_ok_and(|answer| answer.into_inner().ready != Some(false))
            && let Ok(info) = node
                .driver
                .node()
                .node_get_info(NodeGetInfoRequest {})
                .await
        {
            return Ok(info.into_inner());
        }
        tokio::select! {
            _ = child.wait() => return Err(DriverError::Ended),
            () = tokio::time::sleep(PROBE_INTERVAL) => {}
        }
    }
}
