//! What is about Pods' places: PriorityClasses and PodDisruptionBudgets.

use serde_json::Value;

use super::NO_HOOKS;
use super::access::{fill, is_true, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;

/// The classes that every server has: name, value and description.
pub(crate) const SYSTEM_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another \
         node if necessary.",
    ),
];

/// Highest value of a class that is not the system's.
const HIGHEST_USER_VALUE: i64 = 1_000_000_000;

pub(super) const CLASS_COLUMNS: &[Col] = &[
    Col::new("Value", "The priority of the class's Pods.", |class| {
        class["value"].clone()
    })
    .of("integer"),
    Col::new(
        "Global-Default",
        "Whether Pods without a class get this one.",
        |class| is_true(class, "/globalDefault").into(),
    )
    .of("boolean"),
    AGE,
    Col::new(
        "PreemptionPolicy",
        "Whether Pods drive others away.",
        |class| text(class, "/preemptionPolicy").into(),
    ),
];

pub(super) const CLASS_HOOKS: Hooks = Hooks {
    default: Some(|class| {
        if let Some(class) = class.as_object_mut() {
            fill(class, "preemptionPolicy", "PreemptLowerPriority");
        }
    }),
    validate: Some(validate_class),
    ..NO_HOOKS
};

fn validate_class(class: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (name, value) = (text(class, "/metadata/name"), class["value"].as_i64());
    let value = value.unwrap_or_default();
    let is_system = SYSTEM_CLASSES
        .iter()
        .any(|(known, number, _)| name == *known && value == *number);
    if !is_system && name.starts_with("system-") {
        let detail = "priority class names with 'system-' prefix are reserved for system use only";
        causes.push(cause::forbidden("metadata.name", detail));
    } else if !is_system && value > HIGHEST_USER_VALUE {
        let detail =
            format!("maximum allowed value of a user defined priority is {HIGHEST_USER_VALUE}");
        causes.push(cause::forbidden("value", &detail));
    }
    let policies = ["Never", "PreemptLowerPriority"];
    let policy = &class["preemptionPolicy"];
    if !policies.iter().any(|known| policy == known) {
        causes.push(cause::unsupported("preemptionPolicy", policy, policies));
    }
    let Some(old) = old else { return causes };
    for field in ["value", "preemptionPolicy"] {
        if class[field] != old[field] {
            let detail = "may not be changed in an update.";
            causes.push(cause::forbidden(field, detail));
        }
    }
    causes
}

pub(super) const BUDGET_COLUMNS: &[Col] = &[
    Col::new("Min Available", "How many Pods must be there.", |budget| {
        or_not_applicable(budget, "/spec/minAvailable")
    }),
    Col::new(
        "Max Unavailable",
        "How many Pods may be missing.",
        |budget| or_not_applicable(budget, "/spec/maxUnavailable"),
    ),
    Col::new(
        "Allowed Disruptions",
        "How many Pods may go now.",
        |budget| {
            let allowed = budget.pointer("/status/disruptionsAllowed");
            allowed.cloned().unwrap_or(0.into())
        },
    )
    .of("integer"),
    AGE,
];

pub(super) const BUDGET_HOOKS: Hooks = Hooks {
    validate: Some(|budget, _| {
        let set = |field| budget.pointer(&format!("/spec/{field}")).is_some();
        if set("minAvailable") && set("maxUnavailable") {
            let spec = budget.get("spec").unwrap_or(&Value::Null);
            let detail = "minAvailable and maxUnavailable cannot be both set";
            return vec![cause::invalid("spec", spec, detail)];
        }
        Vec::new()
    }),
    ..NO_HOOKS
};

fn or_not_applicable(budget: &Value, pointer: &str) -> Value {
    match budget.pointer(pointer) {
        Some(Value::String(percent)) => percent.as_str().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        _ => "N/A".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, value: i64) -> Value {
        json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": "Never"})
    }

    #[test]
    fn the_highest_priorities_are_the_systems() {
        let faults = |class| validate_class(&class, None).len();
        assert_eq!(faults(class("mine", HIGHEST_USER_VALUE)), 0);
        assert_eq!(faults(class("mine", HIGHEST_USER_VALUE + 1)), 1);
        assert_eq!(faults(class("system-mine", 1)), 1);
        assert_eq!(faults(class("system-node-critical", 2_000_001_000)), 0);
    }

    #[test]
    fn a_priority_stays() {
        let causes = validate_class(&class("mine", 1), Some(&class("mine", 2)));
        assert_eq!(causes[0].field, "value");
    }
}
