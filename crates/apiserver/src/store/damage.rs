//! What can be wrong with a database file.

use std::path::PathBuf;

use super::disk::{self, Entry};

/// The first fault that was found in a database file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// SQLite cannot read the file.
    #[error("SQLite says: {0}")]
    Sqlite(rusqlite::Error),
    /// A row is not what was written.
    #[error("{key} at revision {revision} is not what was written")]
    Row {
        /// `resource/namespace/name`.
        key: String,
        /// The revision of the row.
        revision: u64,
    },
    /// A change is not there.
    #[error("the change of revision {missing} is missing")]
    Gap {
        /// Its revision.
        missing: u64,
    },
    /// Rows were lost, or old ones came back.
    #[error("it has {found} rows instead of {expected}, or others than were written")]
    Rows {
        /// How many there should be.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The row that says what should be there is not what was written.
    #[error("its table of contents is not what was written")]
    Book,
    /// SQLite's log holds newer changes behind a place that cannot be read.
    #[error("its log {} cannot be read at byte {offset}, and more was written behind", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// The first frame that is not what was written.
        offset: u64,
    },
    /// SQLite's log, with the newest changes, was taken away.
    #[error("its log {}, with the newest changes, is missing", .0.display())]
    NoLog(PathBuf),
}

impl Damage {
    pub(super) fn row(entry: &Entry) -> Self {
        let (key, revision) = (&entry.key, entry.object.revision);
        Self::Row {
            key: disk::key_text(key),
            revision,
        }
    }
}
