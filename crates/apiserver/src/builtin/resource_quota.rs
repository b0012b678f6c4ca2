//! ResourceQuotas: how much a namespace may use.

use std::collections::BTreeSet;

use serde_json::Value;

use super::NO_HOOKS;
use super::access::{list, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::meta::names;
use crate::quota::{Scope, is_standard};
use crate::schema::cause;
use crate::schema::quantity::Quantity;
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[
    Col::new(
        "Request",
        "What is used and what may be used, limits aside.",
        |quota| usage(quota, |name| !name.starts_with("limits.")).into(),
    ),
    Col::new(
        "Limit",
        "What containers' limits come to, and what they may come to.",
        |quota| usage(quota, |name| name.starts_with("limits.")).into(),
    ),
    AGE,
];

pub(super) const HOOKS: Hooks = Hooks {
    validate: Some(validate),
    no_generation: true,
    ..NO_HOOKS
};

/// Detail of a scope that does not fit what a quota counts.
const MISPLACED: &str = "unsupported scope applied to resource";

/// `pods: 1/4, requests.cpu: 500m/1` for the names that are `wanted`.
fn usage(quota: &Value, wanted: fn(&str) -> bool) -> String {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let entry = |(name, hard): (&String, &Value)| {
        let used = quota
            .pointer("/status/used")
            .and_then(|used| used.get(name));
        let used = used.and_then(Value::as_str).unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
    };
    let entries = hard.into_iter().flatten();
    let entries: Vec<_> = entries
        .filter(|(name, _)| wanted(name))
        .map(entry)
        .collect();
    entries.join(", ")
}

fn validate(quota: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = amounts(quota, "spec.hard", "/spec/hard");
    causes.extend(amounts(quota, "status.hard", "/status/hard"));
    causes.extend(amounts(quota, "status.used", "/status/used"));
    causes.extend(scopes(quota));
    for field in ["scopes", "scopeSelector"] {
        let at = |quota: &Value| quota.pointer(&format!("/spec/{field}")).cloned();
        if let Some(old) = old
            && at(old) != at(quota)
        {
            let value = at(quota).unwrap_or_default();
            let detail = "field is immutable";
            causes.push(cause::invalid(format!("spec.{field}"), &value, detail));
        }
    }
    causes
}

fn amounts(quota: &Value, path: &str, pointer: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let amounts = quota.pointer(pointer).and_then(Value::as_object);
    for (name, amount) in amounts.into_iter().flatten() {
        let field = format!("{path}[{name}]");
        for fault in names::qualified_name(name) {
            causes.push(cause::invalid(&*field, &name.as_str().into(), &fault));
        }
        if !name.contains('/') && !is_standard(name) {
            let detail = "must be a standard resource for quota";
            causes.push(cause::invalid(&*field, &name.as_str().into(), detail));
        }
        // The schema refuses what is no quantity.
        let Some(Ok(quantity)) = amount.as_str().map(str::parse::<Quantity>) else {
            continue;
        };
        if quantity.is_negative() {
            let detail = "must be greater than or equal to 0";
            causes.push(cause::invalid(field, amount, detail));
        } else if counts_objects(name) && !quantity.is_whole() {
            causes.push(cause::invalid(field, amount, "must be an integer"));
        }
    }
    causes
}

/// Whether a name is one of a number of objects.
fn counts_objects(name: &str) -> bool {
    let measured = ["cpu", "memory", "storage", "ephemeral-storage"];
    !measured
        .iter()
        .any(|measured| name.rsplit(['.', '/']).next() == Some(measured))
        && !name.contains("hugepages-")
}

fn scopes(quota: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let plain = list(quota, "/spec/scopes");
    let selected = list(quota, "/spec/scopeSelector/matchExpressions");
    let selected = selected.iter().filter_map(|term| term.get("scopeName"));
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object);
    let hard: Vec<&str> = hard
        .into_iter()
        .flatten()
        .map(|(name, _)| &**name)
        .collect();
    let mut named = BTreeSet::new();
    let places = plain
        .iter()
        .map(|scope| ("spec.scopes", scope))
        .chain(selected.map(|scope| ("spec.scopeSelector.matchExpressions.scopeName", scope)));
    for (path, scope) in places {
        let Some(known) = scope.as_str().and_then(Scope::parse) else {
            causes.push(cause::invalid(path, scope, "unsupported scope"));
            continue;
        };
        named.insert(known);
        causes.extend(
            hard.iter()
                .filter(|name| !known.covers(name))
                .map(|_| cause::invalid(path, scope, MISPLACED)),
        );
    }
    for (scope, opposite) in [
        (Scope::BestEffort, Scope::NotBestEffort),
        (Scope::Terminating, Scope::NotTerminating),
    ] {
        if named.contains(&scope) && named.contains(&opposite) {
            let value = Value::from(plain.to_vec());
            causes.push(cause::invalid("spec.scopes", &value, "conflicting scopes"));
        }
    }
    causes.extend(operators(quota));
    causes
}

