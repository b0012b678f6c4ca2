//! All objects of one kind, in memory, kept fresh by a watch and shared by every controller.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt as _};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Names one object of a known kind. Cluster-scoped objects have an empty namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectKey {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What a subscriber learns. Either kind means: look again.
#[derive(Debug, Clone)]
pub(crate) enum Change<K> {
    /// The object is new or changed.
    Applied(Arc<K>),
    /// The object is gone; this was its last known state.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    pub(crate) fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied(object) | Self::Deleted(object) => object,
        }
    }
}

/// The cache of one kind; clones share it.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    state: Arc<Mutex<State<K>>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug)]
struct State<K> {
    objects: HashMap<ObjectKey, Arc<K>>,
    /// The newest revision that the watch has told of.
    watched: u64,
    subscribers: Vec<mpsc::UnboundedSender<Change<K>>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            ready: self.ready.clone(),
        }
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let state = State {
            objects: HashMap::new(),
            watched: 0,
            subscribers: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            ready: watch::Sender::new(false),
        }
    }
}

impl<K> Cache<K>
where
    K: Resource + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.state.lock().objects.get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.state.lock().objects.values().cloned().collect()
    }

    /// Returns once the first listing is in.
    pub(crate) async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Every object there is, then every change.
    pub(crate) fn changes(&self) -> impl Stream<Item = Change<K>> + Send + use<K> {
        let (sender, receiver) = mpsc::unbounded();
        let mut state = self.state.lock();
        for object in state.objects.values() {
            // The receiver is still in scope.
            let _ = sender.unbounded_send(Change::Applied(object.clone()));
        }
        state.subscribers.push(sender);
        receiver
    }

    /// Notes the answer to a write of ours, so that the next decision does not wait for the watch.
    pub(crate) fn record(&self, object: K) {
        let mut state = self.state.lock();
        // The watch was there before the answer: what it left absent has been deleted since.
        let is_overtaken = revision(&object) <= state.watched;
        if is_overtaken && !state.objects.contains_key(&ObjectKey::of(&object)) {
            return;
        }
        state.apply(object);
    }

    /// Follows the watch of all objects for ever.
    pub(crate) async fn follow(self, api: Api<K>) {
        self.follow_with(api, watcher::Config::default()).await;
    }

    /// Follows the watch of some objects for ever.
    pub(crate) async fn follow_with(self, api: Api<K>, config: watcher::Config) {
        let events = watcher::watcher(api, config).default_backoff();
        futures::pin_mut!(events);
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(ObjectKey::of(&object));
                    self.apply(object);
                }
                Ok(Event::InitDone) => {
                    self.retain(&listed);
                    self.ready.send_replace(true);
                }
                Ok(Event::Apply(object)) => self.apply(object),
                Ok(Event::Delete(object)) => self.remove(&object),
                Err(error) => tracing::debug!(%error, "watch interrupted"),
            }
        }
    }

    fn apply(&self, object: K) {
        let mut state = self.state.lock();
        state.watched = state.watched.max(revision(&object));
        state.apply(object);
    }

    fn remove(&self, object: &K) {
        let mut state = self.state.lock();
        state.watched = state.watched.max(revision(object));
        let key = ObjectKey::of(object);
        let recreated = |known: &Arc<K>| known.meta().uid != object.meta().uid;
        if state.objects.get(&key).is_some_and(recreated) {
            return;
        }
        if let Some(last) = state.objects.remove(&key) {
            state.publish(&Change::Deleted(last));
        }
    }

    fn retain(&self, listed: &HashSet<ObjectKey>) {
        let mut state = self.state.lock();
        let gone: Vec<_> = state
            .objects
            .keys()
            .filter(|key| !listed.contains(key))
            .cloned()
            .collect();
        for key in gone {
            if let Some(last) = state.objects.remove(&key) {
                state.publish(&Change::Deleted(last));
            }
        }
    }
}

impl<K: Resource + Clone> State<K> {
    fn apply(&mut self, mut object: K) {
        object.managed_fields_mut().clear();
        let key = ObjectKey::of(&object);
        let known = self.objects.get(&key);
        if known.is_some_and(|known| revision(&**known) >= revision(&object)) {
            return;
        }
        let object = Arc::new(object);
        self.objects.insert(key, object.clone());
        self.publish(&Change::Applied(object));
    }

    fn publish(&mut self, change: &Change<K>) {
        self.subscribers
            .retain(|subscriber| subscriber.unbounded_send(change.clone()).is_ok());
    }
}

/// Resource versions are counters here, so the newer of two states is known.
fn revision<K: Resource>(object: &K) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn config_map(name: &str, uid: &str, revision: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("ns".into()),
                uid: Some(uid.into()),
                resource_version: Some(revision.into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = Cache::default();
        cache.record(config_map("a", "1", "12"));
        cache.apply(config_map("a", "1", "9"));
        let key = ObjectKey::new("ns", "a");
        assert_eq!(
            cache.get(&key).unwrap().resource_version().as_deref(),
            Some("12")
        );
    }

    #[test]
    fn a_late_answer_never_brings_back_what_the_watch_saw_deleted() {
        let cache = Cache::default();
        cache.apply(config_map("a", "1", "12"));
        cache.remove(&config_map("a", "1", "13"));
        cache.record(config_map("a", "1", "12"));
        let key = ObjectKey::new("ns", "a");
        assert!(cache.get(&key).is_none());
        cache.record(config_map("a", "2", "14"));
        assert!(cache.get(&key).is_some());
    }

    #[test]
    fn the_deletion_of_a_predecessor_leaves_the_successor() {
        let cache = Cache::default();
        cache.apply(config_map("a", "2", "12"));
        cache.remove(&config_map("a", "1", "11"));
        assert!(cache.get(&ObjectKey::new("ns", "a")).is_some());
        cache.remove(&config_map("a", "2", "13"));
        assert!(cache.get(&ObjectKey::new("ns", "a")).is_none());
    }

    #[test]
    fn a_subscriber_sees_what_is_there_and_what_vanished_while_the_watch_was_down() {
        let cache = Cache::default();
        cache.apply(config_map("a", "1", "1"));
        let mut changes = Box::pin(cache.changes());
        cache.retain(&HashSet::new());
        let seen = |change| matches!(change, Some(Change::Applied(_)));
        assert!(seen(futures::executor::block_on(changes.next())));
        assert!(!seen(futures::executor::block_on(changes.next())));
    }
}
