//! The reconciler of claims that are filled from a VolumeImportSource.

use std::sync::Arc;

use api::{VolumeImportSource, names};
use futures::FutureExt;
use k8s_openapi::api::{
    core::v1::{Event, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{
        Controller,
        controller::Action,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde_json::json;

use super::{Context, drive, ignore_existing, ignore_missing, retry};
use crate::plan::populator::{Observed, Plan, Step, is_import_target, plan};

/// Runs it for as long as it is polled.
pub async fn run(context: Arc<Context>) {
    let client = &context.client;
    let any = watcher::Config::default;
    let warnings = any().fields("type=Warning");
    let controller = Controller::new(Api::<PersistentVolumeClaim>::all(client.clone()), any());
    let (by_source, by_class, by_event) =
        (controller.store(), controller.store(), controller.store());
    let stream = controller
        .owns(Api::<PersistentVolumeClaim>::all(client.clone()), any())
        .watches(
            Api::<VolumeImportSource>::all(client.clone()),
            any(),
            move |source| targets(&by_source, |claim| names_source(claim, &source)),
        )
        .watches(
            Api::<StorageClass>::all(client.clone()),
            any(),
            move |class| {
                let name = class.name_any();
                targets(&by_class, |claim| class_name(claim) == Some(&name))
            },
        )
        .watches(Api::<Event>::all(client.clone()), warnings, move |event| {
            let about = event.involved_object.name.unwrap_or_default();
            targets(&by_event, |claim| {
                claim
                    .metadata
                    .uid
                    .as_deref()
                    .map(names::prime_claim)
                    .as_deref()
                    == Some(&about)
            })
        })
        .run(
            |object, context| reconcile(object, context).boxed(),
            retry,
            context.clone(),
        );
    drive(stream).await;
}

/// The claims that are filled from an import source and fulfil the condition.
fn targets(
    claims: &Store<PersistentVolumeClaim>,
    condition: impl Fn(&PersistentVolumeClaim) -> bool,
) -> Vec<ObjectRef<PersistentVolumeClaim>> {
    let claims = claims.state().into_iter();
    let wanted = claims.filter(|claim| is_import_target(claim) && condition(claim));
    wanted.map(|claim| ObjectRef::from_obj(&*claim)).collect()
}

fn names_source(claim: &PersistentVolumeClaim, source: &VolumeImportSource) -> bool {
    let reference = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.data_source_ref.as_ref());
    claim.namespace() == source.namespace()
        && reference.is_some_and(|reference| reference.name == source.name_any())
}

fn class_name(claim: &PersistentVolumeClaim) -> Option<&String> {
    claim
        .spec
        .as_ref()?
        .storage_class_name
        .as_ref()
        .filter(|name| !name.is_empty())
}

async fn reconcile(
    target: Arc<PersistentVolumeClaim>,
    context: Arc<Context>,
) -> Result<Action, kube::Error> {
    if !is_import_target(&target) {
        return Ok(Action::await_change());
    }
    let namespace = target.namespace().unwrap_or_default();
    let claims: Api<PersistentVolumeClaim> = context.api(&namespace);
    let prime_name = names::prime_claim(&target.uid().unwrap_or_default());
    let prime = claims.get_opt(&prime_name).await?;
    let reference = target
        .spec
        .as_ref()
        .and_then(|spec| spec.data_source_ref.as_ref());
    let source = match (&prime, reference) {
        (None, Some(reference)) => {
            context
                .api::<VolumeImportSource>(&namespace)
                .get_opt(&reference.name)
                .await?
        }
        _ => None,
    };
    let class = match (&prime, class_name(&target)) {
        (None, Some(name)) => {
            Api::<StorageClass>::all(context.client.clone())
                .get_opt(name)
                .await?
        }
        _ => None,
    };
    let volume = match volume_name(prime.as_ref()) {
        Some(name) => {
            Api::<PersistentVolume>::all(context.client.clone())
                .get_opt(name)
                .await?
        }
        None => None,
    };
    let obstacle = match &prime {
        Some(prime) if volume.is_none() => obstacle(&context, &namespace, prime).await?,
        _ => None,
    };
    let plan = plan(Observed {
        target: &target,
        source: source.as_ref(),
        class: class.as_ref(),
        prime: prime.as_ref(),
        volume: volume.as_ref(),
        obstacle: obstacle
            .as_ref()
            .map(|(reason, message)| (reason.as_str(), message.as_str())),
    });
    carry_out(&context, &target, plan, prime.as_ref()).await?;
    Ok(Action::await_change())
}

fn volume_name(prime: Option<&PersistentVolumeClaim>) -> Option<&str> {
    prime?.spec.as_ref()?.volume_name.as_deref()
}

/// Reason and message of the newest warning about the prime claim.
async fn obstacle(
    context: &Context,
    namespace: &str,
    prime: &PersistentVolumeClaim,
) -> Result<Option<(String, String)>, kube::Error> {
    let uid = prime.uid().unwrap_or_default();
    let selector = format!("involvedObject.uid={uid},type=Warning");
    let about = ListParams::default().fields(&selector);
    let events = context.api::<Event>(namespace).list(&about).await?.items;
    let newest = events.into_iter().max_by_key(|event| {
        let seen = event.last_timestamp.clone().map(|time| time.0);
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.clone());
        seen.max(series.map(|time| time.0))
            .max(event.event_time.clone().map(|time| time.0))
    });
    Ok(newest.map(|event| {
        (
            event.reason.unwrap_or_default(),
            event.message.unwrap_or_default(),
        )
    }))
}

async fn carry_out(
    context: &Context,
    target: &PersistentVolumeClaim,
    plan: Plan,
    prime: Option<&PersistentVolumeClaim>,
) -> Result<(), kube::Error> {
    let claims: Api<PersistentVolumeClaim> = context.api(&target.namespace().unwrap_or_default());
    context.annotate(target, plan.annotations).await?;
    match plan.step {
        Step::None => {}
        Step::CreatePrime(prime) => {
            ignore_existing(claims.create(&PostParams::default(), &prime).await)?;
        }
        Step::Rebind { volume, claim } => {
            let volumes = Api::<PersistentVolume>::all(context.client.clone());
            let patch = json!({ "spec": { "claimRef": claim } });
            volumes
                .patch(&volume, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        Step::DeletePrime => {
            if let Some(prime) = prime {
                let only = Preconditions {
                    uid: prime.uid(),
                    resource_version: None,
                };
                let delete = DeleteParams::default().preconditions(only);
                ignore_missing(claims.delete(&prime.name_any(), &delete).await)?;
            }
        }
    }
    context.tell(target, &plan.notices).await;
    Ok(())
}
