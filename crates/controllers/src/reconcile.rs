//! Reconcilers: watches → plan → API writes and events.

pub mod data_volume;
pub mod importer;
pub mod populator;
mod progress;

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        controller::{Action, Error as ControllerError},
        events::{Event, EventType, Recorder, Reporter},
        reflector::ObjectRef,
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    Config,
    plan::{Annotations, Notice},
};

/// How long after a failure it is tried again. It does not grow: what can fail here is the API
/// server, and a person who has mended the cause should not wait.
const RETRY: Duration = Duration::from_secs(2);

/// What all reconcilers share.
pub struct Context {
    client: Client,
    config: Config,
    recorder: Recorder,
    progress: progress::Reader,
}

impl Context {
    /// For reconcilers that act through `client`.
    pub fn new(client: Client, config: Config) -> Arc<Self> {
        let reporter = Reporter {
            controller: "longshore".to_owned(),
            instance: None,
        };
        let recorder = Recorder::new(client.clone(), reporter);
        Arc::new(Self {
            client,
            config,
            recorder,
            progress: progress::Reader::new(),
        })
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Writes annotations, if there are any to write.
    async fn annotate<K>(&self, object: &K, annotations: Annotations) -> Result<(), kube::Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        if annotations.is_empty() {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            // Not onto an object of the same name that has come in its place.
            "uid": object.meta().uid,
            "annotations": annotations,
        } });
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        api.patch(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
        Ok(())
    }

    /// Tells those who look at the object. A notice that cannot be told is logged, and never
    /// holds up the work.
    async fn tell<K>(&self, object: &K, notices: &[Notice])
    where
        K: Resource<DynamicType = ()>,
    {
        let reference: ObjectReference = object.object_ref(&());
        for notice in notices {
            let event = Event {
                type_: if notice.warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: notice.reason.clone(),
                note: Some(notice.message.clone()),
                action: notice.reason.clone(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                tracing::warn!(%error, reason = notice.reason, "failed to record an event");
            }
        }
    }
}

/// An object that is gone is as good as one that was deleted.
fn ignore_missing<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// An object that exists is as good as one that was created.
fn ignore_existing<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        other => other.map(drop),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is the controller's"
)]
fn retry<K: Resource<DynamicType = ()>>(
    object: Arc<K>,
    error: &kube::Error,
    _: Arc<Context>,
) -> Action {
    let name = object.name_any();
    // Somebody else was faster: what they wrote is on its way here, and is looked at again.
    if matches!(error, kube::Error::Api(status) if status.code == 409) {
        tracing::debug!(kind = %K::kind(&()), name, %error, "conflict");
    } else {
        tracing::warn!(kind = %K::kind(&()), name, %error, "failed to reconcile");
    }
    Action::requeue(RETRY)
}

/// Runs a controller's stream to its end, which is the end of the process.
async fn drive<K, S>(stream: S)
where
    K: Resource<DynamicType = ()>,
    S: Stream<
        Item = Result<
            (ObjectRef<K>, Action),
            ControllerError<kube::Error, kube::runtime::watcher::Error>,
        >,
    >,
{
    stream
        .for_each(|result| async move {
            match result {
                Ok(_)
                | Err(ControllerError::ReconcilerFailed(..) | ControllerError::ObjectNotFound(_)) =>
                    {}
                Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted"),
            }
        })
        .await;
}
