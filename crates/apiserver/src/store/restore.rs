//! What has to change for everything to be as it was in a backup.
//!
//! Time does not go back: what is different gets new revisions, as if users had made the changes,
//! so that watchers see them as they see any other.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::disk::Entry;
use super::writer::stamp;
use super::{Change, Key, Object};
use crate::meta;

/// What a restore has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Objects that were not there.
    pub created: usize,
    /// Objects that were different.
    pub updated: usize,
    /// Objects that the backup does not have.
    pub deleted: usize,
    /// Objects that were as in the backup.
    pub unchanged: usize,
    /// The newest revision after it.
    pub revision: u64,
}

/// The changes after `revision` that make `backup`, oldest state first, of `now`: deletions, then the
/// rest in that order.
pub(super) fn plan(
    revision: u64,
    now: Vec<(Key, Arc<Object>)>,
    backup: Vec<(Key, Arc<Object>)>,
) -> (Vec<Entry>, Restored) {
    let mut changes = Changes {
        revision,
        entries: Vec::new(),
    };
    let mut restored = Restored::default();
    let mut now: HashMap<Key, Arc<Object>> = now.into_iter().collect();
    let mut wanted = Vec::new();
    for (key, object) in backup {
        let current = now.remove(&key);
        wanted.push((key, object, current));
    }
    let mut gone: Vec<_> = now.into_iter().collect();
    gone.sort_by_key(|(_, object)| std::cmp::Reverse(object.revision));
    for (key, object) in gone {
        restored.deleted += 1;
        changes.delete(key, &object);
    }
    for (key, object, current) in wanted {
        let Some(current) = current else {
            restored.created += 1;
            changes.put(key, Change::Added, object.value(), 0);
            continue;
        };
        if current == object {
            restored.unchanged += 1;
            continue;
        }
        let (old, new) = (unstamped(&current), unstamped(&object));
        if old == new {
            restored.unchanged += 1;
        } else if meta::uid(&old) == meta::uid(&new) {
            restored.updated += 1;
            changes.put(key, Change::Modified, new, current.revision);
        } else {
            // Another object of the same name: whoever holds on to the old one must see it go.
            restored.updated += 1;
            changes.delete(key.clone(), &current);
            changes.put(key, Change::Added, new, 0);
        }
    }
    (changes.entries, restored)
}

struct Changes {
    revision: u64,
    entries: Vec<Entry>,
}

impl Changes {
    fn delete(&mut self, key: Key, current: &Object) {
        self.put(key, Change::Deleted, current.value(), current.revision);
    }

    fn put(&mut self, key: Key, change: Change, value: Value, previous: u64) {
        self.revision += 1;
        self.entries.push(Entry {
            change,
            object: Arc::new(stamp(&key, value, self.revision)),
            previous,
            key,
        });
    }
}

/// The object without the revision that it carries.
fn unstamped(object: &Object) -> Value {
    let mut value = object.value();
    meta::metadata_mut(&mut value).remove("resourceVersion");
    value
}
