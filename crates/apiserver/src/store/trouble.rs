//! Why the object database cannot be written at present.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// A failure to write. The store goes on to serve reads, tries again by itself, and takes writes
/// as soon as one succeeds.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the object database {}: {reason}; {}", path.display(), self.advice())]
pub struct Trouble {
    /// The database.
    pub path: PathBuf,
    /// What SQLite says.
    pub reason: rusqlite::Error,
}

impl Trouble {
    /// What an operator can do about it.
    fn advice(&self) -> &'static str {
        match self.reason.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "free space on the file system of that folder",
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "make that folder writable for this user"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "stop, and restore it from a backup by `longshore restore FILE`"
            }
            _ => "look for errors of its disk in the kernel's log",
        }
    }
}

/// Whether an error says nothing about the file, but about the disk it is on. A file that ends too
/// early has an error of its own.
pub(super) fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    let disk = [
        ErrorCode::DiskFull,
        ErrorCode::SystemIoFailure,
        ErrorCode::CannotOpen,
        ErrorCode::ReadOnly,
        ErrorCode::PermissionDenied,
    ];
    code != Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
        && error
            .sqlite_error_code()
            .is_some_and(|code| disk.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_what_to_do() {
        let trouble = Trouble {
            path: "/data/state.db".into(),
            reason: rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(13),
                Some("database or disk is full".into()),
            ),
        };
        assert_eq!(
            trouble.to_string(),
            "cannot write the object database /data/state.db: database or disk is full; \
             free space on the file system of that folder"
        );
    }
}
