//! Jobs: Pods that run to an end.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::NO_HOOKS;
use super::super::access::{fill, is_true, list, map, text};
use super::super::column::{AGE, Col};
use super::{CONTAINERS, IMAGES, SELECTOR, number, pod_template, template};
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;
use crate::table::age;

pub(in crate::builtin) const COLUMNS: &[Col] = &[
    Col::new("Status", "The state of the Job, in one word.", |job| {
        state(job).into()
    }),
    Col::new(
        "Completions",
        "Pods that succeeded, of those wanted.",
        |job| completions(job).into(),
    ),
    Col::new(
        "Duration",
        "How long it took, or has taken so far.",
        |job| duration(job).into(),
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(in crate::builtin) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    fields: Some(|job| {
        vec![(
            "status.successful",
            number(job, "/status/succeeded").to_string(),
        )]
    }),
    ..NO_HOOKS
};

/// The conditions that say how it stands, the weightiest first.
const STATES: [&str; 5] = [
    "Complete",
    "Failed",
    "Suspended",
    "FailureTarget",
    "SuccessCriteriaMet",
];

fn state(job: &Value) -> &str {
    let holds = |state: &str| {
        let mut conditions = list(job, "/status/conditions").iter();
        conditions.any(|c| c["type"] == state && c["status"] == "True")
    };
    let found = STATES.into_iter().find(|state| holds(state));
    let deleting = job.pointer("/metadata/deletionTimestamp").is_some();
    match found {
        Some(state @ ("Complete" | "Failed")) => state,
        _ if deleting => "Terminating",
        Some(state) => state,
        None => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, "/status/succeeded");
    if let Some(wanted) = job.pointer("/spec/completions").and_then(Value::as_i64) {
        return format!("{succeeded}/{wanted}");
    }
    match number(job, "/spec/parallelism") {
        parallelism @ 2.. => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value) -> String {
    let time = |pointer| text(job, pointer).parse::<Timestamp>().ok();
    let Some(start) = time("/status/startTime") else {
        return String::new();
    };
    let end = time("/status/completionTime").unwrap_or_else(Timestamp::now);
    age::human(end.as_second() - start.as_second())
}

fn default(job: &mut Value) {
    let uid = text(job, "/metadata/uid").to_owned();
    let spec = map(job, "spec");
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    fill(spec, "backoffLimit", 6);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    let policy = if spec.contains_key("podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    fill(spec, "podReplacementPolicy", policy);
    template(spec);
    if !uid.is_empty() && spec.get("manualSelector") != Some(&Value::Bool(true)) {
        fill(
            spec,
            "selector",
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
        );
        label_template(
            job,
            &["batch.kubernetes.io/controller-uid", "controller-uid"],
            &uid,
        );
    }
}

/// Gives the Pods of a new Job its name, which may be known later than the rest.
pub(crate) fn name_new(job: &mut Value) {
    let name = text(job, "/metadata/name").to_owned();
    if !is_true(job, "/spec/manualSelector") {
        label_template(job, &["batch.kubernetes.io/job-name", "job-name"], &name);
    }
}

fn label_template(job: &mut Value, keys: &[&str], value: &str) {
    if let Some(template @ Value::Object(_)) = map(job, "spec").get_mut("template") {
        map(template, "metadata");
        let labels = map(&mut template["metadata"], "labels");
        for key in keys {
            fill(labels, key, value);
        }
    }
}

fn validate(job: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        causes.extend(super::not_negative(job, field));
    }
    if text(job, "/spec/completionMode") != "NonIndexed" {
        let mode = job.pointer("/spec/completionMode").unwrap_or(&Value::Null);
        causes.push(cause::unsupported(
            "spec.completionMode",
            mode,
            ["NonIndexed"],
        ));
    }
    if job.pointer("/spec/template/spec/restartPolicy") == Some(&json!("Always")) {
        let path = "spec.template.spec.restartPolicy";
        causes.push(cause::required(
            path,
            "valid values: \"OnFailure\", \"Never\"",
        ));
    }
    causes.extend(pod_template(job));
    let Some(old) = old else { return causes };
    // What was never started may still be changed.
    let started = !is_true(old, "/spec/suspend") || old.pointer("/status/startTime").is_some();
    let fixed = ["completions", "selector", "completionMode"];
    for field in fixed.into_iter().chain(started.then_some("template")) {
        let at = |job: &Value| job.pointer(&format!("/spec/{field}")).cloned();
        if at(old) != at(job) {
            let value = at(job).unwrap_or_default();
            causes.push(cause::invalid(
                format!("spec.{field}"),
                &value,
                "field is immutable",
            ));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "a", "image": "i:1"}]}}}});
        default(&mut job);
        name_new(&mut job);
        job
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let job = job();
        assert_eq!(validate(&job, None), Vec::new());
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["batch.kubernetes.io/controller-uid"], "u");
        assert_eq!(labels["job-name"], "j");
        let selector = &job["spec"]["selector"]["matchLabels"];
        assert_eq!(
            *selector,
            json!({"batch.kubernetes.io/controller-uid": "u"})
        );
    }

    #[test]
    fn what_runs_stays_as_it_is() {
        let mut endless = job();
        endless["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
        assert_eq!(validate(&endless, None)[0].reason, "FieldValueRequired");
        assert_eq!(validate(&endless, Some(&job()))[1].field, "spec.template");
        let mut suspended = job();
        suspended["spec"]["suspend"] = true.into();
        let mut changed = suspended.clone();
        changed["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        assert_eq!(validate(&changed, Some(&suspended)), Vec::new());
    }

    #[test]
    fn one_word_for_each_state() {
        let mut job = job();
        assert_eq!(
            (state(&job), completions(&job).as_str()),
            ("Running", "0/1")
        );
        job["status"] = json!({"succeeded": 1, "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]});
        assert_eq!(
            (state(&job), completions(&job).as_str()),
            ("Complete", "1/1")
        );
    }
}
