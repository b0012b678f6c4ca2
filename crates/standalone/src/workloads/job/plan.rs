//! What a Job needs next, and how it stands.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::pods::{self, is_active};
use crate::events::Severity;
use crate::objects::claims;
use crate::runtime::queue::Limits;

/// Pauses after Pods failed.
const BACK_OFF: Limits = Limits {
    concurrency: 1,
    min_delay: Duration::from_secs(10),
    max_delay: Duration::from_mins(10),
};

/// What is to be done with the Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Create(usize),
    Delete(usize),
}

/// How a Job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    BackoffLimitExceeded,
    DeadlineExceeded,
}

impl End {
    /// The conditions at the end, the first of which stands while Pods are still going.
    fn conditions(self) -> [&'static str; 2] {
        match self {
            Self::Complete => ["SuccessCriteriaMet", "Complete"],
            Self::BackoffLimitExceeded | Self::DeadlineExceeded => ["FailureTarget", "Failed"],
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Complete => "CompletionsReached",
            Self::BackoffLimitExceeded => "BackoffLimitExceeded",
            Self::DeadlineExceeded => "DeadlineExceeded",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Complete => "Reached expected number of succeeded pods",
            Self::BackoffLimitExceeded => "Job has reached the specified backoff limit",
            Self::DeadlineExceeded => "Job was active longer than specified deadline",
        }
    }
}

/// What follows from a Job and its Pods.
#[derive(Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) action: Action,
    pub(super) end: Option<End>,
    pub(super) look_again: Option<Duration>,
}

/// The Pods in numbers.
struct Counts {
    active: usize,
    ready: usize,
    /// On their way out.
    terminating: usize,
    succeeded: usize,
    failed: usize,
}

impl Counts {
    fn of(mine: &[Arc<Pod>]) -> Self {
        let count = |counts: &dyn Fn(&Pod) -> bool| mine.iter().filter(|pod| counts(pod)).count();
        let leaving = |pod: &Pod| claims::is_deleting(pod) && !claims::is_finished(pod);
        Self {
            active: count(&is_active),
            ready: count(&|pod| is_active(pod) && pods::is_ready(pod)),
            terminating: count(&leaving),
            succeeded: count(&|pod| pods::phase(pod) == "Succeeded"),
            failed: count(&|pod| pods::phase(pod) == "Failed"),
        }
    }
}

fn spec(job: &Job) -> JobSpec {
    job.spec.clone().unwrap_or_default()
}

fn amount(number: Option<i32>, default: usize) -> usize {
    number.map_or(default, |number| usize::try_from(number).unwrap_or(0))
}

pub(super) fn is_finished(job: &Job) -> bool {
    holds(job, "Complete") || holds(job, "Failed")
}

fn conditions(job: &Job) -> &[JobCondition] {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default()
}

fn holds(job: &Job, type_: &str) -> bool {
    conditions(job)
        .iter()
        .any(|c| c.type_ == type_ && c.status == "True")
}

/// How long a finished Job stays, if that is limited.
pub(super) fn until_expiry(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = spec(job).ttl_seconds_after_finished?;
    let mut ends = conditions(job)
        .iter()
        .filter(|c| matches!(&*c.type_, "Complete" | "Failed") && c.status == "True");
    let end = ends.next()?.last_transition_time.as_ref()?.0;
    Some(left(end + SignedDuration::from_secs(ttl.into()), now))
}

fn left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// Decides about a Job that has not finished.
pub(super) fn decide(job: &Job, mine: &[Arc<Pod>], now: Timestamp) -> Decision {
    let (spec, counts) = (spec(job), Counts::of(mine));
    let start = job
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref());
    let deadline = spec
        .active_deadline_seconds
        .filter(|_| spec.suspend != Some(true));
    let deadline = deadline.map(|seconds| {
        let start = start.map_or(now, |start| start.0);
        left(start + SignedDuration::from_secs(seconds), now)
    });
    let end = end(&spec, &counts, mine, deadline);
    if end.is_some() || spec.suspend == Some(true) {
        let action = match counts.active {
            0 => Action::Nothing,
            active => Action::Delete(active),
        };
        return Decision {
            action,
            end,
            look_again: None,
        };
    }
    let parallelism = amount(spec.parallelism, 1);
    let needed = spec
        .completions
        .map(|wanted| amount(Some(wanted), 1).saturating_sub(counts.succeeded));
    let wanted = match needed {
        Some(needed) => needed.min(parallelism),
        // Without a number, the first success means that no more are started.
        None if counts.succeeded > 0 => counts.active,
        None => parallelism,
    };
    let pause = back_off(mine, counts.failed, now);
    let action = if counts.active > wanted {
        Action::Delete(counts.active - wanted)
    } else if pause.is_zero() {
        match wanted.saturating_sub(counts.active + counts.terminating) {
            0 => Action::Nothing,
            missing => Action::Create(missing),
        }
    } else {
        Action::Nothing
    };
    let pause = (!pause.is_zero() && counts.active < wanted).then_some(pause);
    Decision {
        action,
        end: None,
        look_again: pause.into_iter().chain(deadline).min(),
    }
}

