//! What the developers of Longshore run: `cargo xtask check` judges the tree, `cargo xtask bench`
//! measures the product.

#![forbid(unsafe_code)]

mod bench;
mod check;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Checks and measurements for developers")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check layers, licences and the rules of the tree
    Check,
    /// Measure against qemu-img and against etcd with kube-apiserver, and print tables
    Bench {
        /// The program to measure, built in release mode
        program: PathBuf,
        /// Measure the API only
        #[arg(long)]
        api: bool,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Check => check::run(),
        Verb::Bench { program, api } => bench::run(&program, api),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done where not even this can be written.
            let _ = writeln!(std::io::stderr(), "xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
