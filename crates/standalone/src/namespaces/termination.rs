//! One round of emptying a namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::content::{self, Left};
use crate::objects::claims;
use crate::resources::Resources;
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Doing as _, Next};

/// What is left is looked at again after this long even if nothing seems to happen: a definition may
/// have come or gone.
const ROUND: Duration = Duration::from_secs(15);

/// Empties a namespace; releases it when it is empty, otherwise says what is left and waits for that.
pub(super) async fn step(
    client: &Client,
    resources: &Resources,
    namespace: &Namespace,
) -> Result<Next, ApiError> {
    let name = claims::name(namespace);
    let left = match content::delete(client, name, &resources.current().await).await {
        Ok(left) => left,
        Err(error) => {
            report(client, namespace, Outcome::Failed(chain(&error))).await?;
            return Err(error);
        }
    };
    if left.is_empty() {
        finalize(client, namespace).await?;
        return Ok(Next::OnChange);
    }
    report(client, namespace, Outcome::Left(&left)).await?;
    let gone = left
        .iter()
        .map(|left| content::vanished(client, name, &left.resource));
    // Running out of time is one of the two ways to go on.
    let _ = tokio::time::timeout(ROUND, join_all(gone)).await;
    Ok(Next::After(Duration::ZERO))
}

/// Takes off what keeps an empty namespace.
async fn finalize(client: &Client, namespace: &Namespace) -> Result<(), ApiError> {
    let name = claims::name(namespace);
    let mut released = namespace.clone();
    released.metadata.resource_version = None;
    if let Some(spec) = &mut released.spec {
        spec.finalizers = None;
    }
    let api: Api<Namespace> = Api::all(client.clone());
    let params = PostParams::default();
    let replaced = api
        .replace_subresource("finalize", name, &params, &released)
        .await;
    replaced.doing("finalize namespace", name).or_gone()
}

/// Says in the namespace's conditions what is left.
async fn report(
    client: &Client,
    namespace: &Namespace,
    outcome: Outcome<'_>,
) -> Result<(), ApiError> {
    let old = namespace
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let old = old.unwrap_or_default();
    let new = conditions(&old, &outcome, Timestamp::now());
    if new == old {
        return Ok(());
    }
    let name = claims::name(namespace);
    let change = json!({"metadata": {"uid": namespace.metadata.uid},
        "status": {"conditions": new}});
    let api: Api<Namespace> = Api::all(client.clone());
    let patched = api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(change))
        .await;
    patched
        .doing("update the status of namespace", name)
        .or_gone()
}

/// What came of a round.
enum Outcome<'a> {
    Left(&'a [Left]),
    /// Something could not be deleted or listed.
    Failed(String),
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

fn conditions(
    old: &[NamespaceCondition],
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let text = str::to_owned;
    let discovery = text("All resources successfully discovered");
    let parsing = text("All legacy kube types successfully parsed");
    let deletion = match outcome {
        Outcome::Left(_) => {
            let message = "All content successfully deleted, may be waiting on finalization";
            ("False", "ContentDeleted", text(message))
        }
        Outcome::Failed(error) => {
            let message = format!("Failed to delete all resource types, 1 remaining: {error}");
            ("True", "ContentDeletionFailed", message)
        }
    };
    let mut states = vec![
        (
            "NamespaceDeletionDiscoveryFailure",
            ("False", "ResourcesDiscovered", discovery),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ("False", "ParsedGroupVersions", parsing),
        ),
        ("NamespaceDeletionContentFailure", deletion),
    ];
    if let Outcome::Left(left) = outcome {
        let (content, finalizers) = remaining(left);
        states.push(("NamespaceContentRemaining", content));
        states.push(("NamespaceFinalizersRemaining", finalizers));
    }
    let condition = |(type_, state)| condition(old, type_, state, now);
    states.into_iter().map(condition).collect()
}

/// Status, reason and message of a condition.
type State = (&'static str, &'static str, String);

fn remaining(left: &[Left]) -> (State, State) {
    let mut resources: Vec<_> = left
        .iter()
        .map(|left| {
            let resource = left.resource.group_resource();
            let dotted = if resource.contains('.') { "" } else { "." };
            format!("{resource}{dotted} has {} resource instances", left.objects)
        })
        .collect();
    resources.sort();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, objects) in left.iter().flat_map(|left| &left.finalizers) {
        *held.entry(finalizer).or_default() += objects;
    }
    let finalizers: Vec<_> = held
        .iter()
        .map(|(finalizer, objects)| format!("{finalizer} in {objects} resource instances"))
        .collect();
    let content = format!("Some resources are remaining: {}", resources.join(", "));
    let finalizers = if finalizers.is_empty() {
        let message = "All content-preserving finalizers finished".to_owned();
        ("False", "ContentHasNoFinalizers", message)
    } else {
        let list = finalizers.join(", ");
        let message = format!("Some content in the namespace has finalizers remaining: {list}");
        ("True", "SomeFinalizersRemain", message)
    };
    (("True", "SomeResourcesRemain", content), finalizers)
}

/// A condition whose time is that of its last change of status.
fn condition(
    old: &[NamespaceCondition],
    type_: &str,
    (status, reason, message): State,
    now: Timestamp,
) -> NamespaceCondition {
    let before = old.iter().find(|c| c.type_ == type_ && c.status == status);
    let since = before.and_then(|condition| condition.last_transition_time.clone());
    NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Served;
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::ApiResource;
    use std::sync::Arc;

    #[test]
    fn conditions_name_what_is_left_and_keep_their_time() {
        let pods = Served {
            api: ApiResource::erase::<Pod>(&()),
            namespaced: true,
        };
        let left = [Left {
            resource: Arc::new(pods),
            objects: 2,
            finalizers: [("example.com/hold".to_owned(), 1)].into(),
        }];
        let left = Outcome::Left(&left);
        let first = conditions(&[], &left, "2026-01-01T00:00:00Z".parse().unwrap());
        let messages: Vec<_> = first.iter().filter_map(|c| c.message.as_deref()).collect();
        assert_eq!(
            messages,
            [
                "All resources successfully discovered",
                "All legacy kube types successfully parsed",
                "All content successfully deleted, may be waiting on finalization",
                "Some resources are remaining: pods. has 2 resource instances",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 \
                 resource instances",
            ]
        );
        assert_eq!(conditions(&first, &left, Timestamp::now()), first);
    }
}
