//! This process: its runtime, and how it learns that it is to stop.

use std::future::Future;

use anyhow::{Context as _, Result};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// The exit code of a process that SIGTERM ended, as shells give it.
const TERMINATED: i32 = 128 + 15;

/// Runs a future to its end on a runtime with a thread per processor.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    install_crypto();
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime
        .context("failed to start the runtime")?
        .block_on(future)
}

/// Resolves when the process is asked to stop, by a signal or by the end of its parent.
pub(crate) async fn stop_requested() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = parent_gone() => {}
    }
}

/// Resolves when the process that started this one as its own is gone; otherwise never.
async fn parent_gone() {
    let (cut, gone) = tokio::sync::oneshot::channel();
    let watched = sys::lifeline::is_given() && sys::lifeline::watch(move || drop(cut)).is_ok();
    if !watched {
        return std::future::pending().await;
    }
    // The sender is dropped unused: that is the news.
    let _: Result<(), _> = gone.await;
}

/// One provider of cryptography for all that speaks TLS.
fn install_crypto() {
    // An error means that it has been installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Makes SIGTERM end the process at once. By itself it would not where the process is the first of
/// its container, which the kernel shields from signals that it does not handle.
pub(crate) fn end_on_terminate() -> Result<()> {
    let wait = || -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            signal(SignalKind::terminate())?.recv().await;
            Ok(())
        })
    };
    let watcher = std::thread::Builder::new().name("signals".to_owned());
    let watcher = watcher.spawn(move || {
        if wait().is_ok() {
            std::process::exit(TERMINATED);
        }
    });
    watcher
        .map(drop)
        .context("failed to start a thread for signals")
}
