//! Backups: a file with every object of one moment, in the format of the database itself.
//!
//! A backup is written from memory, so it is whole also where the disk of the store is not, and
//! writers do not wait for it. It has the checksums of a database and is checked in the same way.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use super::{Damage, Key, Object, OpenError, Restored, Store, WriteError, disk};
use crate::meta;

/// How far revisions are raised where it cannot be known which were given out: those of more than
/// six years with 5,000 writes a second.
const LEAP: u64 = 1_000_000_000_000;

/// Why a file is no backup that can be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{} is no whole backup: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// It was written by another release.
    #[error("{} has format {found}, but this release restores format {known}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format known here.
        known: i64,
    },
    /// An object in it is not one that can be stored under its key.
    #[error("{} holds no object at {key}", path.display())]
    NoObject {
        /// The file.
        path: PathBuf,
        /// `resource/namespace/name`.
        key: String,
    },
}

/// Why a store could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store cannot be opened, for another reason than damage.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its files cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// What was tried.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The changes cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What became of a store that was restored while nobody used it.
#[derive(Debug)]
pub enum Outcome {
    /// It was whole: what differed was changed, at new revisions.
    Changed(Restored),
    /// It was damaged or empty, and was replaced.
    Replaced {
        /// Number of objects.
        objects: usize,
        /// The newest revision after it, which is higher than any that was given out.
        revision: u64,
        /// Where the damaged database is now.
        moved: Option<PathBuf>,
    },
}

/// The objects of one moment.
#[derive(Debug)]
pub struct Backup {
    /// The newest revision of that moment.
    pub revision: u64,
    pub(super) objects: Vec<(Key, Arc<Object>)>,
}

impl Backup {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Reads a file and checks all of it. Nothing in it is trusted.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let path = path.to_owned();
        // SQLite's own message would not say which of many reasons it is.
        if let Err(source) = File::open(&path) {
            return Err(BackupError::Io { path, source });
        }
        let read = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            let found = disk::found_format(&connection)?;
            Ok((connection, found))
        };
        let (connection, found) = match read() {
            Ok(read) => read,
            Err(error) => {
                return Err(BackupError::Damaged {
                    path,
                    damage: Damage::Sqlite(error),
                });
            }
        };
        if found != disk::FORMAT {
            let known = disk::FORMAT;
            return Err(BackupError::Format { path, found, known });
        }
        let (revision, mut objects) = match disk::read_all(&connection) {
            Ok(read) => read,
            Err(damage) => return Err(BackupError::Damaged { path, damage }),
        };
        for (key, object) in &objects {
            if !is_object_of(key, object) {
                let key = disk::key_text(key);
                return Err(BackupError::NoObject { path, key });
            }
        }
        objects.sort_by_key(|(_, object)| object.revision);
        Ok(Self { revision, objects })
    }

    /// Writes it to a new file, which then holds `floor` as its newest revision.
    fn write(&self, path: &Path, floor: u64) -> io::Result<()> {
        let file = disk::create_private(path)?;
        disk::write_all(path, floor, &self.objects).map_err(io::Error::other)?;
        file.sync_all()
    }
}

/// Whether a text is an object that belongs under a key.
fn is_object_of(key: &Key, object: &Object) -> bool {
    serde_json::from_slice(object.text()).is_ok_and(|value: serde_json::Value| {
        meta::name(&value) == key.name
            && (key.namespace.is_empty() || meta::namespace(&value) == key.namespace)
    })
}

impl Store {
    /// Every object of this moment, as a file that has no name and is gone when it is closed.
    ///
    /// It is written below the data folder, and takes as long as its bytes take to be written.
    pub fn backup(&self) -> io::Result<File> {
        let (revision, mut objects) = self.shared.memory.snapshot();
        objects.sort_by_key(|(_, object)| object.revision);
        let path = self.temporary();
        let written = Backup { revision, objects }.write(&path, revision);
        let file = written.and_then(|()| File::open(&path));
        let _ = std::fs::remove_file(&path);
        file
    }

    /// A path in the data folder that nobody else uses; what a crash leaves there goes
    /// when the store is opened again.
    pub fn temporary(&self) -> PathBuf {
        let unique = uuid::Uuid::new_v4().simple();
        self.dir.join(format!("{TEMPORARY}{unique}"))
    }
}

/// Begins the names of files that only one process needs.
const TEMPORARY: &str = ".temporary-";

/// Removes what a process that was killed has left.
pub(super) fn clean(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Restores a store that nobody uses. It may be whole, damaged, or not be there at all. Whenever it
/// is interrupted, the store is either as before or restored.
pub async fn restore(dir: &Path, backup: Backup) -> Result<Outcome, RestoreError> {
    match Store::open(dir) {
        Ok(store) if store.revision() > 0 => {
            let restored = store.restore(backup).await?;
            store.close();
            Ok(Outcome::Changed(restored))
        }
        Ok(empty) => {
            empty.close();
            replace(dir, &backup, false)
        }
        Err(OpenError::Damaged { .. }) => replace(dir, &backup, true),
        Err(error) => Err(error.into()),
    }
}

/// Puts a backup in the place of the database, with revisions beyond all that were given out.
fn replace(dir: &Path, backup: &Backup, is_damaged: bool) -> Result<Outcome, RestoreError> {
    let _lock = super::lock(dir)?;
    let database = dir.join("state.db");
    let highest = disk::highest_revision(&database);
    let revision = highest.max(Some(backup.revision)).unwrap_or_default() + LEAP;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    let new = dir.join(format!("{TEMPORARY}restored"));
    remove(&new).map_err(failed(&new))?;
    backup.write(&new, revision).map_err(failed(&new))?;
    let moved = is_damaged.then(|| set_aside(dir, &database)).transpose();
    let moved = moved.map_err(failed(&database))?;
    std::fs::rename(&new, &database).map_err(failed(&database))?;
    sync(dir).map_err(failed(dir))?;
    let objects = backup.len();
    Ok(Outcome::Replaced {
        objects,
        revision,
        moved,
    })
}

/// Gives a damaged database a second name, and its log another one. The database itself stays until
/// the new one takes its place; without its log it is not mistaken for a whole one.
fn set_aside(dir: &Path, database: &Path) -> io::Result<PathBuf> {
    let names: BTreeSet<_> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let taken = |n: &u32| {
        names
            .iter()
            .any(|name| name.starts_with(&format!("state.db.damaged-{n}")))
    };
    let number = (1..=u32::MAX).find(|n| !taken(n)).unwrap_or_default();
    let aside = dir.join(format!("state.db.damaged-{number}"));
    std::fs::hard_link(database, &aside)?;
    let mut aside_log = aside.clone().into_os_string();
    aside_log.push("-wal");
    match std::fs::rename(dir.join("state.db-wal"), aside_log) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    remove(&dir.join("state.db-shm"))?;
    sync(dir)?;
    Ok(aside)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
