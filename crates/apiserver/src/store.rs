//! Where objects live: durable in SQLite, served from memory.
//!
//! One writer thread owns the database. It takes whatever writes have queued up, checks each
//! against the revision its author saw, commits them in one transaction, and only then shows them
//! to readers, watchers and their authors. So what was acknowledged is durable, and what is read
//! was acknowledged.
//!
//! * `disk`: the database file; `damage`: what can be wrong with it
//! * `memory`: current objects and recent events per resource
//! * `writer`: the thread between them; `trouble`: why it cannot write
//! * `backup`: all objects as a file, and back; `restore`: what changes then

mod backup;
mod damage;
mod disk;
mod memory;
mod restore;
mod trouble;
mod writer;

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::meta;
use crate::metrics::Histogram;
pub use backup::{Backup, BackupError, Outcome, RestoreError, restore};
pub use damage::Damage;
pub(crate) use memory::Counts;
use memory::Memory;
pub use memory::{Expired, Page, Span, Watch};
pub use restore::Restored;
pub use trouble::Trouble;
use writer::{OneWrite, Request, Shared};

/// Where an object is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Resource and group, such as `pods` or `datavolumes.cdi.kubevirt.io`.
    pub resource: Arc<str>,
    /// Namespace; empty for objects that live in none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    fn place(&self) -> String {
        place(&self.namespace, &self.name)
    }
}

fn place(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// One state of one object: its JSON text, since most of what is stored is only ever copied to
/// clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The revision that made this state; also in `metadata.resourceVersion`.
    pub revision: u64,
    /// `namespace/name`, which orders the objects of a resource.
    place: Box<str>,
    text: Bytes,
}

impl Object {
    /// A state that is not stored.
    pub fn new(revision: u64, value: &Value) -> Self {
        Self {
            revision,
            place: place(meta::namespace(value), meta::name(value)).into(),
            text: value.to_string().into(),
        }
    }

    /// The same state under another revision.
    #[must_use]
    pub fn at(&self, revision: u64) -> Self {
        let mut value = self.value();
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        Self::new(revision, &value)
    }

    /// A state whose text was written by this program.
    fn from_text(revision: u64, key: &Key, text: Vec<u8>) -> Self {
        Self {
            revision,
            place: key.place().into(),
            // As long as it is, and not as long as it could have become.
            text: text.into_boxed_slice().into(),
        }
    }

    /// Namespace; empty for objects that live in none.
    pub fn namespace(&self) -> &str {
        self.place
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// Name.
    pub fn name(&self) -> &str {
        self.place.split_once('/').map_or("", |(_, name)| name)
    }

    /// `namespace/name`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The object as JSON text.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The object, read from its text.
    ///
    /// # Panics
    /// If the text is no JSON, which it is by the time it is stored.
    #[expect(
        clippy::expect_used,
        reason = "the text was written or checked by this program"
    )]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.text).expect("stored objects are JSON")
    }
}

/// The newest revision of a moment, and every object of it.
type Snapshot = (u64, Vec<(Key, Arc<Object>)>);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Added,
    /// It was replaced by a newer state.
    Modified,
    /// It is gone; the event carries its last state.
    Deleted,
}

/// One entry of a resource's history.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The state after it; for [`Change::Deleted`] the last one, at the revision of the deletion.
    pub object: Arc<Object>,
    /// The state before it, where that is still known.
    pub previous: Option<Arc<Object>>,
}

/// A change asked of the store.
#[derive(Debug)]
pub enum Write {
    /// Stores a new object; the key must be free.
    Create(Value),
    /// Replaces the state that was read at this revision.
    Update(u64, Value),
    /// Removes the state that was read at this revision; the value is what watchers get to see
    /// last.
    Delete(u64, Value),
}

/// Why a write was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// [`Write::Create`] of a key that is taken.
    #[error("the object exists already")]
    Exists,
    /// The object is not there (any more).
    #[error("the object does not exist")]
    Missing,
    /// Someone else changed the object since it was read.
    #[error("the object has been modified")]
    Stale,
    /// The database cannot be written. Nothing of the write is stored, nor will be.
    #[error(transparent)]
    Disk(Arc<Trouble>),
    /// The database cannot be written, nor put back to what it was before. The write is not done
    /// as long as this process runs; if it ends before the disk works again, the next one
    /// may find the write done.
    #[error(
        "{0}; the change was not made, but may be found after a restart that comes before that"
    )]
    Unknown(Arc<Trouble>),
    /// [`Store::close`] was called.
    #[error("the object database is closed")]
    Closed,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the folder.
    #[error("{} is in use by another process{}", dir.display(), holder(pid.as_deref()))]
    InUse {
        /// The data folder.
        dir: PathBuf,
        /// Process id of the holder, as it wrote it down.
        pid: Option<String>,
    },
    /// A file or folder cannot be made or opened.
    #[error("cannot use {}", path.display())]
    Io {
        /// What was tried.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what this program has written.
    #[error(
        "the object database {} is damaged: {damage}; restore it from a backup by `longshore \
         restore FILE`, or move it away to start empty", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The disk does not do what is asked of it; nothing is known to be wrong with the file.
    #[error(transparent)]
    Disk(Trouble),
    /// The file was written by a newer release.
    #[error("the object database {} has format {found}, but this release reads formats up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
}

