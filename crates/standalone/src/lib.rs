//! The home without a cluster: what a Kubernetes cluster does around the API server, in one process.
//!
//! Everything here talks to the API through a [`kube::Client`] and keeps its state in objects only, so
//! each part can be stopped at any instant and started again. Nothing here knows about disks: a volume
//! comes from a CSI driver, whichever it is, and a Pod is whatever its containers run.
//!
//! ```text
//!             claims, volumes        Pods               anything
//!           ┌────────┴───────┐   ┌─────┴─────┐   ┌──────────┴──────────┐
//!         binder   provisioner  scheduler  node   garbage collector,
//!                       │                   │     namespaces, protection,
//!                       └── CSI drivers ────┘     events
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`ControlPlane`] | runs all of the controllers below under one supervisor |
//! | [`bootstrap`] | creates the storage classes and the CSIDriver |
//! | `binder` | binds claims to volumes and gives both their phases |
//! | `provisioner` | makes and removes volumes through the drivers, publishes free space |
//! | `scheduler` | gives Pods their nodes and waiting claims their node |
//! | `absent_nodes` | keeps Pods off nodes that were not started, and ends those left there |
//! | `taint_eviction` | ends Pods on nodes whose taints they do not tolerate, or not for longer |
//! | `garbage_collector` | deletes what has lost its owners |
//! | `protection` | keeps claims and volumes while they are in use |
//! | `quotas` | recounts what is used of ResourceQuotas |
//! | `workloads` | Pods for Deployments, ReplicaSets, DaemonSets and Jobs |
//! | `namespaces` | furnishes namespaces and empties deleted ones |
//! | [`events`] | writes events, counts repetitions, removes old ones |
//! | [`node`] | the node agent: Pods as local processes |
//! | [`csi_client`] | connections to the drivers |
//! | `resources` | all that the API server serves, as definitions come and go |
//! | `objects` | reading objects: names, quantities, selectors |
//! | `runtime` | what a controller is made of: cache, queue, supervisor |
#![forbid(unsafe_code)]

mod absent_nodes;
mod binder;
pub mod bootstrap;
mod control_plane;
pub mod csi_client;
pub mod events;
mod garbage_collector;
mod namespaces;
pub mod node;
mod objects;
mod protection;
mod provisioner;
mod quotas;
mod resources;
mod runtime;
mod scheduler;
mod taint_eviction;
mod workloads;

pub use control_plane::{Config, ControlPlane};
pub use provisioner::NodeSocket;
