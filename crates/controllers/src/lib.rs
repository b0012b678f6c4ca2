//! What turns a DataVolume that somebody wrote into a disk that a virtual machine can use.
//!
//! ```text
//!  DataVolume ──▶ PersistentVolumeClaim ──▶ prime claim ──▶ worker Pod
//!      ▲          + VolumeImportSource          │              │
//!      │                  ▲                     │              │
//!      └── status ────────┴──── annotations ◀───┴──────────────┘
//! ```
//!
//! A claim is filled out of sight, on a *prime* claim of its own, and gets the finished volume in
//! one step: the PersistentVolume is bound to it instead. Nobody ever mounts half a disk.
//!
//! [`plan`] decides: pure functions from what is seen to what is to be done. [`reconcile`] acts:
//! watches, API writes, events. Neither asks whether it runs in a cluster or without one; all that
//! it has is a [`kube::Client`].
//!
//! | reconciler | watches | writes |
//! |---|---|---|
//! | [`reconcile::data_volume`] | DataVolumes, their claims, StorageClasses | claim, VolumeImportSource, status |
//! | [`reconcile::populator`] | claims with a `dataSourceRef`, their prime claims | prime claim, the volume's `claimRef` |
//! | [`reconcile::importer`] | claims with import annotations, their Pods | worker Pod, annotations |
#![forbid(unsafe_code)]

pub mod plan;
pub mod reconcile;

use std::time::Duration;

use api::size::Overhead;
use kube::Client;

/// What an administrator can choose.
#[derive(Debug, Clone)]
pub struct Config {
    /// Image of the Pods that do the work.
    pub worker_image: String,
    /// The part of a Filesystem volume that is left to its file system.
    pub overhead: Overhead,
    /// How often the progress of a running worker is read.
    pub progress_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            worker_image: format!("longshore:{}", env!("CARGO_PKG_VERSION")),
            overhead: Overhead::DEFAULT,
            progress_interval: Duration::from_secs(1),
        }
    }
}

/// Runs all reconcilers until `shutdown` resolves. What went on is continued by the next run: all
/// state is in the API's objects.
pub async fn run(client: Client, config: Config, shutdown: impl Future<Output = ()>) {
    let context = reconcile::Context::new(client, config);
    let all = async {
        tokio::join!(
            reconcile::data_volume::run(context.clone()),
            reconcile::populator::run(context.clone()),
            reconcile::importer::run(context.clone()),
        )
    };
    tokio::select! {
        _ = all => {}
        () = shutdown => {}
    }
}