fn end(
    spec: &JobSpec,
    counts: &Counts,
    mine: &[Arc<Pod>],
    deadline: Option<Duration>,
) -> Option<End> {
    let limit = amount(spec.backoff_limit, 6);
    let restarts: i32 = mine
        .iter()
        .filter(|pod| is_active(pod))
        .map(|pod| restarts(pod))
        .sum();
    let restarts = usize::try_from(restarts).unwrap_or(0);
    let in_place = spec
        .template
        .spec
        .as_ref()
        .and_then(|s| s.restart_policy.as_deref());
    let restarted = in_place == Some("OnFailure") && restarts > 0 && restarts >= limit;
    if counts.failed > limit || restarted {
        return Some(End::BackoffLimitExceeded);
    }
    if deadline == Some(Duration::ZERO) {
        return Some(End::DeadlineExceeded);
    }
    let enough = match spec.completions {
        Some(wanted) => counts.succeeded >= amount(Some(wanted), 1),
        None => counts.succeeded > 0 && counts.active == 0,
    };
    enough.then_some(End::Complete)
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let all = status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(init)
    });
    all.map(|container| container.restart_count).sum()
}

/// How long no Pod is made after the last failure.
fn back_off(mine: &[Arc<Pod>], failed: usize, now: Timestamp) -> Duration {
    let ended = |pod: &Pod| {
        let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
        let ends = containers
            .iter()
            .filter_map(|c| c.state.as_ref()?.terminated.as_ref());
        ends.filter_map(|end| Some(end.finished_at.as_ref()?.0))
            .max()
    };
    let failures = mine.iter().filter(|pod| pods::phase(pod) == "Failed");
    let last = failures
        .filter_map(|pod| ended(pod).or_else(|| pods::created(pod)))
        .max();
    let Some(last) = last else {
        return Duration::ZERO;
    };
    let pause = BACK_OFF.delay(u32::try_from(failed).unwrap_or(u32::MAX));
    left(
        last + SignedDuration::try_from(pause).unwrap_or_default(),
        now,
    )
}

/// The status after a decision was carried out.
pub(super) fn status(
    job: &Job,
    decision: &Decision,
    mine: &[Arc<Pod>],
    now: Timestamp,
) -> JobStatus {
    let counts = Counts::of(mine);
    let spec = spec(job);
    let number = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
    let some = |count: usize| number(count).filter(|count| *count > 0);
    let mut status = job.status.clone().unwrap_or_default();
    status.active = some(counts.active);
    status.ready = number(counts.ready);
    status.terminating = number(counts.terminating);
    status.succeeded = some(counts.succeeded);
    status.failed = some(counts.failed);
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods::default());
    let mut conditions = status.conditions.take().unwrap_or_default();
    if spec.suspend == Some(true) {
        status.start_time = None;
        set(
            &mut conditions,
            "Suspended",
            "True",
            "JobSuspended",
            "Job suspended",
            now,
        );
    } else {
        status.start_time.get_or_insert(Time(now));
        if conditions.iter().any(|c| c.type_ == "Suspended") {
            set(
                &mut conditions,
                "Suspended",
                "False",
                "JobResumed",
                "Job resumed",
                now,
            );
        }
    }
    if let Some(end) = decision.end {
        let [first, last] = end.conditions();
        set(
            &mut conditions,
            first,
            "True",
            end.reason(),
            end.message(),
            now,
        );
        if counts.active + counts.terminating == 0 {
            set(
                &mut conditions,
                last,
                "True",
                end.reason(),
                end.message(),
                now,
            );
            if end == End::Complete {
                status.completion_time = Some(Time(now));
            }
        }
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    status
}