impl OpenError {
    /// What SQLite cannot do, as the disk's trouble or as damage.
    fn sqlite(path: &Path, reason: rusqlite::Error) -> Self {
        if !trouble::is_of_the_disk(&reason) {
            return Self::damaged(path, Damage::Sqlite(reason));
        }
        let path = path.to_owned();
        Self::Disk(Trouble { path, reason })
    }

    fn damaged(path: &Path, damage: Damage) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            damage,
        }
    }
}

fn holder(pid: Option<&str>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// A durable set of objects with one history. Revisions only ever rise, across restarts too.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    shared: Arc<Shared>,
    writer: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    queue: mpsc::Sender<Request>,
    thread: JoinHandle<()>,
    /// Held for as long as the thread may write.
    _lock: File,
}

impl Store {
    /// Opens or makes the store in a folder, which it keeps other processes out of.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(|source| io(dir, source))?;
        let lock = lock(dir)?;
        backup::clean(dir).map_err(|source| io(dir, source))?;
        let (disk, memory) = disk::open(&dir.join("state.db"))?;
        let shared = Arc::new(Shared {
            memory: Arc::new(memory),
            trouble: Mutex::default(),
            commits: Histogram::default(),
        });
        let (queue, requests) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || writer::run(disk, &shared, requests)
            })
            .map_err(|source| io(dir, source))?;
        let running = Running {
            queue,
            thread,
            _lock: lock,
        };
        Ok(Self {
            dir: dir.to_owned(),
            shared,
            writer: Mutex::new(Some(running)),
        })
    }

    /// Makes a change durable, and returns the new (or, for a deletion, the last) state.
    ///
    /// A caller that goes away does not stop the write.
    pub async fn write(&self, key: Key, write: Write) -> Result<Arc<Object>, WriteError> {
        let one = |reply| Request::Write(OneWrite { key, write, reply });
        self.ask(one).await
    }

    /// Makes everything as it was in a backup, in one step; what differs gets new revisions.
    pub async fn restore(&self, backup: Backup) -> Result<Restored, WriteError> {
        self.ask(|reply| Request::Restore { backup, reply }).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, WriteError>>) -> Request,
    ) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        {
            let writer = self.writer.lock();
            let running = writer.as_ref().ok_or(WriteError::Closed)?;
            let sent = running.queue.send(request(reply));
            sent.map_err(|_| WriteError::Closed)?;
        }
        let answer = match Handle::current().runtime_flavor() {
            // A blocking task keeps the paused clock of a test from running ahead while the disk
            // works.
            RuntimeFlavor::CurrentThread => {
                let wait = tokio::task::spawn_blocking(move || answer.blocking_recv());
                wait.await.ok().and_then(Result::ok)
            }
            _ => answer.await.ok(),
        };
        answer.unwrap_or(Err(WriteError::Closed))
    }

    /// Whether another process holds the store of a folder.
    pub fn is_in_use(dir: &Path) -> bool {
        dir.join("lock").exists() && matches!(lock(dir), Err(OpenError::InUse { .. }))
    }

    /// Why nothing can be written at present.
    pub fn trouble(&self) -> Option<Arc<Trouble>> {
        self.shared.trouble.lock().clone()
    }

    /// How many objects and watches there are of each resource.
    pub(crate) fn counts(&self) -> Vec<Counts> {
        self.shared.memory.counts()
    }

    /// How long commits took.
    pub(crate) fn commits(&self) -> &Histogram {
        &self.shared.commits
    }

    /// The current state of an object.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.shared.memory.get(key)
    }

    /// The objects of a resource that are there now, of one namespace or of all, in the order of
    /// their places.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.shared.memory.list(resource, namespace)
    }

    /// Some objects of a resource at some moment, as one consistent view.
    pub fn page(&self, resource: &str, span: &Span<'_>) -> Result<Page, Expired> {
        self.shared.memory.page(resource, span)
    }

    /// Follows a resource from after a revision.
    pub fn watch(&self, resource: &str, from: u64) -> Watch {
        Memory::watch(&self.shared.memory, resource, from)
    }

    /// The revision of the last change of a resource.
    pub fn changed(&self, resource: &str) -> u64 {
        self.shared.memory.changed(resource)
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.shared.memory.revision()
    }

    /// Stops writing and releases the folder. Reads still work; writes answer
    /// [`WriteError::Closed`].
    pub fn close(&self) {
        let running = self.writer.lock().take();
        if let Some(Running {
            queue,
            thread,
            _lock,
        }) = running
        {
            drop(queue);
            if thread.join().is_err() {
                tracing::error!("the store's writer thread had panicked");
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

fn io(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Takes the folder's lock, which the kernel releases when this process ends, however it ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| io(&path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let pid = file
                .read_to_string(&mut pid)
                .ok()
                .map(|_| pid.trim().to_owned());
            let pid = pid.filter(|pid| !pid.is_empty());
            return Err(OpenError::InUse {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(TryLockError::Error(source)) => return Err(io(&path, source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|source| io(&path, source))?;
    Ok(file)
}

#[cfg(test)]
mod tests;
