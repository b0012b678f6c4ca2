//! The reconciler of DataVolumes.

use std::sync::Arc;

use api::{DataVolume, DataVolumePhase, DataVolumeStatus, VolumeImportSource, conditions};
use futures::FutureExt;
use k8s_openapi::{
    api::{
        core::v1::PersistentVolumeClaim,
        storage::v1::{CSIDriver, StorageClass},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};
use serde_json::json;

use super::{Context, drive, ignore_existing, ignore_missing, retry};
use crate::plan::{
    Notice,
    data_volume::{Observed, Plan, Report, Step, claim_refused, plan},
};

/// Runs it for as long as it is polled.
pub async fn run(context: Arc<Context>) {
    let client = &context.client;
    let any = watcher::Config::default;
    let controller = Controller::new(Api::<DataVolume>::all(client.clone()), any());
    let all = controller.store();
    let stream = controller
        // By name, not by owner: one that belongs to nobody stands in the way until it goes.
        .watches(
            Api::<PersistentVolumeClaim>::all(client.clone()),
            any(),
            |claim| {
                let name = ObjectRef::new(&claim.name_any());
                [name.within(&claim.namespace().unwrap_or_default())]
            },
        )
        .watches(Api::<StorageClass>::all(client.clone()), any(), move |_| {
            // A class that comes may be the one that some wait for.
            let unset = |volume: &Arc<DataVolume>| volume.phase() == DataVolumePhase::Unset;
            let waiting = all.state().into_iter().filter(unset);
            waiting
                .map(|volume| ObjectRef::from_obj(&*volume))
                .collect::<Vec<_>>()
        })
        .run(
            |object, context| reconcile(object, context).boxed(),
            retry,
            context.clone(),
        );
    drive(stream).await;
}

async fn reconcile(
    data_volume: Arc<DataVolume>,
    context: Arc<Context>,
) -> Result<Action, kube::Error> {
    if data_volume.metadata.deletion_timestamp.is_some() {
        // The claim and the source are owned, and go with it.
        return Ok(Action::await_change());
    }
    let namespace = data_volume.namespace().unwrap_or_default();
    let claims: Api<PersistentVolumeClaim> = context.api(&namespace);
    let claim = claims.get_opt(&data_volume.name_any()).await?;
    let client = &context.client;
    let everything = ListParams::default();
    let classes = Api::<StorageClass>::all(client.clone())
        .list(&everything)
        .await?
        .items;
    let drivers = Api::<CSIDriver>::all(client.clone())
        .list(&everything)
        .await?
        .items;
    let drivers: Vec<String> = drivers.iter().map(ResourceExt::name_any).collect();
    let mut plan = plan(Observed {
        data_volume: &data_volume,
        claim: claim.as_ref(),
        classes: &classes,
        drivers: &drivers,
        overhead: context.config.overhead,
    });
    context
        .annotate(&*data_volume, std::mem::take(&mut plan.annotations))
        .await?;
    match take_step(&context, &namespace, &plan).await {
        // The API server's own reasons: quota, admission, a spec that it does not take.
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            let refused = claim_refused(&data_volume, &status.message);
            report(&context, &data_volume, &refused).await?;
            return Err(kube::Error::Api(status));
        }
        other => other?,
    }
    report(&context, &data_volume, &plan).await?;
    Ok(Action::await_change())
}

async fn take_step(context: &Context, namespace: &str, plan: &Plan) -> Result<(), kube::Error> {
    let create = PostParams::default();
    match &plan.step {
        Step::None => Ok(()),
        Step::CreateClaim { claim, source } => {
            if let Some(source) = source {
                let sources: Api<VolumeImportSource> = context.api(namespace);
                ignore_existing(sources.create(&create, source).await)?;
            }
            let claims: Api<PersistentVolumeClaim> = context.api(namespace);
            ignore_existing(claims.create(&create, claim).await)
        }
        Step::DeleteSource(name) => {
            let sources: Api<VolumeImportSource> = context.api(namespace);
            ignore_missing(sources.delete(name, &DeleteParams::default()).await)
        }
    }
}

/// Writes the status if it says anything new, and then tells what the plan has to tell.
async fn report(
    context: &Context,
    data_volume: &DataVolume,
    plan: &Plan,
) -> Result<(), kube::Error> {
    let before = data_volume.status.clone().unwrap_or_default();
    let now = Time(Timestamp::now());
    let after = status(&plan.status, &before, &now);
    if after != before {
        let volumes: Api<DataVolume> = context.api(&data_volume.namespace().unwrap_or_default());
        let patch = json!({
            "metadata": { "uid": data_volume.metadata.uid },
            "status": after,
        });
        let name = data_volume.name_any();
        volumes
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
    }
    let mut notices = bound_notice(&before, &after);
    notices.extend_from_slice(&plan.notices);
    context.tell(data_volume, &notices).await;
    Ok(())
}

fn status(report: &Report, before: &DataVolumeStatus, now: &Time) -> DataVolumeStatus {
    let conditions = before.conditions.as_deref().unwrap_or_default();
    DataVolumeStatus {
        claim_name: report
            .claim_name
            .clone()
            .or_else(|| before.claim_name.clone()),
        phase: Some(report.phase),
        progress: Some(report.progress.clone()),
        restart_count: Some(report.restart_count),
        conditions: Some(conditions::update(conditions, &report.findings, now)),
    }
}

/// Each change of what `Bound` says of the claim is told.
fn bound_notice(before: &DataVolumeStatus, after: &DataVolumeStatus) -> Vec<Notice> {
    let bound = |status: &DataVolumeStatus| {
        let conditions = status.conditions.as_ref()?;
        let bound = conditions
            .iter()
            .find(|condition| condition.type_ == "Bound")?;
        Some((
            bound.status.clone(),
            bound.reason.clone()?,
            bound.message.clone()?,
        ))
    };
    match (bound(before), bound(after)) {
        (Some(before), Some(after)) if before == after => Vec::new(),
        (_, Some((_, reason, message))) if matches!(&*reason, "Bound" | "Pending") => {
            vec![Notice::normal(reason, message)]
        }
        _ => Vec::new(),
    }
}
