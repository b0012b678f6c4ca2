//! Pools and volumes on disk, without any RPC. The layout is in the crate's documentation.

use std::error::Error as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::config::PoolConfig;
use crate::volume_id::VolumeId;

/// The driver's own folder in a pool.
const OWN: &str = ".longshore";

/// A pool: a folder whose subfolders are volumes.
#[derive(Debug)]
pub struct Pool {
    name: String,
    path: PathBuf,
    shared: bool,
    /// The pool's folder. Volumes are opened relative to it and never through a symbolic link.
    folder: OwnedFd,
    /// Held while volumes are made or taken out, so that two calls for one name see each other's
    /// result.
    changes: Mutex<Changes>,
}

/// What a pool remembers of its own changes.
#[derive(Debug, Default)]
struct Changes {
    /// How many volumes were taken out since the pool was opened.
    removals: u64,
}

/// What was promised when a volume was made; its file is the proof that the volume exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    /// The promised size in bytes.
    pub capacity_bytes: u64,
}

/// Bytes and inodes of the file system that holds a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes left to ordinary users.
    pub available_bytes: u64,
    /// Inodes in all.
    pub total_inodes: u64,
    /// Inodes left.
    pub free_inodes: u64,
}

/// Which sizes a new volume may have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// At least.
    pub required: u64,
    /// At most; `None` leaves it open.
    pub limit: Option<u64>,
}

impl SizeRange {
    /// The size of a new volume: what is required, and the limit where only that is given.
    fn choose(self) -> u64 {
        if self.required > 0 {
            self.required
        } else {
            self.limit.unwrap_or(0)
        }
    }

    fn contains(self, bytes: u64) -> bool {
        bytes >= self.required && self.limit.is_none_or(|limit| bytes <= limit)
    }
}

/// Why something with a pool or volume failed.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A call of the operating system failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A promise cannot be read.
    #[error("the record {path} of a volume is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A volume of this name exists and does not fit what is asked now.
    #[error("volume {id} exists with {capacity_bytes} bytes, which does not fit the request")]
    OtherSize {
        /// The volume.
        id: VolumeId,
        /// The size it has.
        capacity_bytes: u64,
    },
    /// The pool is too full.
    #[error(
        "storage pool {pool} has {available_bytes} bytes available, \
         volume {id} needs {required_bytes}"
    )]
    NoSpace {
        /// The pool.
        pool: String,
        /// The wanted volume.
        id: VolumeId,
        /// What is left.
        available_bytes: u64,
        /// What is asked.
        required_bytes: u64,
    },
    /// Something that is no folder stands where the volume should be.
    #[error("{path} is in the way: it is not a folder")]
    InTheWay {
        /// The entry.
        path: PathBuf,
    },
}

/// Names the action and the path of a failed call.
fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> PoolError {
    move |error| PoolError::Io {
        action,
        path: path.to_owned(),
        source: error.into(),
    }
}

