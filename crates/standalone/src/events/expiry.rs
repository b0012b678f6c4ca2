//! Events live for an hour after they last happened.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event as WatchEvent};
use kube::{Api, Client};

use crate::runtime::ObjectKey;
use crate::runtime::error::status_code;

const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// Pause after a deletion that failed.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// Deletes events that are an hour old, for ever.
pub(crate) async fn expire(client: Client) {
    let events = watcher::watcher(
        Api::<Event>::all(client.clone()),
        watcher::Config::default(),
    );
    let events = events.default_backoff();
    futures::pin_mut!(events);
    let mut deadlines = Deadlines::default();
    loop {
        let due = deadlines.next();
        tokio::select! {
            change = events.next() => match change {
                Some(Ok(change)) => deadlines.note(&change),
                Some(Err(error)) => tracing::debug!(%error, "watch of events interrupted"),
                None => return,
            },
            () = sleep_until(due), if due.is_some() => {
                for (key, revision) in deadlines.take_due(Timestamp::now()) {
                    if !delete(&client, &key, &revision).await {
                        deadlines.set(key, revision, Timestamp::now() + RETRY);
                    }
                }
            }
        }
    }
}

async fn sleep_until(due: Option<Timestamp>) {
    let remaining = due.map(|due| due.duration_since(Timestamp::now()));
    let remaining = remaining
        .and_then(|left| Duration::try_from(left).ok())
        .unwrap_or_default();
    tokio::time::sleep(remaining).await;
}

/// Whether the event needs no further attempt. One that was repeated meanwhile stays.
async fn delete(client: &Client, key: &ObjectKey, revision: &str) -> bool {
    let params = DeleteParams::default().preconditions(Preconditions {
        resource_version: Some(revision.to_owned()),
        uid: None,
    });
    let events: Api<Event> = Api::namespaced(client.clone(), &key.namespace);
    match events.delete(&key.name, &params).await {
        Ok(_) => true,
        Err(error) => matches!(status_code(&error), Some(404 | 409)),
    }
}

/// When each event is to go.
#[derive(Debug, Default)]
struct Deadlines {
    of: HashMap<ObjectKey, (Timestamp, String)>,
    order: BTreeSet<(Timestamp, ObjectKey)>,
}

impl Deadlines {
    fn note(&mut self, change: &WatchEvent<Event>) {
        match change {
            WatchEvent::Apply(event) | WatchEvent::InitApply(event) => {
                let revision = event.metadata.resource_version.clone().unwrap_or_default();
                self.set(ObjectKey::of(event), revision, last_seen(event) + LIFETIME);
            }
            WatchEvent::Delete(event) => self.forget(&ObjectKey::of(event)),
            WatchEvent::Init | WatchEvent::InitDone => {}
        }
    }

    fn set(&mut self, key: ObjectKey, revision: String, due: Timestamp) {
        self.forget(&key);
        self.order.insert((due, key.clone()));
        self.of.insert(key, (due, revision));
    }

    fn forget(&mut self, key: &ObjectKey) {
        if let Some((due, _)) = self.of.remove(key) {
            self.order.remove(&(due, key.clone()));
        }
    }

    fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(due, _)| *due)
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<(ObjectKey, String)> {
        let mut taken = Vec::new();
        while self.next().is_some_and(|due| due <= now)
            && let Some((_, key)) = self.order.pop_first()
            && let Some((_, revision)) = self.of.remove(&key)
        {
            taken.push((key, revision));
        }
        taken
    }
}

/// The last time that an event happened, by whichever API version wrote it.
fn last_seen(event: &Event) -> Timestamp {
    let series = event
        .series
        .as_ref()
        .and_then(|s| s.last_observed_time.as_ref())
        .map(|t| t.0);
    let times = [
        series,
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
    ];
    times
        .into_iter()
        .flatten()
        .max()
        .unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    fn event(name: &str, revision: &str, last: &str) -> WatchEvent<Event> {
        WatchEvent::Apply(Event {
            metadata: ObjectMeta {
                name: Some(name.into()),
                resource_version: Some(revision.into()),
                ..ObjectMeta::default()
            },
            last_timestamp: Some(Time(last.parse().unwrap())),
            ..Event::default()
        })
    }

    #[test]
    fn a_repeated_event_lives_on() {
        let mut deadlines = Deadlines::default();
        deadlines.note(&event("a", "1", "2026-01-01T00:00:00Z"));
        deadlines.note(&event("b", "2", "2026-01-01T00:10:00Z"));
        deadlines.note(&event("a", "3", "2026-01-01T00:30:00Z"));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(deadlines.next(), Some(at("2026-01-01T01:10:00Z")));
        let due = deadlines.take_due(at("2026-01-01T01:29:59Z"));
        assert_eq!(due, [(ObjectKey::cluster("b"), "2".to_owned())]);
        assert_eq!(deadlines.next(), Some(at("2026-01-01T01:30:00Z")));
    }
}
