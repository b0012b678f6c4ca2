//! Longshore: the disks of virtual machines on Kubernetes, with or without a cluster.
//!
//! This crate is the command line. It wires the other crates together, and decides nothing.

mod admission;
mod backup;
mod cli;
mod connect;
mod controllers;
mod crds;
mod csi;
mod demo;
mod install;
mod output;
mod process;
mod run;
mod status;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::run(<cli::Cli as clap::Parser>::parse())
}
