//! Jobs: Pods that run until enough of them succeeded, or too many failed.

mod plan;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use super::pods::{self, Pods};
use super::{Workloads, replace_status};
use crate::events::{Recorder, Severity};
use crate::objects::claims;
use crate::runtime::error::GoneIsDone as _;
use crate::runtime::{ApiError, Cache, Doing as _, Next, ObjectKey};
use plan::{Action, Decision};

pub(super) struct Controller {
    client: Client,
    jobs: Cache<Job>,
    pods: Pods,
    recorder: Recorder,
}

impl Controller {
    pub(super) fn new(workloads: &Workloads) -> Self {
        let recorder = workloads.recorder.for_component("job-controller", None);
        let client = workloads.client.clone();
        Self {
            client: client.clone(),
            jobs: workloads.jobs.clone(),
            pods: Pods::new(client, workloads.caches.clone(), recorder.clone()),
            recorder,
        }
    }

    pub(super) async fn reconcile(&self, key: ObjectKey) -> Result<Next, ApiError> {
        let Some(job) = self
            .jobs
            .get(&key)
            .filter(|job| !claims::is_deleting(&**job))
        else {
            return Ok(Next::OnChange);
        };
        let now = Timestamp::now();
        if let Some(wait) = plan::until_expiry(&job, now) {
            if wait.is_zero() {
                self.expire(&job).await?;
                return Ok(Next::OnChange);
            }
            return Ok(Next::After(wait));
        }
        if plan::is_finished(&job) {
            return Ok(Next::OnChange);
        }
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.clone());
        let Some(selector) = selector else {
            return Ok(Next::OnChange);
        };
        let mine = self.pods.of(&*job, &selector).await?;
        let decision = plan::decide(&job, &mine, now);
        self.act(&job, &decision.action, &mine).await?;
        let mine = self.pods.of(&*job, &selector).await?;
        self.report(&job, &decision, &mine, now).await?;
        Ok(decision.look_again.map_or(Next::OnChange, Next::After))
    }

    async fn act(&self, job: &Job, action: &Action, mine: &[Arc<Pod>]) -> Result<(), ApiError> {
        match action {
            Action::Nothing => {}
            Action::Create(count) => {
                let template = job.spec.as_ref().map(|spec| &spec.template);
                for _ in 0..*count {
                    let pod = template.map(pods::from_template).unwrap_or_default();
                    self.pods.create(job, pod).await?;
                }
            }
            Action::Delete(count) => {
                let mut active: Vec<_> = mine.iter().filter(|pod| pods::is_active(pod)).collect();
                active.sort_by_key(|pod| (pods::is_ready(pod), pods::created(pod)));
                for pod in active.into_iter().take(*count) {
                    self.pods.delete(job, pod).await?;
                }
            }
        }
        Ok(())
    }

    async fn report(
        &self,
        job: &Job,
        decision: &Decision,
        mine: &[Arc<Pod>],
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let status = plan::status(job, decision, mine, now);
        if job.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = job.clone();
        changed.status = Some(status);
        replace_status(&self.client, &self.jobs, &changed).await?;
        if let Some((severity, reason, message)) = plan::news(job, &changed) {
            match severity {
                Severity::Normal => self.recorder.normal(job, reason, message),
                Severity::Warning => self.recorder.warning(job, reason, message),
            }
        }
        Ok(())
    }

    /// Removes a Job whose time after its end is over.
    async fn expire(&self, job: &Job) -> Result<(), ApiError> {
        let key = ObjectKey::of(job);
        let params = DeleteParams::foreground().preconditions(Preconditions {
            uid: job.metadata.uid.clone(),
            resource_version: job.metadata.resource_version.clone(),
        });
        let api: Api<Job> = Api::namespaced(self.client.clone(), &key.namespace);
        api.delete(&key.name, &params)
            .await
            .doing("delete expired job", &key)
            .or_gone()
    }
}
