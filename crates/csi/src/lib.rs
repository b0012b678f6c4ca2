//! The Container Storage Interface (CSI) on the wire: messages, clients and servers.
//!
//! CSI is how an orchestrator asks a storage driver for volumes: gRPC over a unix socket, three
//! services.
//!
//! | service | client | server trait | asked for |
//! |---|---|---|---|
//! | Identity | [`IdentityClient`] | [`Identity`] | who the driver is, whether it is ready |
//! | Controller | [`ControllerClient`] | [`Controller`] | making and removing volumes, free space |
//! | Node | [`NodeClient`] | [`Node`] | making a volume visible at a path of this node |
//!
//! The types are generated at build time from `proto/csi.proto`, which holds exactly the calls that
//! Longshore implements. A driver built on it answers every other call of the specification with
//! `UNIMPLEMENTED`.
//!
//! [`channel`] is the connection to a driver's socket that the clients are made over.

#![forbid(unsafe_code)]

mod connect;

/// The generated messages and services of package `csi.v1`.
#[expect(
    clippy::allow_attributes,
    clippy::pedantic,
    reason = "generated; the file it is made from documents every message and field"
)]
pub mod v1 {
    tonic::include_proto!("csi.v1");
}

pub use connect::{AddressError, MAX_SOCKET_PATH, channel};
pub use v1::controller_client::ControllerClient;
pub use v1::controller_server::{Controller, ControllerServer};
pub use v1::identity_client::IdentityClient;
pub use v1::identity_server::{Identity, IdentityServer};
pub use v1::node_client::NodeClient;
pub use v1::node_server::{Node, NodeServer};
pub use v1::*;
