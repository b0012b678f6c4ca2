//! The writer thread: checks, numbers, commits and publishes writes in batches.
//!
//! When the disk fails, the batch is refused and the disk is brought back to what was acknowledged
//! ([`Disk::settle`]). Until that works nothing is written, and it is tried again every second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use super::disk::{Disk, Entry};
use super::memory::Memory;
use super::restore::{self, Restored};
use super::{Backup, Change, Key, Object, Trouble, Write, WriteError};
use crate::metrics::Histogram;

/// Most writes in one transaction.
const BATCH: usize = 256;

/// How often a disk that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// Queued work.
#[derive(Debug)]
pub(super) enum Request {
    /// One change.
    Write(OneWrite),
    /// To make everything as it was in a backup.
    Restore {
        backup: Backup,
        reply: Reply<Restored>,
    },
}

/// A queued write.
#[derive(Debug)]
pub(super) struct OneWrite {
    pub(super) key: Key,
    pub(super) write: Write,
    pub(super) reply: Reply<Arc<Object>>,
}

/// What the writer shares with readers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) memory: Arc<Memory>,
    /// Why the last attempt to write failed.
    pub(super) trouble: Mutex<Option<Arc<Trouble>>>,
    pub(super) commits: Histogram,
}

/// Works until every sender of requests is gone.
pub(super) fn run(disk: Disk, shared: &Shared, requests: Receiver<Request>) {
    let mut writer = Writer {
        disk,
        shared,
        settled: true,
    };
    while let Some(first) = writer.wait(&requests) {
        let more = requests.try_iter().take(BATCH - 1);
        let batch: Vec<_> = std::iter::once(first).chain(more).collect();
        writer.work(batch);
    }
    writer.close();
}

struct Writer<'a> {
    disk: Disk,
    shared: &'a Shared,
    /// Whether the disk is known to hold what was acknowledged and nothing else.
    settled: bool,
}

impl Writer<'_> {
    /// Waits for the next request, and meanwhile for the disk to work again.
    fn wait(&mut self, requests: &Receiver<Request>) -> Option<Request> {
        loop {
            if self.settled && self.shared.trouble.lock().is_none() {
                return requests.recv().ok();
            }
            match requests.recv_timeout(RETRY) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.settle(),
            }
        }
    }

    fn work(&mut self, batch: Vec<Request>) {
        if !self.settled {
            self.settle();
        }
        let mut writes = Vec::new();
        for request in batch {
            match request {
                Request::Write(write) => writes.push(write),
                Request::Restore { backup, reply } => {
                    self.write(writes.drain(..));
                    // The author may have gone away, here and below.
                    let _ = reply.send(self.restore(backup));
                }
            }
        }
        self.write(writes.drain(..));
        if self.settled
            && let Err(error) = self.disk.tidy()
        {
            self.fail(error);
            self.settled = false;
        }
    }

    fn write(&mut self, writes: impl Iterator<Item = OneWrite>) {
        let mut revision = self.disk.revision;
        let mut pending: HashMap<Key, Option<u64>> = HashMap::new();
        let mut entries = Vec::new();
        let mut replies = Vec::new();
        for OneWrite { key, write, reply } in writes {
            let current = match pending.get(&key) {
                Some(revision) => *revision,
                None => self.shared.memory.get(&key).map(|object| object.revision),
            };
            match admit(write, current) {
                Ok((change, value)) => {
                    revision += 1;
                    let left = (change != Change::Deleted).then_some(revision);
                    pending.insert(key.clone(), left);
                    entries.push(Entry {
                        change,
                        object: Arc::new(stamp(&key, value, revision)),
                        previous: current.unwrap_or_default(),
                        key,
                    });
                    replies.push(reply);
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        let objects: Vec<_> = entries
            .iter()
            .map(|entry| Arc::clone(&entry.object))
            .collect();
        let committed = self.commit(entries);
        for (reply, object) in replies.into_iter().zip(objects) {
            let _ = reply.send(committed.clone().map(|()| object));
        }
    }

    fn restore(&mut self, backup: Backup) -> Result<Restored, WriteError> {
        let (_, now) = self.shared.memory.snapshot();
        let (entries, mut restored) = restore::plan(self.disk.revision, now, backup.objects);
        self.commit(entries)?;
        restored.revision = self.disk.revision;
        Ok(restored)
    }

    /// Makes entries durable, and then shows them.
    fn commit(&mut self, entries: Vec<Entry>) -> Result<(), WriteError> {
        if entries.is_empty() {
            return Ok(());
        }
        if !self.settled
            && let Some(trouble) = &*self.shared.trouble.lock()
        {
            return Err(WriteError::Disk(Arc::clone(trouble)));
        }
        let begun = Instant::now();
        let committed = self.disk.commit(&entries);
        self.shared.commits.observe(begun.elapsed());
        if let Err(error) = committed {
            let trouble = self.fail(error);
            self.settled = self.disk.settle().is_ok();
            return Err(if self.settled {
                WriteError::Disk(trouble)
            } else {
                WriteError::Unknown(trouble)
            });
        }
        self.recovered();
        self.shared.memory.apply(entries);
        Ok(())
    }

    fn fail(&self, reason: rusqlite::Error) -> Arc<Trouble> {
        let path = self.disk.path.clone();
        let trouble = Arc::new(Trouble { path, reason });
        tracing::error!("{trouble}");
        *self.shared.trouble.lock() = Some(Arc::clone(&trouble));
        trouble
    }

    fn settle(&mut self) {
        match self.disk.settle() {
            Ok(()) => {
                self.settled = true;
                self.recovered();
            }
            Err(error) => {
                self.settled = false;
                self.fail(error);
            }
        }
    }

    fn recovered(&self) {
        if self.shared.trouble.lock().take().is_some() {
            tracing::info!("the object database can be written again");
        }
    }

    fn close(mut self) {
        if !self.settled {
            self.settle();
        }
        if self.settled
            && let Err(error) = self.disk.close()
        {
            tracing::warn!(%error, "cannot close the object database; it is read as after a crash");
        }
    }
}

/// Whether a write fits the state it meets.
fn admit(write: Write, current: Option<u64>) -> Result<(Change, Value), WriteError> {
    match (write, current) {
        (Write::Create(_), Some(_)) => Err(WriteError::Exists),
        (Write::Create(value), None) => Ok((Change::Added, value)),
        (Write::Update(..) | Write::Delete(..), None) => Err(WriteError::Missing),
        (Write::Update(seen, _) | Write::Delete(seen, _), Some(current)) if seen != current => {
            Err(WriteError::Stale)
        }
        (Write::Update(_, value), Some(_)) => Ok((Change::Modified, value)),
        (Write::Delete(_, value), Some(_)) => Ok((Change::Deleted, value)),
    }
}

pub(super) fn stamp(key: &Key, mut value: Value, revision: u64) -> Object {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
    Object::from_text(revision, key, value.to_string().into_bytes())
}
