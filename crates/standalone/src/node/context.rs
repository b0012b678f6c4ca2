//! What every part of one node's agent shares.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::sync::watch;

use super::address::Addresses;
use super::folder::PodFolder;
use super::logs::Logs;
use crate::csi_client::CsiClient;
use crate::events::Recorder;

/// One node.
pub(super) struct Context {
    pub(super) name: String,
    pub(super) data_dir: PathBuf,
    pub(super) program: PathBuf,
    pub(super) client: Client,
    /// Where the API server listens.
    pub(super) api: Option<SocketAddr>,
    pub(super) driver: CsiClient,
    pub(super) driver_ready: watch::Receiver<bool>,
    pub(super) recorder: Recorder,
    pub(super) logs: Logs,
    pub(super) addresses: Arc<Addresses>,
}

impl Context {
    /// The folder of one Pod.
    pub(super) fn pod_folder(&self, uid: &str) -> PodFolder {
        PodFolder::new(&self.data_dir, &self.name, uid)
    }

    /// The Pods of a namespace.
    pub(super) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits until the node's driver answers.
    pub(super) async fn driver_is_ready(&self) {
        let mut ready = self.driver_ready.clone();
        if ready.wait_for(|ready| *ready).await.is_err() {
            // The supervisor is gone, and with it soon everything here.
            std::future::pending::<()>().await;
        }
    }
}
