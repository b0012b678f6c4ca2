//! The side of events that talks to the API server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use super::recorder::{Occurrence, Recorder};
use crate::runtime::error::status_code;

/// Events in flight to the writer.
const QUEUE: usize = 1024;
/// Written events remembered for aggregation.
const REMEMBERED: usize = 4096;
/// An event that is repeated later than this is written anew.
const AGGREGATION_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// From so many different messages about one thing on, those that follow share an event.
const SIMILAR: usize = 10;
/// How such an event's message begins, which is then the latest of them.
const COMBINED: &str = "(combined from similar events): ";
/// Longest message, in bytes, that the API accepts.
const MAX_MESSAGE: usize = 1024;

/// Writes what recorders report; clones share one queue.
#[derive(Debug, Clone)]
pub struct EventWriter {
    receiver: Arc<Mutex<mpsc::Receiver<Occurrence>>>,
}

/// A recorder without a component name, and the writer that must run for it.
pub fn channel() -> (Recorder, EventWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (
        Recorder::new(sender),
        EventWriter {
            receiver: Arc::new(Mutex::new(receiver)),
        },
    )
}

impl EventWriter {
    /// Writes events until every recorder is gone.
    pub async fn run(self, client: Client) {
        let mut receiver = self.receiver.lock().await;
        let mut written = Written::default();
        while let Some(occurrence) = receiver.recv().await {
            let occurrence = written.combine(occurrence);
            if let Err(error) = write(&client, &mut written, &occurrence).await {
                tracing::debug!(%error, reason = occurrence.reason, "event not written");
            }
        }
    }
}

