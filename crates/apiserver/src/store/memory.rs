//! The readers' side: current objects, and a bounded history per resource for watches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::disk::Entry;
use super::{Change, Event, Key, Object};

/// Most events remembered per resource. A watcher that falls further behind has to list again.
const HISTORY: usize = 512;

/// Most bytes of JSON text that the remembered events of a resource stand for.
const HISTORY_BYTES: usize = 8 * 1024 * 1024;

/// The asked revision is older than what the history still holds, or was never given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// The revision asked for.
    pub asked: u64,
    /// The oldest revision that can be followed from.
    pub oldest: u64,
}

/// A list and the moment it shows.
#[derive(Debug)]
pub struct Page {
    /// The objects, in the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// Newest revision of the whole store at that moment.
    pub revision: u64,
    /// Revision of the last change of this resource.
    pub changed: u64,
    /// Oldest revision from which the resource can be followed.
    pub oldest: u64,
}

#[derive(Debug)]
pub(super) struct Memory {
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    revision: u64,
    /// History before this revision is not kept on disk either.
    compacted: u64,
    resources: HashMap<Arc<str>, Resource>,
}

#[derive(Debug)]
struct Resource {
    objects: BTreeMap<(String, String), Arc<Object>>,
    history: VecDeque<Event>,
    /// Length of the objects' texts in `history`.
    bytes: usize,
    /// Every event after this revision is in `history`.
    floor: u64,
    newest: watch::Sender<u64>,
}

impl State {
    fn resource(&mut self, name: &str) -> &mut Resource {
        if !self.resources.contains_key(name) {
            let resource = Resource {
                objects: BTreeMap::new(),
                history: VecDeque::new(),
                bytes: 0,
                floor: self.compacted,
                newest: watch::Sender::new(self.compacted),
            };
            self.resources.insert(name.into(), resource);
        }
        #[expect(clippy::expect_used, reason = "inserted above")]
        self.resources.get_mut(name).expect("the resource is known")
    }
}

impl Resource {
    fn remember(&mut self, event: Event) {
        let revision = event.object.revision;
        let bytes = event.object.text.len();
        while (self.history.len() >= HISTORY || self.bytes + bytes > HISTORY_BYTES)
            && let Some(forgotten) = self.history.pop_front()
        {
            self.floor = forgotten.object.revision;
            self.bytes -= forgotten.object.text.len();
        }
        self.history.push_back(event);
        self.bytes += bytes;
        self.newest.send_replace(revision);
    }
}

impl Memory {
    /// An empty memory whose history starts at `compacted`.
    pub(super) fn new(compacted: u64) -> Self {
        let state = State {
            revision: compacted,
            compacted,
            resources: HashMap::new(),
        };
        Self {
            state: RwLock::new(state),
        }
    }

    /// Puts an object that was stored before the history starts.
    pub(super) fn restore(&mut self, key: Key, object: Arc<Object>) {
        let state = self.state.get_mut();
        state.revision = state.revision.max(object.revision);
        let resource = state.resource(&key.resource);
        resource.objects.insert((key.namespace, key.name), object);
    }

    /// Shows committed changes, in the order of their revisions.
    pub(super) fn apply(&self, entries: Vec<Entry>) {
        let mut state = self.state.write();
        for entry in entries {
            let Entry {
                key,
                change,
                object,
                ..
            } = entry;
            state.revision = object.revision;
            let resource = state.resource(&key.resource);
            let place = (key.namespace, key.name);
            let previous = if change == Change::Deleted {
                resource.objects.remove(&place)
            } else {
                resource.objects.insert(place, Arc::clone(&object))
            };
            let event = Event {
                change,
                object,
                previous,
            };
            resource.remember(event);
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// Everything there is at one moment, and its revision.
    pub(super) fn snapshot(&self) -> (u64, Vec<(Key, Arc<Object>)>) {
        let state = self.state.read();
        let mut all = Vec::new();
        for (resource, content) in &state.resources {
            all.extend(content.objects.iter().map(|((namespace, name), object)| {
                let key = Key {
                    resource: Arc::clone(resource),
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                (key, Arc::clone(object))
            }));
        }
        (state.revision, all)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        let state = self.state.read();
        let place = (key.namespace.clone(), key.name.clone());
        state
            .resources
            .get(&key.resource)?
            .objects
            .get(&place)
            .cloned()
    }

    pub(super) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> Page {
        let state = self.state.read();
        let Some(resource) = state.resources.get(resource) else {
            let (revision, oldest) = (state.revision, state.compacted);
            return Page {
                objects: Vec::new(),
                revision,
                changed: oldest,
                oldest,
            };
        };
        let start = match (after, namespace) {
            (Some((namespace, name)), _) => Bound::Excluded((namespace.into(), name.into())),
            (None, Some(namespace)) => Bound::Included((namespace.into(), String::new())),
            (None, None) => Bound::Unbounded,
        };
        let objects = resource
            .objects
            .range((start, Bound::Unbounded))
            .take_while(|((found, _), _)| namespace.is_none_or(|wanted| wanted == found))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        let changed = *resource.newest.borrow();
        Page {
            objects,
            revision: state.revision,
            changed,
            oldest: resource.floor,
        }
    }

    pub(super) fn watch(memory: &Arc<Self>, resource: &str, from: u64) -> Watch {
        let newest = memory.state.write().resource(resource).newest.subscribe();
        Watch {
            memory: Arc::clone(memory),
            resource: resource.into(),
            position: from,
            newest,
        }
    }
}

/// Follows one resource. It holds no queue: it reads the shared history at its own pace, and
/// expires when that has moved on.
#[derive(Debug)]
pub struct Watch {
    memory: Arc<Memory>,
    resource: Arc<str>,
    position: u64,
    newest: watch::Receiver<u64>,
}

impl Watch {
    /// Everything up to this revision has been returned.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The events since the last call; empty when nothing happened.
    pub fn take(&mut self) -> Result<Vec<Event>, Expired> {
        self.newest.borrow_and_update();
        let state = self.memory.state.read();
        let Some(resource) = state.resources.get(&self.resource) else {
            return Ok(Vec::new());
        };
        if self.position < resource.floor || self.position > state.revision {
            return Err(Expired {
                asked: self.position,
                oldest: resource.floor,
            });
        }
        let start = resource
            .history
            .partition_point(|known| known.object.revision <= self.position);
        self.position = state.revision;
        Ok(resource.history.range(start..).cloned().collect())
    }

    /// Waits until there is something to [`Watch::take`].
    pub async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // The memory is kept alive by `self`, so its senders are too.
            std::future::pending::<()>().await;
        }
    }
}
