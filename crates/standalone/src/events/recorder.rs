//! The side of events that controllers hold.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EventSource, ObjectReference};
use kube::Resource;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Announcements remembered; past this many, all are forgotten and may be made once more.
const REMEMBERED: usize = 4096;

/// Whether an event is bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Things go their way.
    Normal,
    /// Someone may have to act.
    Warning,
}

impl Severity {
    /// The value of an Event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(super) struct Occurrence {
    pub(super) source: EventSource,
    pub(super) about: ObjectReference,
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) at: Timestamp,
}

/// Reports events in the name of one component; clones are cheap.
///
/// Recording never waits and never fails: when the writer falls far behind, events are dropped, as
/// they are hints to people and not state.
#[derive(Debug, Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
    source: EventSource,
    announced: Arc<Mutex<HashMap<String, String>>>,
}

impl Recorder {
    pub(super) fn new(sender: mpsc::Sender<Occurrence>) -> Self {
        Self {
            sender,
            source: EventSource::default(),
            announced: Arc::default(),
        }
    }

    /// A recorder for another component, such as `default-scheduler`; `host` names the node that it
    /// runs on, if it belongs to one. Announcements are remembered per component.
    #[must_use]
    pub fn for_component(&self, component: &str, host: Option<&str>) -> Self {
        Self {
            sender: self.sender.clone(),
            source: EventSource {
                component: Some(component.to_owned()),
                host: host.map(str::to_owned),
            },
            announced: Arc::default(),
        }
    }

    /// Reports good or neutral news about an object.
    pub fn normal<K>(&self, object: &K, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(reference(object), Severity::Normal, reason, message);
    }

    /// Reports bad news about an object.
    pub fn warning<K>(&self, object: &K, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(reference(object), Severity::Warning, reason, message);
    }

    /// Reports a state of an object: not again until another state was announced for the same object.
    pub fn announce<K>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let message = message.into();
        let about = reference(object);
        let key = about.uid.clone().unwrap_or_default();
        let said = format!("{reason}: {message}");
        {
            let mut announced = self.announced.lock();
            if announced.len() >= REMEMBERED {
                announced.clear();
            }
            if announced.insert(key, said.clone()).as_ref() == Some(&said) {
                return;
            }
        }
        self.publish(about, severity, reason, message);
    }

    /// Reports an event about any object, or about a part of one (`fieldPath`).
    pub fn publish(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            source: self.source.clone(),
            about,
            severity,
            reason: reason.to_owned(),
            message: message.into(),
            at: Timestamp::now(),
        };
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "event dropped: the writer is far behind or gone");
        }
    }
}

/// A reference to an object, as it stands in an Event's `involvedObject`.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}
