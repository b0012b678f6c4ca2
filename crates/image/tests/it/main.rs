//! Whole imports, judged by `qemu-img`, from files and from servers of every temper.
#![expect(clippy::unwrap_used, reason = "helpers of tests stop the test")]

mod hostile;
mod http;
mod qemu;
mod server;
mod support;
mod tls;