async fn write(
    client: &Client,
    written: &mut Written,
    occurrence: &Occurrence,
) -> kube::Result<()> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace(&occurrence.about));
    if let Some(repeat) = written.repeat(occurrence) {
        let changes = json!({
            "count": repeat.count,
            "message": shortened(&occurrence.message),
            "lastTimestamp": occurrence.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let patch = Patch::Merge(&changes);
        match events
            .patch(&repeat.name, &PatchParams::default(), &patch)
            .await
        {
            Err(error) if status_code(&error) == Some(404) => {}
            outcome => return outcome.map(drop),
        }
    }
    let event = event_of(occurrence);
    let name = event.metadata.name.clone().unwrap_or_default();
    events.create(&PostParams::default(), &event).await?;
    written.remember(occurrence, name);
    Ok(())
}

/// Events of cluster-scoped objects stand in `default`.
fn namespace(about: &ObjectReference) -> &str {
    about.namespace.as_deref().unwrap_or("default")
}

fn event_of(occurrence: &Occurrence) -> Event {
    let about = &occurrence.about;
    let at = Time(occurrence.at);
    let object = about.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{object}.{:016x}", occurrence.at.as_nanosecond())),
            namespace: Some(namespace(about).to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        reason: Some(occurrence.reason.clone()),
        message: Some(shortened(&occurrence.message).to_owned()),
        type_: Some(occurrence.severity.as_str().to_owned()),
        source: Some(occurrence.source.clone()),
        reporting_component: occurrence.source.component.clone(),
        reporting_instance: occurrence.source.host.clone(),
        count: Some(1),
        first_timestamp: Some(at.clone()),
        last_timestamp: Some(at),
        ..Event::default()
    }
}

fn shortened(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

/// What makes two occurrences the same event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    component: Option<String>,
    uid: Option<String>,
    name: Option<String>,
    field_path: Option<String>,
    severity: &'static str,
    reason: String,
    message: String,
}

#[derive(Debug, Clone)]
struct Repeat {
    name: String,
    count: i32,
    last: Timestamp,
}

/// The events written lately.
#[derive(Debug, Default)]
struct Written {
    events: HashMap<Identity, Repeat>,
    /// The different messages that identities without them had.
    similar: HashMap<Identity, Similar>,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

impl Written {
    /// Marks an occurrence as one of many that differ in their messages only.
    fn combine(&mut self, mut occurrence: Occurrence) -> Occurrence {
        if self.similar.len() >= REMEMBERED {
            self.similar.clear();
        }
        let fresh = |last| Similar {
            messages: HashSet::new(),
            last,
        };
        let similar = self.similar.entry(Identity {
            message: String::new(),
            ..identity(&occurrence)
        });
        let similar = similar.or_insert_with(|| fresh(occurrence.at));
        if occurrence.at.duration_since(similar.last) > AGGREGATION_WINDOW {
            *similar = fresh(occurrence.at);
        }
        similar.last = occurrence.at;
        if similar.messages.len() < SIMILAR {
            similar.messages.insert(occurrence.message.clone());
        }
        if similar.messages.len() >= SIMILAR {
            occurrence.message.insert_str(0, COMBINED);
        }
        occurrence
    }

    /// The event to raise the count of, if this occurrence repeats one.
    fn repeat(&mut self, occurrence: &Occurrence) -> Option<Repeat> {
        let known = self.events.get_mut(&identity(occurrence))?;
        if occurrence.at.duration_since(known.last) > AGGREGATION_WINDOW {
            return None;
        }
        known.count = known.count.saturating_add(1);
        known.last = occurrence.at;
        Some(known.clone())
    }

    fn remember(&mut self, occurrence: &Occurrence, name: String) {
        if self.events.len() >= REMEMBERED {
            let horizon = occurrence.at - AGGREGATION_WINDOW;
            self.events.retain(|_, repeat| repeat.last >= horizon);
        }
        if self.events.len() >= REMEMBERED {
            self.events.clear();
        }
        self.events.insert(
            identity(occurrence),
            Repeat {
                name,
                count: 1,
                last: occurrence.at,
            },
        );
    }
}

fn identity(occurrence: &Occurrence) -> Identity {
    Identity {
        component: occurrence.source.component.clone(),
        uid: occurrence.about.uid.clone(),
        name: occurrence.about.name.clone(),
        field_path: occurrence.about.field_path.clone(),
        severity: occurrence.severity.as_str(),
        reason: occurrence.reason.clone(),
        message: if occurrence.message.starts_with(COMBINED) {
            COMBINED.to_owned()
        } else {
            occurrence.message.clone()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;
    use k8s_openapi::api::core::v1::EventSource;

    fn occurrence(message: &str, at: &str) -> Occurrence {
        Occurrence {
            source: EventSource::default(),
            about: ObjectReference {
                uid: Some("u".into()),
                ..ObjectReference::default()
            },
            severity: Severity::Normal,
            reason: "Why".into(),
            message: message.into(),
            at: at.parse().unwrap(),
        }
    }

    #[test]
    fn a_repetition_is_counted_for_ten_minutes_after_the_last_one() {
        let mut written = Written::default();
        let first = occurrence("a", "2026-01-01T00:00:00Z");
        assert!(written.repeat(&first).is_none());
        written.remember(&first, "x.1".into());
        let second = written
            .repeat(&occurrence("a", "2026-01-01T00:09:00Z"))
            .unwrap();
        assert_eq!((second.name.as_str(), second.count), ("x.1", 2));
        assert_eq!(
            written
                .repeat(&occurrence("a", "2026-01-01T00:18:00Z"))
                .unwrap()
                .count,
            3
        );
        assert!(
            written
                .repeat(&occurrence("a", "2026-01-01T00:29:00Z"))
                .is_none()
        );
        assert!(
            written
                .repeat(&occurrence("b", "2026-01-01T00:18:01Z"))
                .is_none()
        );
    }

    #[test]
    fn many_messages_about_one_thing_share_an_event() {
        let mut written = Written::default();
        let mut combined =
            |number: usize, at: &str| written.combine(occurrence(&format!("m{number}"), at));
        for number in 1..10 {
            assert_eq!(
                combined(number, "2026-01-01T00:00:00Z").message,
                format!("m{number}")
            );
        }
        let tenth = combined(10, "2026-01-01T00:01:00Z");
        assert_eq!(tenth.message, "(combined from similar events): m10");
        let next = combined(11, "2026-01-01T00:02:00Z");
        assert_eq!(identity(&tenth), identity(&next));
        assert_eq!(combined(12, "2026-01-01T01:00:00Z").message, "m12");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "é".repeat(600);
        assert_eq!(shortened(&text).len(), 1024);
        let odd = format!("x{text}");
        assert_eq!(shortened(&odd).len(), 1023);
    }
}
