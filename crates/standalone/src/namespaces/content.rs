//! Everything in a namespace, of whatever kind.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use kube::Client;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};

use crate::objects::claims;
use crate::resources::{Metadata, Served};
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Doing as _};

/// What is left of one resource.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) resource: Arc<Served>,
    pub(super) objects: usize,
    /// How many of the objects each finalizer holds.
    pub(super) finalizers: BTreeMap<String, usize>,
}

/// Asks for the deletion of everything, and tells what is still there after that.
pub(super) async fn delete(
    client: &Client,
    namespace: &str,
    resources: &[Arc<Served>],
) -> Result<Vec<Left>, ApiError> {
    let mut all_left = Vec::new();
    for resource in resources.iter().filter(|resource| resource.namespaced) {
        let mut objects = list(client, namespace, resource).await?;
        let mut asked = false;
        for object in objects
            .iter()
            .filter(|object| !claims::is_deleting(*object))
        {
            delete_one(client, namespace, resource, object).await?;
            asked = true;
        }
        if asked {
            objects = list(client, namespace, resource).await?;
        }
        if !objects.is_empty() {
            all_left.push(left(resource, &objects));
        }
    }
    Ok(all_left)
}

async fn list(
    client: &Client,
    namespace: &str,
    resource: &Served,
) -> Result<Vec<Metadata>, ApiError> {
    let api = resource.metadata(client.clone(), namespace);
    match api
        .list(&ListParams::default())
        .await
        .doing("list", resource.group_resource())
    {
        Ok(objects) => Ok(objects.items),
        // Its definition went away.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn delete_one(
    client: &Client,
    namespace: &str,
    resource: &Served,
    object: &Metadata,
) -> Result<(), ApiError> {
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: object.metadata.uid.clone(),
        resource_version: None,
    });
    let name = claims::name(object);
    let deleted = resource
        .metadata(client.clone(), namespace)
        .delete(name, &params)
        .await;
    deleted
        .doing(
            "delete",
            format!("{} {namespace}/{name}", resource.group_resource()),
        )
        .or_gone()
}

fn left(resource: &Arc<Served>, objects: &[Metadata]) -> Left {
    let mut finalizers = BTreeMap::new();
    for finalizer in objects
        .iter()
        .flat_map(|object| object.metadata.finalizers.iter().flatten())
    {
        *finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    Left {
        resource: resource.clone(),
        objects: objects.len(),
        finalizers,
    }
}

/// Returns once a namespace holds no object of a resource.
pub(super) async fn vanished(client: &Client, namespace: &str, resource: &Served) {
    let api = resource.metadata(client.clone(), namespace);
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut present = HashSet::new();
    while let Some(event) = events.next().await {
        let is_complete = match event {
            Ok(Event::Init) => {
                present.clear();
                false
            }
            Ok(Event::InitApply(object)) => {
                present.insert(object.metadata.uid);
                false
            }
            Ok(Event::Apply(object)) => {
                present.insert(object.metadata.uid);
                true
            }
            Ok(Event::Delete(object)) => {
                present.remove(&object.metadata.uid);
                true
            }
            Ok(Event::InitDone) => true,
            Err(_) => false,
        };
        if is_complete && present.is_empty() {
            return;
        }
    }
}
