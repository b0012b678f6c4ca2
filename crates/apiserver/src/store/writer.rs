//! The writer thread: checks, numbers, commits and publishes writes in batches.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, Entry};
use super::memory::Memory;
use super::{Change, Key, Object, Write, WriteError};

/// Most writes in one transaction.
const BATCH: usize = 256;

type Reply = oneshot::Sender<Result<Arc<Object>, WriteError>>;

/// A queued write.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: Key,
    pub(super) write: Write,
    pub(super) reply: Reply,
}

/// Works until every sender of requests is gone.
pub(super) fn run(mut disk: Disk, memory: &Memory, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut batch = Vec::new();
    while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
        commit(&mut disk, memory, batch.drain(..));
    }
}

fn commit(disk: &mut Disk, memory: &Memory, requests: impl Iterator<Item = Request>) {
    let mut revision = disk.revision;
    let mut pending: HashMap<Key, Option<u64>> = HashMap::new();
    let mut rows = Vec::new();
    let mut replies: Vec<Reply> = Vec::new();
    for Request { key, write, reply } in requests {
        let current = match pending.get(&key) {
            Some(revision) => *revision,
            None => memory.get(&key).map(|object| object.revision),
        };
        match admit(write, current) {
            Ok((change, value)) => {
                revision += 1;
                let object = Arc::new(stamp(value, revision));
                let left = (change != Change::Deleted).then_some(revision);
                pending.insert(key.clone(), left);
                rows.push(Entry {
                    key,
                    change,
                    object,
                });
                replies.push(reply);
            }
            Err(error) => {
                // The author may have gone away.
                let _ = reply.send(Err(error));
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    if let Err(error) = disk.commit(&rows) {
        tracing::error!(%error, writes = rows.len(), "cannot write the object database");
        let error = Arc::new(error);
        for reply in replies {
            let _ = reply.send(Err(WriteError::Disk(Arc::clone(&error))));
        }
        return;
    }
    let objects: Vec<_> = rows.iter().map(|row| Arc::clone(&row.object)).collect();
    memory.apply(rows);
    for (reply, object) in replies.into_iter().zip(objects) {
        let _ = reply.send(Ok(object));
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

fn stamp(mut value: Value, revision: u64) -> Object {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
    Object::new(revision, &value)
}
