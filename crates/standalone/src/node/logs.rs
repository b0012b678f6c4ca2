//! What containers say: captured to files, read back, followed.
//!
//! Each start of a container has one file, `<restart>.log`, of lines `<time> <stream> <tag>
//! <text>`: the time as in RFC 3339 with nanoseconds, `stdout` or `stderr`, and `F` for a full line
//! or `P` for a part of one whose rest follows. When a file has grown to `MAX_FILE` it becomes
//! `<restart>.log.1`, replacing the one before, so a container that talks without end keeps its
//! latest words.

mod capture;
mod line;
mod read;
mod subresource;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::folder;

pub(super) use capture::capture;
pub(super) use read::last_words;
pub use read::{LogOptions, LogsError};
pub use subresource::PodLogs;

/// The size at which a file is put aside, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// The logs of the machine's Pods. Clones share it: the agents write, the API server's `pods/log`
/// reads.
#[derive(Clone, Debug)]
pub struct Logs {
    data_dir: PathBuf,
    /// The files that are being written; the value changes with each write, and ends with the
    /// writer.
    live: Arc<Mutex<HashMap<PathBuf, watch::Receiver<()>>>>,
}

impl Logs {
    /// The logs below a data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            live: Arc::default(),
        }
    }

    /// Says that a file is being written, until the sender is dropped.
    fn announce(&self, file: &Path) -> watch::Sender<()> {
        let (sender, receiver) = watch::channel(());
        let mut live = self.live.lock();
        live.retain(|_, receiver| receiver.has_changed().is_ok());
        live.insert(file.to_owned(), receiver);
        sender
    }

    /// Tells the writes to a file; `None` when nobody writes it any more.
    fn writes_to(&self, file: &Path) -> Option<watch::Receiver<()>> {
        self.live.lock().get(file).cloned()
    }
}

/// The log file of one start of a container, in the container's folder.
pub(super) fn log_file(container: &Path, restart: i32) -> PathBuf {
    container.join(format!("{restart}.log"))
}

/// The part of a log that was put aside.
fn put_aside(file: &Path) -> PathBuf {
    file.with_extension("log.1")
}

/// Removes all but the latest `keep` logs of a container.
pub(super) fn forget_old(container: &Path, keep: usize) -> std::io::Result<()> {
    let mut restarts = restarts(container)?;
    restarts.sort_unstable_by(|one, other| other.cmp(one));
    for restart in restarts.into_iter().skip(keep) {
        let file = log_file(container, restart);
        for path in [put_aside(&file), file] {
            if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// The starts of a container that have a log.
fn restarts(container: &Path) -> std::io::Result<Vec<i32>> {
    let names = folder::names(container)?;
    Ok(names
        .iter()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect())
}
