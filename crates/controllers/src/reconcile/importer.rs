//! The reconciler of claims that a worker Pod fills.

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    runtime::{Controller, controller::Action, watcher},
};

use super::{Context, drive, ignore_existing, ignore_missing, retry};
use crate::plan::{
    Notice,
    import_pod::import_pod,
    importer::{Observed, Plan, PodAction, is_import, plan},
    pod_state::pod_state,
};

/// Runs it for as long as it is polled.
pub async fn run(context: Arc<Context>) {
    let client = &context.client;
    let any = watcher::Config::default;
    let stream = Controller::new(Api::<PersistentVolumeClaim>::all(client.clone()), any())
        .owns(Api::<Pod>::all(client.clone()), any())
        .run(
            |object, context| reconcile(object, context).boxed(),
            retry,
            context.clone(),
        );
    drive(stream).await;
}

async fn reconcile(
    claim: Arc<PersistentVolumeClaim>,
    context: Arc<Context>,
) -> Result<Action, kube::Error> {
    if !is_import(&claim) {
        return Ok(Action::await_change());
    }
    let wanted = import_pod(&claim, &context.config);
    let namespace = claim.namespace().unwrap_or_default();
    let pods: Api<Pod> = context.api(&namespace);
    let named = pods.get_opt(&wanted.name_any()).await?;
    // A Pod of that name may be left from an earlier claim, whose work says nothing about this one.
    let owned = |pod: &Pod| {
        let owners = pod.owner_references().iter();
        owners
            .map(|owner| &owner.uid)
            .any(|uid| Some(uid) == claim.metadata.uid.as_ref())
    };
    let (pod, foreign) = match named {
        Some(pod) if owned(&pod) => (Some(pod), None),
        other => (None, other),
    };
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        .filter(|name| !name.is_empty());
    let class = match (&pod, class) {
        (None, Some(name)) => {
            Api::<StorageClass>::all(context.client.clone())
                .get_opt(name)
                .await?
        }
        _ => None,
    };
    let other_user = match (&pod, &foreign) {
        (Some(_), _) => None,
        (None, Some(foreign)) => Some(qualified_name(foreign)),
        (None, None) => user_of(&pods, &claim).await?,
    };
    let progress = match &pod {
        Some(pod) if pod_state(pod).running => {
            context
                .progress
                .read(pod, &claim.uid().unwrap_or_default())
                .await
        }
        _ => None,
    };
    let plan = plan(Observed {
        claim: &claim,
        class: class.as_ref(),
        pod: pod.as_ref(),
        other_user: other_user.as_deref(),
        progress: progress.as_deref(),
    });
    let again = plan.look_again;
    carry_out(&context, &claim, plan, pod.as_ref(), &wanted).await?;
    Ok(if again {
        Action::requeue(context.config.progress_interval)
    } else {
        Action::await_change()
    })
}

/// Another Pod that has the claim mounted, as `namespace/name`.
async fn user_of(
    pods: &Api<Pod>,
    claim: &PersistentVolumeClaim,
) -> Result<Option<String>, kube::Error> {
    let name = claim.name_any();
    let uses = |pod: &Pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
            && volumes.unwrap_or_default().iter().any(|volume| {
                volume
                    .persistent_volume_claim
                    .as_ref()
                    .is_some_and(|c| c.claim_name == name)
            })
    };
    let pods = pods.list(&ListParams::default()).await?;
    let user = pods.items.iter().find(|pod| uses(pod));
    Ok(user.map(qualified_name))
}

fn qualified_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

async fn carry_out(
    context: &Context,
    claim: &PersistentVolumeClaim,
    mut plan: Plan,
    pod: Option<&Pod>,
    wanted: &Pod,
) -> Result<(), kube::Error> {
    let pods: Api<Pod> = context.api(&claim.namespace().unwrap_or_default());
    context
        .annotate(claim, std::mem::take(&mut plan.annotations))
        .await?;
    match plan.pod {
        PodAction::Keep => {}
        PodAction::Create => {
            if let Err(kube::Error::Api(status)) =
                &ignore_existing(pods.create(&PostParams::default(), wanted).await)
            {
                // Said here, because a Pod that was never made has no events of its own.
                let message = format!(
                    "Error starting pod '{}': {}",
                    wanted.name_any(),
                    status.message
                );
                let quota = status.message.contains("exceeded quota");
                let reason = if quota {
                    "ErrExceededQuota"
                } else {
                    "ErrStartingPod"
                };
                context
                    .tell(claim, &[Notice::warning(reason, message)])
                    .await;
                return Err(kube::Error::Api(status.clone()));
            }
        }
        PodAction::Delete => {
            let only = Preconditions {
                uid: pod.and_then(ResourceExt::uid),
                resource_version: None,
            };
            let delete = DeleteParams::default().preconditions(only);
            ignore_missing(pods.delete(&wanted.name_any(), &delete).await)?;
        }
    }
    context.tell(claim, &plan.notices).await;
    Ok(())
}