fn set(
    conditions: &mut Vec<JobCondition>,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    if conditions
        .iter()
        .any(|c| c.type_ == type_ && c.status == status)
    {
        return;
    }
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// What is worth telling about a change of status.
pub(super) fn news(before: &Job, after: &Job) -> Option<(Severity, &'static str, String)> {
    let is_new = |type_| holds(after, type_) && !holds(before, type_);
    if is_new("Complete") {
        return Some((Severity::Normal, "Completed", "Job completed".to_owned()));
    }
    if is_new("Failed") {
        let ends = [End::BackoffLimitExceeded, End::DeadlineExceeded];
        let failed = conditions(after).iter().find(|c| c.type_ == "Failed")?;
        let end = ends
            .into_iter()
            .find(|end| failed.reason.as_deref() == Some(end.reason()))?;
        return Some((Severity::Warning, end.reason(), end.message().to_owned()));
    }
    if is_new("Suspended") {
        return Some((Severity::Normal, "Suspended", "Job suspended".to_owned()));
    }
    let resumed = holds(before, "Suspended") && !holds(after, "Suspended");
    resumed.then(|| (Severity::Normal, "Resumed", "Job resumed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(more: Value) -> Job {
        let mut job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": []}}}});
        for (name, value) in more.as_object().unwrap() {
            job["spec"][name] = value.clone();
        }
        serde_json::from_value(job).unwrap()
    }

    fn pods(phases: &[&str]) -> Vec<Arc<Pod>> {
        let pod = |phase: &&str| {
            let created = "1970-01-01T00:00:00Z";
            let pod =
                json!({"metadata": {"creationTimestamp": created}, "status": {"phase": phase}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        phases.iter().map(pod).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn as_many_pods_run_as_are_needed_and_allowed() {
        let job = job(json!({"completions": 4, "parallelism": 2}));
        let action = |phases: &[&str]| decide(&job, &pods(phases), at(0)).action;
        assert_eq!(action(&[]), Action::Create(2));
        assert_eq!(action(&["Running", "Succeeded"]), Action::Create(1));
        let nearly = ["Succeeded", "Succeeded", "Succeeded", "Running"];
        assert_eq!(action(&nearly), Action::Nothing);
        assert_eq!(
            action(&["Running", "Running", "Pending"]),
            Action::Delete(1)
        );
        let done = decide(&job, &pods(&["Succeeded"; 4]), at(0));
        assert_eq!(done.end, Some(End::Complete));
    }

    #[test]
    fn a_failure_is_followed_by_a_pause_and_too_many_by_the_end() {
        let job = job(json!({"completions": 1, "backoffLimit": 1}));
        let once = decide(&job, &pods(&["Failed"]), at(4));
        assert_eq!(once.action, Action::Nothing);
        assert_eq!(once.look_again, Some(Duration::from_secs(6)));
        assert_eq!(
            decide(&job, &pods(&["Failed"]), at(10)).action,
            Action::Create(1)
        );
        let twice = decide(&job, &pods(&["Failed", "Failed"]), at(10));
        assert_eq!(twice.end, Some(End::BackoffLimitExceeded));
    }

    #[test]
    fn the_end_comes_when_the_last_pod_is_gone() {
        let mut job = job(json!({"completions": 1, "activeDeadlineSeconds": 5}));
        let started = status(&job, &decide(&job, &[], at(0)), &pods(&["Running"]), at(0));
        job.status = Some(started);
        let late = decide(&job, &pods(&["Running"]), at(5));
        assert_eq!(
            (late.action, late.end),
            (Action::Delete(1), Some(End::DeadlineExceeded))
        );
        let types = |status: &JobStatus| {
            let conditions = status.conditions.iter().flatten();
            conditions.map(|c| c.type_.clone()).collect::<Vec<_>>()
        };
        let ending = status(&job, &late, &pods(&["Running"]), at(5));
        assert_eq!(types(&ending), ["FailureTarget"]);
        let ended = status(&job, &late, &[], at(6));
        assert_eq!(types(&ended), ["FailureTarget", "Failed"]);
        assert_eq!(ended.completion_time, None);
        let before = job.clone();
        job.status = Some(ended);
        assert!(is_finished(&job));
        assert_eq!(news(&before, &job).unwrap().1, "DeadlineExceeded");
    }

    #[test]
    fn a_suspended_job_has_no_pods_and_no_start() {
        let mut job = job(json!({"completions": 1, "suspend": true}));
        let decision = decide(&job, &pods(&["Running"]), at(0));
        assert_eq!(decision.action, Action::Delete(1));
        let suspended = status(&job, &decision, &[], at(0));
        assert_eq!(
            (suspended.start_time.clone(), suspended.active),
            (None, None)
        );
        job.status = Some(suspended);
        assert!(holds(&job, "Suspended"));
        job.spec.as_mut().unwrap().suspend = Some(false);
        let resumed = status(&job, &decide(&job, &[], at(9)), &[], at(9));
        assert_eq!(resumed.start_time, Some(Time(at(9))));
    }

    #[test]
    fn a_finished_job_may_have_a_term() {
        let mut job = job(json!({"completions": 1, "ttlSecondsAfterFinished": 60}));
        assert_eq!(until_expiry(&job, at(0)), None);
        let decision = decide(&job, &pods(&["Succeeded"]), at(0));
        job.status = Some(status(&job, &decision, &pods(&["Succeeded"]), at(0)));
        assert_eq!(until_expiry(&job, at(20)), Some(Duration::from_secs(40)));
        assert_eq!(until_expiry(&job, at(60)), Some(Duration::ZERO));
    }
}
