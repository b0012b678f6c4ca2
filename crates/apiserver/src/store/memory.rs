//! The readers' side: current objects, and a bounded history per resource for watches.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::disk::Entry;
use super::{Change, Event, Key, Object, Snapshot};

/// Most events remembered per resource. A watcher that falls further behind has to list again.
const HISTORY: usize = 4096;

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

/// Which objects of a resource are listed. The default is all that are there now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span<'a> {
    /// One namespace only.
    pub namespace: Option<&'a str>,
    /// Only from this [place](Object::place) on.
    pub start: &'a str,
    /// Most objects.
    pub limit: Option<usize>,
    /// As they were at this revision.
    pub at: Option<u64>,
}

/// A list and the moment it shows.
#[derive(Debug)]
pub struct Page {
    /// The objects, in the order of their places.
    pub objects: Vec<Arc<Object>>,
    /// Objects beyond the limit.
    pub left: usize,
    /// Revision of the whole store at that moment.
    pub revision: u64,
}

/// Numbers about the objects of one resource.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) resource: Arc<str>,
    pub(crate) objects: usize,
    pub(crate) watchers: usize,
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
    objects: BTreeSet<Placed>,
    history: VecDeque<Event>,
    /// Length of the objects' texts in `history`.
    bytes: usize,
    /// Every event after this revision is in `history`.
    floor: u64,
    newest: watch::Sender<u64>,
}

/// An object under its place.
#[derive(Debug)]
struct Placed(Arc<Object>);

impl Borrow<str> for Placed {
    fn borrow(&self) -> &str {
        self.0.place()
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.place().cmp(other.0.place())
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Placed {}

impl State {
    fn resource(&mut self, name: &str) -> &mut Resource {
        if !self.resources.contains_key(name) {
            let resource = Resource {
                objects: BTreeSet::new(),
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

    /// What was different at an earlier revision: the states of objects then, none for those that
    /// were not there.
    fn past(&self, at: u64) -> Result<BTreeMap<&str, Option<&Arc<Object>>>, Expired> {
        let mut past = BTreeMap::new();
        for event in self.history.range(self.position_after(at)..) {
            let place = event.object.place();
            if past.contains_key(place) {
                continue;
            }
            let before = match (event.change, &event.previous) {
                (Change::Added, _) => None,
                (_, Some(previous)) => Some(previous),
                // The history begins with the end of an object, or in the middle of its life.
                (_, None) => {
                    return Err(Expired {
                        asked: at,
                        oldest: event.object.revision,
                    });
                }
            };
            past.insert(place, before);
        }
        Ok(past)
    }

    /// Where in the history the events after a revision begin.
    fn position_after(&self, revision: u64) -> usize {
        self.history
            .partition_point(|event| event.object.revision <= revision)
    }

    fn present<'a>(
        &'a self,
        start: &str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let range = (Bound::Included(start.max(prefix)), Bound::Unbounded);
        let objects = self.objects.range::<str, _>(range).map(|placed| &placed.0);
        objects.take_while(move |object| object.place().starts_with(prefix))
    }

    fn page(&self, span: &Span<'_>, now: u64) -> Result<Page, Expired> {
        let prefix = prefix(span.namespace);
        let mut objects: Vec<_> = self.present(span.start, &prefix).collect();
        if let Some(at) = span.at.filter(|at| *at < now) {
            let past = self.past(at)?;
            objects.retain(|object| !past.contains_key(object.place()));
            let undone = past.into_values().flatten();
            objects.extend(undone.filter(|object| {
                object.place() >= span.start && object.place().starts_with(&prefix)
            }));
            objects.sort_by_key(|object| object.place());
        }
        let taken = span.limit.unwrap_or(usize::MAX).min(objects.len());
        Ok(Page {
            objects: objects[..taken].iter().copied().cloned().collect(),
            left: objects.len() - taken,
            revision: span.at.unwrap_or(now),
        })
    }
}

/// How the places of a namespace begin, or of all.
fn prefix(namespace: Option<&str>) -> String {
    namespace
        .map(|namespace| super::place(namespace, ""))
        .unwrap_or_default()
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
    pub(super) fn restore(&mut self, resource: &str, object: Arc<Object>) {
        let state = self.state.get_mut();
        state.revision = state.revision.max(object.revision);
        state.resource(resource).objects.insert(Placed(object));
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
            let previous = match change {
                Change::Deleted => resource.objects.take(object.place()),
                _ => resource.objects.replace(Placed(Arc::clone(&object))),
            };
            let previous = previous.map(|placed| placed.0);
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
    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state.read();
        let mut all = Vec::new();
        for (resource, content) in &state.resources {
            all.extend(content.objects.iter().map(|Placed(object)| {
                let key = Key {
                    resource: Arc::clone(resource),
                    namespace: object.namespace().into(),
                    name: object.name().into(),
                };
                (key, Arc::clone(object))
            }));
        }
        (state.revision, all)
    }

    pub(super) fn counts(&self) -> Vec<Counts> {
        let state = self.state.read();
        let counts = state.resources.iter().map(|(name, resource)| Counts {
            resource: Arc::clone(name),
            objects: resource.objects.len(),
            watchers: resource.newest.receiver_count(),
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by(|a, b| a.resource.cmp(&b.resource));
        counts
    }

    pub(super) fn changed(&self, resource: &str) -> u64 {
        let state = self.state.read();
        state
            .resources
            .get(resource)
            .map_or(0, |resource| *resource.newest.borrow())
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        let place = key.place();
        let state = self.state.read();
        let resource = state.resources.get(&key.resource)?;
        let placed = resource.objects.get(place.as_str())?;
        Some(Arc::clone(&placed.0))
    }

    pub(super) fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let prefix = prefix(namespace);
        let state = self.state.read();
        let resource = state.resources.get(resource);
        let objects = resource.map(|resource| resource.present("", &prefix).cloned().collect());
        objects.unwrap_or_default()
    }

    pub(super) fn page(&self, resource: &str, span: &Span<'_>) -> Result<Page, Expired> {
        let state = self.state.read();
        let (now, resource) = (state.revision, state.resources.get(resource));
        let oldest = resource.map_or(state.compacted, |resource| resource.floor);
        if let Some(asked) = span.at.filter(|at| *at < oldest || *at > now) {
            return Err(Expired { asked, oldest });
        }
        match resource {
            Some(resource) => resource.page(span, now),
            None => Ok(Page {
                objects: Vec::new(),
                left: 0,
                revision: span.at.unwrap_or(now),
            }),
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
        let missed = resource.position_after(self.position)..;
        self.position = state.revision;
        Ok(resource.history.range(missed).cloned().collect())
    }

    /// Waits until there is something to [`Watch::take`].
    pub async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // The memory is kept alive by `self`, so its senders are too.
            std::future::pending::<()>().await;
        }
    }
}
