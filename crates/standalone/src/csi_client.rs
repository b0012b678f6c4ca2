//! The orchestrator's side of CSI: connections to the drivers of the nodes.
//!
//! Each node has one driver, a child process of its agent, whose socket stands at a fixed place in
//! the data folder. The volume provisioner talks to its Controller service and the node agent to
//! its Node service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use csi::{AddressError, ControllerClient, IdentityClient, NodeClient};
use tonic::transport::Channel;

/// The name of the driver that every node runs.
pub const DRIVER_NAME: &str = "kubevirt.io.hostpath-provisioner";

/// The topology key of that driver; its value is the node's name.
pub const TOPOLOGY_KEY: &str = "topology.hostpath.csi/node";

/// How long one call may take; the external-provisioner's default.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The folder of everything that belongs to a node.
pub fn node_folder(data_dir: &Path, node: &str) -> PathBuf {
    data_dir.join("nodes").join(node)
}

/// Where the driver of a node listens.
pub fn driver_socket(data_dir: &Path, node: &str) -> PathBuf {
    node_folder(data_dir, node).join("csi.sock")
}

/// A connection to one node's driver. Clones share it; it follows a restart of the driver.
#[derive(Clone, Debug)]
pub struct CsiClient {
    channel: Channel,
}

impl CsiClient {
    /// A connection that is made by the first call.
    ///
    /// # Errors
    /// [`AddressError`] when the path cannot be the address of a socket.
    pub fn new(socket: &Path) -> Result<Self, AddressError> {
        Ok(Self {
            channel: csi::channel(socket, CALL_TIMEOUT)?,
        })
    }

    /// Who the driver is and whether it is ready.
    pub fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    /// Making and removing volumes.
    pub fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone())
    }

    /// Making volumes visible on the node.
    pub fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }
}