impl Pool {
    /// Opens a pool, makes its folders where they are missing (mode 0750) and removes what an
    /// earlier run left half removed.
    pub fn open(config: &PoolConfig) -> Result<Self, PoolError> {
        let path = &config.path;
        let builder = |mode| {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(mode);
            builder
        };
        builder(0o750)
            .create(path)
            .map_err(failed("create the folder", path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(failed("open the folder", path))?;
        let pool = Self {
            name: config.name.clone(),
            path: path.clone(),
            shared: config.shared,
            folder,
            changes: Mutex::default(),
        };
        for own in [pool.records(), pool.trash()] {
            builder(0o700)
                .create(&own)
                .map_err(failed("create the folder", &own))?;
        }
        pool.sweep()?;
        Ok(pool)
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether every node has this pool.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The space of the file system that holds the pool.
    pub fn space(&self) -> Result<Space, PoolError> {
        let status = rustix::fs::fstatvfs(&self.folder)
            .map_err(failed("measure the file system of", &self.path))?;
        Ok(Space {
            total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
            available_bytes: status.f_bavail.saturating_mul(status.f_frsize),
            total_inodes: status.f_files,
            free_inodes: status.f_ffree,
        })
    }

    /// Makes a volume, or finds the one made earlier under the same name. When it returns, the
    /// volume survives a power cut.
    pub fn create(&self, id: &VolumeId, sizes: SizeRange) -> Result<Promise, PoolError> {
        let _guard = self.changes.lock();
        if let Some(promise) = self.promise(id)? {
            if !sizes.contains(promise.capacity_bytes) {
                let capacity_bytes = promise.capacity_bytes;
                return Err(PoolError::OtherSize {
                    id: id.clone(),
                    capacity_bytes,
                });
            }
            // The folder is missing when the driver was killed between the two steps below.
            self.create_folder(id)?;
            return Ok(promise);
        }
        let promise = Promise {
            capacity_bytes: sizes.choose(),
        };
        // A folder without a record is data that was made by another driver of this layout; it
        // takes no new space.
        if self.open_volume(id)?.is_none() {
            self.check_space(id, promise.capacity_bytes)?;
        }
        self.write_promise(id, &promise)?;
        if let Err(error) = self.create_folder(id) {
            self.remove_promise(id)?;
            return Err(error);
        }
        Ok(promise)
    }

    /// Removes a volume with its data. A missing volume is a success.
    ///
    /// The volume leaves its place in one step. What is interrupted after that is finished when it
    /// is deleted again, or the pool is opened next.
    pub fn delete(&self, id: &VolumeId) -> Result<(), PoolError> {
        {
            let mut changes = self.changes.lock();
            self.move_to_trash(id, &mut changes)?;
            self.remove_promise(id)?;
        }
        for path in entries(&self.trash())? {
            if is_trash_of(&path, id) {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Opens a volume's folder, as a place (`O_PATH`); `None` when there is no such volume.
    pub fn open_volume(&self, id: &VolumeId) -> Result<Option<OwnedFd>, PoolError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.folder, id.as_str(), flags, Mode::empty()) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(PoolError::InTheWay {
                path: self.path.join(id.as_str()),
            }),
            Err(error) => Err(failed("open the volume", &self.path.join(id.as_str()))(
                error,
            )),
        }
    }

    fn records(&self) -> PathBuf {
        self.path.join(OWN).join("volumes")
    }

    fn record(&self, id: &VolumeId) -> PathBuf {
        self.records().join(format!("{id}.json"))
    }

    fn trash(&self) -> PathBuf {
        self.path.join(OWN).join("trash")
    }

    fn check_space(&self, id: &VolumeId, required_bytes: u64) -> Result<(), PoolError> {
        let available_bytes = self.space()?.available_bytes;
        if required_bytes <= available_bytes {
            return Ok(());
        }
        let pool = self.name.clone();
        Err(PoolError::NoSpace {
            pool,
            id: id.clone(),
            available_bytes,
            required_bytes,
        })
    }

    fn promise(&self, id: &VolumeId) -> Result<Option<Promise>, PoolError> {
        let path = self.record(id);
        match fs::read(&path) {
            Ok(content) => serde_json::from_slice(&content)
                .map(Some)
                .map_err(|source| PoolError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read the record", &path)(error)),
        }
    }

    /// The record appears whole or not at all, and stays.
    fn write_promise(&self, id: &VolumeId, promise: &Promise) -> Result<(), PoolError> {
        let path = self.record(id);
        let draft = self.records().join(format!("{id}.draft"));
        let content = serde_json::to_vec(promise).map_err(|source| PoolError::Damaged {
            path: path.clone(),
            source,
        })?;
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&content)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_folder(&self.records())
        };
        write().map_err(failed("write the record", &path))
    }

    fn remove_promise(&self, id: &VolumeId) -> Result<(), PoolError> {
        let path = self.record(id);
        match fs::remove_file(&path) {
            Ok(()) => sync_folder(&self.records()).map_err(failed("write the folder of", &path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("remove the record", &path)(error)),
        }
    }

    fn create_folder(&self, id: &VolumeId) -> Result<(), PoolError> {
        let path = self.path.join(id.as_str());
        // The mode is what the original driver's volumes have under the usual umask.
        match rustix::fs::mkdirat(&self.folder, id.as_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) => rustix::fs::fsync(&self.folder).map_err(failed("write the folder of", &path)),
            Err(Errno::EXIST) => self.open_volume(id).map(drop),
            Err(error) => Err(failed("create the volume", &path)(error)),
        }
    }

    /// Takes the entry out of the pool, whatever it is. A missing one is a success.
    fn move_to_trash(&self, id: &VolumeId, changes: &mut Changes) -> Result<(), PoolError> {
        // The number tells it from an earlier volume of the same name whose removal still runs, or
        // has failed, maybe in an earlier run.
        let target = loop {
            changes.removals += 1;
            let target = self.trash().join(format!("{id}.{}", changes.removals));
            if target.symlink_metadata().is_err() {
                break target;
            }
        };
        match rustix::fs::renameat(&self.folder, id.as_str(), CWD, &target) {
            Ok(()) => {
                rustix::fs::fsync(&self.folder).map_err(failed("write the folder", &self.path))
            }
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove the volume", &self.path.join(id.as_str()))(
                error,
            )),
        }
    }

    /// Finishes what an earlier run began: removals, and records that were never complete. What
    /// cannot be removed only takes space, and stays for the next time.
    fn sweep(&self) -> Result<(), PoolError> {
        for path in entries(&self.trash())? {
            if let Err(error) = remove_tree(&path) {
                let cause = error.source();
                tracing::warn!(%error, cause, "the remains of a deleted volume stay");
            }
        }
        for path in entries(&self.records())? {
            if path
                .extension()
                .is_some_and(|extension| extension == "draft")
            {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, PoolError> {
    fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(failed("list the folder", folder))
}

/// Whether `path` is what [`Pool::move_to_trash`] makes of the volume: its name and a number.
fn is_trash_of(path: &Path, id: &VolumeId) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(volume, number)| volume == id.as_str() && number.parse::<u64>().is_ok())
}

/// Removes an entry and everything below it; symbolic links are removed, never followed. Missing is
/// a success.
fn remove_tree(path: &Path) -> Result<(), PoolError> {
    let remove = || {
        let kind = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        if rustix::fs::FileType::from_raw_mode(kind).is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    };
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
