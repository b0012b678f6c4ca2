//! What a worker Pod runs: it makes one disk on one volume, and ends.
//!
//! The contract is that of CDI's importer: settings come from the environment, the disk is
//! `disk.img` on the volume, progress is served as a metric, and the last word is the termination
//! message. A worker knows no Kubernetes API and needs no credentials for one.
//!
//! * [`config`]: the environment as types.
//! * [`import`]: from settings to a finished disk.
//! * [`failure`]: how errors read at the user.
//! * [`metrics`]: the progress endpoint.
//! * [`termination`]: the message that outlives the container.
#![forbid(unsafe_code)]

pub mod config;
pub mod failure;
pub mod import;
pub mod metrics;
mod report;
pub mod termination;
