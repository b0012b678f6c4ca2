//! The node agent: what a kubelet is to a node of a cluster, with local processes instead of
//! containers.
//!
//! ```text
//!  watch of Pods ──► pods: one task per Pod ──► pod: volumes, containers, status ──► sandbox: processes
//!                                                  │            │
//!  driver: the CSI driver's process ◄── volumes ◄──┘            └──► logs
//!  registration: Node, CSINode, Lease
//! ```
//!
//! The agent's own state is rebuilt from the API and from the Pods' folders when it
//! starts. Its processes and mounts do not outlive it: containers and driver hold a lifeline to it,
//! and the mounts are in its mount namespace. So at its start nothing runs, and what ran before
//! counts as lost and is started again by the Pod's restart policy.
//!
//! | module | what it holds |
//! |---|---|
//! | `pods`, `pod`, `container` | the life of Pods, from the watch down to one container |
//! | `record`, `status` | what the agent knows of a Pod, and the status that follows from it |
//! | `plan`, `environment`, `volumes`, `files`, `fields` | from a Pod's specification to what a sandbox needs |
//! | [`sandbox`] | the processes |
//! | [`logs`] | what containers say |
//! | `driver`, `registration` | the CSI driver, and what the API knows of the node |
//! | `folder`, `address`, `backoff`, `context` | the small things that those share |

pub mod logs;
pub mod sandbox;

mod address;
mod backoff;
mod container;
mod context;
mod driver;
mod environment;
mod fields;
mod files;
mod folder;
mod plan;
mod pod;
mod pods;
mod record;
mod registration;
mod status;
mod volumes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use csi::AddressError;
use kube::Client;
use tokio::sync::watch;

use self::address::Addresses;
use self::context::Context;
use self::logs::Logs;
use crate::csi_client::{CsiClient, driver_socket};
use crate::events::Recorder;

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The node's name.
    pub node_name: String,
    /// Which of the machine's nodes it is, from 0; its Pods have addresses in
    /// `127.(64+ordinal).0.0/16`.
    pub ordinal: u8,
    /// The data folder that all nodes share; absolute.
    pub data_dir: PathBuf,
    /// The program with the verbs `csi` and [`sandbox::VERB`].
    pub program: PathBuf,
    /// That program's version.
    pub version: String,
    /// Where containers reach the API server, if they are to know.
    pub api: Option<SocketAddr>,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data folder's path is too long for the driver's socket, or not usable in an address.
    #[error(
        "the node's CSI driver cannot have its socket in the data folder; choose another --data-dir"
    )]
    Socket(#[from] AddressError),
}

/// A node agent.
pub struct Agent {
    config: AgentConfig,
    node: Arc<Context>,
    driver_ready: watch::Sender<bool>,
}

impl Agent {
    /// An agent that does nothing yet. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`AgentError`] when the node cannot work in that data folder.
    pub fn new(
        config: AgentConfig,
        client: Client,
        recorder: &Recorder,
        logs: Logs,
    ) -> Result<Self, AgentError> {
        let driver = CsiClient::new(&driver_socket(&config.data_dir, &config.node_name))?;
        let driver_ready = watch::Sender::new(false);
        let node = Context {
            name: config.node_name.clone(),
            data_dir: config.data_dir.clone(),
            program: config.program.clone(),
            client,
            api: config.api,
            driver,
            driver_ready: driver_ready.subscribe(),
            recorder: recorder.for_component("kubelet", Some(&config.node_name)),
            logs,
            addresses: Arc::new(Addresses::new(config.ordinal, &config.data_dir)),
        };
        Ok(Self {
            config,
            node: Arc::new(node),
            driver_ready,
        })
    }

    /// Runs the node until `shutdown` completes. Then its Pods' processes and its driver are
    /// killed; the Pods' objects stay, and the next agent of the node starts them again.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let node = &self.node;
        let driver = driver::supervise(Arc::clone(node), self.config.clone(), self.driver_ready);
        let registered = async {
            registration::register(node, &self.config.version).await;
            tokio::join!(registration::beat(node), pods::follow(Arc::clone(node)));
        };
        tokio::select! {
            () = driver => {}
            () = registered => {}
            () = shutdown => {}
        }
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Agent")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
