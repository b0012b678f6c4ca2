//! The Controller services of all nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use csi::v1::{CreateVolumeRequest, DeleteVolumeRequest, GetCapacityRequest, Topology, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use tonic::Status;

use super::NodeSocket;
use super::error::DriverError;
use crate::csi_client::{CsiClient, TOPOLOGY_KEY};

/// One driver, at every node; clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Drivers {
    by_node: Arc<BTreeMap<String, CsiClient>>,
}

/// Room for volumes on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes free.
    pub(super) available: u64,
    /// Bytes of the largest volume that can be.
    pub(super) largest_volume: Option<u64>,
}

impl Drivers {
    /// Connections are made by the first call. A socket whose path cannot be an address is left out
    /// and said so in the log.
    pub(crate) fn new(nodes: &[NodeSocket]) -> Self {
        let connect = |node: &NodeSocket| match CsiClient::new(&node.socket) {
            Ok(client) => Some((node.name.clone(), client)),
            Err(error) => {
                tracing::error!(node = node.name, %error, "node is without volumes");
                None
            }
        };
        Self {
            by_node: Arc::new(nodes.iter().filter_map(connect).collect()),
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.by_node.keys().map(String::as_str)
    }

    pub(super) fn has(&self, node: &str) -> bool {
        self.by_node.contains_key(node)
    }

    pub(super) async fn create(
        &self,
        node: &str,
        request: CreateVolumeRequest,
    ) -> Result<Volume, DriverError> {
        let wanted = request
            .capacity_range
            .map_or(0, |range| range.required_bytes);
        let answer = self
            .client(node)?
            .controller()
            .create_volume(request)
            .await?;
        let volume = answer.into_inner().volume;
        let mut volume = volume.ok_or_else(|| Status::internal("the driver named no volume"))?;
        if volume.capacity_bytes == 0 {
            volume.capacity_bytes = wanted;
        }
        if volume.capacity_bytes < wanted {
            self.delete(node, &volume.volume_id).await?;
            let made = volume.capacity_bytes;
            return Err(Status::aborted(format!(
                "created volume capacity {made} less than requested capacity {wanted}"
            ))
            .into());
        }
        Ok(volume)
    }

    pub(super) async fn delete(&self, node: &str, handle: &str) -> Result<(), DriverError> {
        let request = DeleteVolumeRequest {
            volume_id: handle.to_owned(),
        };
        self.client(node)?
            .controller()
            .delete_volume(request)
            .await?;
        Ok(())
    }

    pub(super) async fn capacity(
        &self,
        node: &str,
        class: &StorageClass,
    ) -> Result<Room, DriverError> {
        let request = GetCapacityRequest {
            parameters: class
                .parameters
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            accessible_topology: Some(topology(node)),
            ..Default::default()
        };
        let answer = self
            .client(node)?
            .controller()
            .get_capacity(request)
            .await?
            .into_inner();
        Ok(Room {
            available: u64::try_from(answer.available_capacity).unwrap_or(0),
            largest_volume: answer
                .maximum_volume_size
                .and_then(|size| u64::try_from(size).ok()),
        })
    }

    fn client(&self, node: &str) -> Result<&CsiClient, DriverError> {
        self.by_node
            .get(node)
            .ok_or_else(|| DriverError::no_such_node(node))
    }
}

/// The segment that is one node.
pub(super) fn topology(node: &str) -> Topology {
    Topology {
        segments: [(TOPOLOGY_KEY.to_owned(), node.to_owned())].into(),
    }
}