/// Only the class of a Pod can be compared with values.
fn operators(quota: &Value) -> Vec<Cause> {
    let path = "spec.scopeSelector.matchExpressions";
    let mut causes = Vec::new();
    for term in list(quota, "/spec/scopeSelector/matchExpressions") {
        let (operator, values) = (text(term, "/operator"), list(term, "/values"));
        let by_class = text(term, "/scopeName") == "PriorityClass";
        match operator {
            "In" | "NotIn" if by_class && values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                causes.push(cause::required(format!("{path}.values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                let values = Value::from(values.to_vec());
                causes.push(cause::invalid(format!("{path}.values"), &values, detail));
            }
            "In" | "NotIn" | "DoesNotExist" if !by_class => {
                let detail = "must be 'Exist' only operator when scope is any of \
                              ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                              ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                              ResourceQuotaScopeCrossNamespacePodAffinity";
                causes.push(cause::invalid(
                    format!("{path}.operator"),
                    &operator.into(),
                    detail,
                ));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => causes.push(cause::invalid(
                format!("{path}.operator"),
                &operator.into(),
                "not a valid selector operator",
            )),
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(spec: Value) -> Vec<String> {
        validate(&json!({"spec": spec}), None)
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn what_may_be_limited() {
        let fine = json!({"hard": {"pods": "1", "requests.cpu": "500m", "requests.example.com/gpu": "1",
            "count/widgets.example.com": "3", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}});
        assert_eq!(faults(fine), Vec::<String>::new());
        assert_eq!(
            faults(json!({"hard": {"wishes": "3", "pods": "1500m", "cpu": "-1"}})),
            [
                "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.hard[wishes]: Invalid value: \"wishes\": must be a standard resource for quota",
            ]
        );
    }

    #[test]
    fn scopes_fit_what_is_counted_and_each_other() {
        assert_eq!(
            faults(json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})),
            Vec::<String>::new()
        );
        assert_eq!(
            faults(json!({"hard": {"configmaps": "1"}, "scopes": ["Terminating", "Sometimes"]})),
            [
                "spec.scopes: Invalid value: \"Terminating\": unsupported scope applied to resource",
                "spec.scopes: Invalid value: \"Sometimes\": unsupported scope",
            ]
        );
        let both = faults(json!({"hard": {}, "scopes": ["BestEffort", "NotBestEffort"]}));
        assert!(both[0].ends_with("conflicting scopes"), "{both:?}");
    }

    #[test]
    fn the_columns_tell_what_is_used_of_what() {
        let quota =
            json!({"status": {"hard": {"limits.cpu": "2", "pods": "4"}, "used": {"pods": "1"}}});
        assert_eq!(
            usage(&quota, |name| !name.starts_with("limits.")),
            "pods: 1/4"
        );
        assert_eq!(
            usage(&quota, |name| name.starts_with("limits.")),
            "limits.cpu: 0/2"
        );
    }
}
