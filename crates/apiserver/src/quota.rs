//! What a `ResourceQuota` counts (Kubernetes, "Resource Quotas").
//!
//! Every object uses some amounts, each under a name such as `pods` or `requests.storage`. A quota
//! bounds the sums of the names in its `hard`, over the objects in its scopes. Admission charges a
//! new object to `status.used`; whoever recounts takes [`used`] of all objects there are.

mod scope;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

pub use crate::schema::quantity::Quantity;
pub use scope::Scope;
pub(crate) use usage::pod_totals;
pub use usage::usage;

/// Amounts by name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Prefix of the names that count objects of any resource: `count/widgets.example.com`.
const COUNT: &str = "count/";
/// Names of compute resources of Pods.
const COMPUTE: [&str; 9] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
/// Names of resources of claims; each can be bounded per storage class as well.
const CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
const SERVICES: [&str; 3] = ["services", "services.loadbalancers", "services.nodeports"];
/// Resources whose objects can be counted without the prefix.
const COUNTED: [&str; 4] = [
    "configmaps",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
];

/// Whether a name without a domain means something to quotas.
pub(crate) fn is_standard(name: &str) -> bool {
    name == "pods" || is_compute(name) || is_claims(name) || is_services(name) || is_counted(name)
}

fn is_compute(name: &str) -> bool {
    COMPUTE.contains(&name) || is_huge_pages(name) || is_extended(name)
}

fn is_huge_pages(name: &str) -> bool {
    let name = name.strip_prefix("requests.").unwrap_or(name);
    name.starts_with("hugepages-")
}

/// Whether a name bounds what Pods ask for of something that a device plugin offers.
fn is_extended(name: &str) -> bool {
    let name = name.strip_prefix("requests.").unwrap_or_default();
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn is_claims(name: &str) -> bool {
    let of_class = name.split_once(OF_CLASS).map(|(_, name)| name);
    CLAIMS.contains(&of_class.unwrap_or(name))
}

fn is_services(name: &str) -> bool {
    SERVICES.contains(&name)
}

fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name)
}

/// The resource, `plural` or `plural.group`, whose objects use what this name bounds.
pub fn resource_of(name: &str) -> &str {
    match name.strip_prefix(COUNT) {
        Some(resource) => resource,
        None if is_claims(name) => "persistentvolumeclaims",
        None if is_services(name) => "services",
        None if is_counted(name) => name,
        None => "pods",
    }
}

/// The amounts at a JSON pointer; what is no quantity is left out.
pub fn amounts(object: &Value, pointer: &str) -> Amounts {
    let fields = object.pointer(pointer).and_then(Value::as_object);
    let amount =
        |(name, amount): (&String, &Value)| Some((name.clone(), amount.as_str()?.parse().ok()?));
    fields.into_iter().flatten().filter_map(amount).collect()
}

/// Amounts in their JSON form.
pub fn to_value(amounts: &Amounts) -> Value {
    let pair = |(name, amount): (&String, &Quantity)| (name.clone(), amount.to_string().into());
    Value::Object(amounts.iter().map(pair).collect())
}

/// Adds amounts to others, name by name.
pub fn add(sums: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = sums.entry(name.clone()).or_default();
        *sum = *sum + *amount;
    }
}

/// Whether an object of a resource is in all scopes of a quota.
pub fn is_in_scope(quota: &Value, resource: &str, object: &Value) -> bool {
    let terms = scope::terms(quota);
    terms.is_empty() || resource == "pods" && terms.iter().all(|term| term.holds(object))
}

/// The resources that a quota counts, by the names in its `spec.hard`.
pub fn counted_resources(quota: &Value) -> BTreeSet<String> {
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object);
    let names = hard.into_iter().flatten();
    names
        .map(|(name, _)| resource_of(name).to_owned())
        .collect()
}

/// What all `objects` of the counted resources use together of what `spec.hard` names.
pub fn used<'a>(
    quota: &Value,
    objects: impl IntoIterator<Item = (&'a str, &'a Value)>,
    now: Timestamp,
) -> Amounts {
    let mut sums = amounts(quota, "/spec/hard");
    for sum in sums.values_mut() {
        *sum = Quantity::default();
    }
    for (resource, object) in objects {
        if is_in_scope(quota, resource, object) {
            let mut usage = usage(resource, object, now);
            usage.retain(|name, _| sums.contains_key(name));
            add(&mut sums, &usage);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_lead_to_resources() {
        let cases = [
            ("pods", "pods"),
            ("limits.cpu", "pods"),
            ("requests.example.com/gpu", "pods"),
            ("requests.storage", "persistentvolumeclaims"),
            (
                "gold.storageclass.storage.k8s.io/requests.storage",
                "persistentvolumeclaims",
            ),
            ("services.nodeports", "services"),
            ("secrets", "secrets"),
            ("count/widgets.example.com", "widgets.example.com"),
        ];
        for (name, resource) in cases {
            assert_eq!(resource_of(name), resource, "{name}");
        }
    }

    #[test]
    fn what_is_used_is_the_sum_over_the_scope() {
        let pod = |cpu: &str, phase: &str| {
            json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]},
                "status": {"phase": phase}})
        };
        let (small, large, done) = (
            pod("500m", "Running"),
            pod("2", "Pending"),
            pod("9", "Failed"),
        );
        let map = json!({});
        let quota = json!({"spec": {"hard": {
            "pods": "5", "requests.cpu": "4", "count/pods": "9", "configmaps": "3", "secrets": "1"}}});
        let objects = [
            ("pods", &small),
            ("pods", &large),
            ("pods", &done),
            ("configmaps", &map),
        ];
        let sums = used(&quota, objects, Timestamp::UNIX_EPOCH);
        let expected = json!({"pods": "2", "requests.cpu": "2500m", "count/pods": "3",
            "configmaps": "1", "secrets": "0"});
        assert_eq!(to_value(&sums), expected);
        let scoped = json!({"spec": {"hard": {"pods": "5"}, "scopes": ["BestEffort"]}});
        assert_eq!(
            to_value(&used(&scoped, objects, Timestamp::UNIX_EPOCH)),
            json!({"pods": "0"})
        );
    }
}
