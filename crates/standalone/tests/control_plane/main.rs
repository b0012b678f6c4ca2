//! The control plane over a real API server and real CSI drivers, all in this process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod claims;
mod collection;
mod home;
mod kubelet;
mod namespaces;
mod nodes;
mod pods;
mod quota;
mod workloads;
