//! `LimitRange`s, one at a time (Kubernetes, "Limit Ranges").

use serde_json::{Map, Value};

use crate::builtin::pod::qos_class;
use crate::kind::Kind;
use crate::meta::{child_mut, text};
use crate::quota::{Amounts, amounts, pod_totals};
use crate::schema::quantity::Quantity;

/// Says what a Pod got from a range.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives a Pod's containers the requests and limits that they do not name themselves.
pub(super) fn fill(pod: &mut Value, range: &Value) {
    let mut given = Vec::new();
    for item in items(range).filter(|item| text(item, "/type") == "Container") {
        for (list, word) in [
            ("containers", "container"),
            ("initContainers", "init container"),
        ] {
            let containers = child_mut(pod, "spec").get_mut(list);
            let containers = containers
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten();
            for container in containers {
                let whom = format!("{word} {}", text(container, "/name"));
                for (which, source, word) in [
                    ("requests", "defaultRequest", "request"),
                    ("limits", "default", "limit"),
                ] {
                    let set = fill_one(container, which, item.get(source));
                    if !set.is_empty() {
                        given.push(format!("{} {word} for {whom}", set.join(", ")));
                    }
                }
            }
        }
    }
    if given.is_empty() {
        return;
    }
    let annotation = format!("LimitRanger plugin set: {}", given.join("; "));
    let metadata = &mut pod["metadata"];
    child_mut(metadata, "annotations").insert(ANNOTATION.to_owned(), annotation.into());
    let class = qos_class(&pod["spec"]);
    child_mut(pod, "status").insert("qosClass".to_owned(), class.into());
}

/// Sets what is missing of one container's `requests` or `limits`, and returns the names.
fn fill_one(container: &mut Value, which: &str, defaults: Option<&Value>) -> Vec<String> {
    let Some(defaults) = defaults
        .and_then(Value::as_object)
        .filter(|map| !map.is_empty())
    else {
        return Vec::new();
    };
    child_mut(container, "resources");
    let amounts: &mut Map<_, _> = child_mut(&mut container["resources"], which);
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if !amounts.contains_key(name) {
            amounts.insert(name.clone(), amount.clone());
            set.push(name.clone());
        }
    }
    set
}

/// Why a range does not allow a Pod or a claim.
pub(super) fn fault(kind: &Kind, object: &Value, range: &Value) -> Option<String> {
    let mut faults = Vec::new();
    for item in items(range) {
        let check = |requests, limits| check(item, &Asked { requests, limits });
        match text(item, "/type") {
            "Container" if kind.is("", "pods") => {
                let containers = ["/spec/containers", "/spec/initContainers"].into_iter();
                let containers = containers.filter_map(|list| object.pointer(list)?.as_array());
                faults.extend(containers.flatten().flat_map(|container| {
                    let asked = |which| amounts(container, &format!("/resources/{which}"));
                    check(asked("requests"), Some(asked("limits")))
                }));
            }
            "Pod" if kind.is("", "pods") => {
                let (requests, limits) =
                    (pod_totals(object, "requests"), pod_totals(object, "limits"));
                faults.extend(check(requests, Some(limits)));
            }
            "PersistentVolumeClaim" if kind.is("", "persistentvolumeclaims") => {
                faults.extend(check(amounts(object, "/spec/resources/requests"), None));
            }
            _ => {}
        }
    }
    let mut seen = Vec::new();
    faults.retain(|fault| {
        !seen.contains(fault) && {
            seen.push(fault.clone());
            true
        }
    });
    match faults.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

/// What one object asks for.
struct Asked {
    requests: Amounts,
    /// None for claims, which have no limits.
    limits: Option<Amounts>,
}

fn check(item: &Value, asked: &Asked) -> Vec<String> {
    let subject = text(item, "/type");
    let mut faults = Vec::new();
    for (name, min) in amounts(item, "/min") {
        faults.extend(
            too_little(&name, min, asked)
                .map(|why| format!("minimum {name} usage per {subject} is {min}{why}")),
        );
    }
    for (name, max) in amounts(item, "/max") {
        faults.extend(
            too_much(&name, max, asked)
                .map(|why| format!("maximum {name} usage per {subject} is {max}{why}")),
        );
    }
    for (name, ratio) in amounts(item, "/maxLimitRequestRatio") {
        faults.extend(too_stretched(&name, ratio, asked).map(|why| {
            format!("{name} max limit to request ratio per {subject} is {ratio}, but {why}")
        }));
    }
    faults
}

fn too_little(name: &str, min: Quantity, asked: &Asked) -> Option<String> {
    let Some(request) = asked.requests.get(name) else {
        return Some(".  No request is specified".to_owned());
    };
    if *request < min {
        return Some(format!(", but request is {request}"));
    }
    let limit = asked.limits.as_ref()?.get(name)?;
    (*limit < min).then(|| format!(", but limit is {limit}"))
}

fn too_much(name: &str, max: Quantity, asked: &Asked) -> Option<String> {
    let request = asked.requests.get(name);
    if let Some(limits) = &asked.limits {
        let Some(limit) = limits.get(name) else {
            return Some(".  No limit is specified".to_owned());
        };
        if *limit > max {
            return Some(format!(", but limit is {limit}"));
        }
    } else if request.is_none() {
        return Some(".  No request is specified".to_owned());
    }
    let request = request?;
    (*request > max).then(|| format!(", but request is {request}"))
}

fn too_stretched(name: &str, most: Quantity, asked: &Asked) -> Option<String> {
    let amount = |amounts: Option<&Amounts>| {
        let amount = amounts?.get(name).copied();
        amount.filter(|amount| !amount.is_zero())
    };
    let Some(request) = amount(Some(&asked.requests)) else {
        return Some("no request is specified or request is 0".to_owned());
    };
    let Some(limit) = amount(asked.limits.as_ref()) else {
        return Some("no limit is specified or limit is 0".to_owned());
    };
    let ratio = limit.ratio(&request);
    (ratio > most.ratio(&1.into())).then(|| format!("provided ratio is {ratio:.6}"))
}

fn items(range: &Value) -> impl Iterator<Item = &Value> {
    let items = range.pointer("/spec/limits").and_then(Value::as_array);
    items.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault_of(plural: &str, object: Value, item: Value) -> Option<String> {
        let kinds = crate::builtin::kinds();
        let kind = kinds.iter().find(|kind| kind.is("", plural)).unwrap();
        fault(kind, &object, &json!({"spec": {"limits": [item]}}))
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "a", "resources": resources}, {"name": "b", "resources": resources}]}})
    }

    #[test]
    fn what_a_container_does_not_say_it_gets() {
        let range = json!({"spec": {"limits": [{"type": "Container",
            "defaultRequest": {"cpu": "100m", "memory": "1Mi"}, "default": {"cpu": "1"}}]}});
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "a", "resources": {"requests": {"memory": "2Mi"}}}],
            "initContainers": [{"name": "i"}]}});
        fill(&mut pod, &range);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "100m", "memory": "2Mi"}, "limits": {"cpu": "1"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; cpu limit for container a; \
             cpu, memory request for init container i; cpu limit for init container i"
        );
        assert_eq!(pod["status"]["qosClass"], "Burstable");
    }

    #[test]
    fn bounds_of_containers_and_pods() {
        let max = |kind: &str| json!({"type": kind, "max": {"memory": "1Gi"}});
        let large = pod(json!({"limits": {"memory": "2Gi"}}));
        let expected = "maximum memory usage per Container is 1Gi, but limit is 2Gi";
        assert_eq!(
            fault_of("pods", large, max("Container")).as_deref(),
            Some(expected)
        );
        let two = pod(json!({"limits": {"memory": "600Mi"}, "requests": {"memory": "1Mi"}}));
        assert_eq!(fault_of("pods", two.clone(), max("Container")), None);
        let expected = "maximum memory usage per Pod is 1Gi, but limit is 1200Mi";
        assert_eq!(fault_of("pods", two, max("Pod")).as_deref(), Some(expected));
        let expected = "maximum memory usage per Container is 1Gi.  No limit is specified";
        let silent = fault_of("pods", pod(json!({})), max("Container"));
        assert_eq!(silent.as_deref(), Some(expected));
    }

    #[test]
    fn several_faults_are_told_together() {
        let item =
            json!({"type": "Container", "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}});
        let pod = pod(json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}}));
        assert_eq!(
            fault_of("pods", pod, item).as_deref(),
            Some(
                "[minimum cpu usage per Container is 1, but request is 500m, cpu max limit to \
                request ratio per Container is 2, but provided ratio is 4.000000]"
            )
        );
    }

    #[test]
    fn bounds_of_claims() {
        let item = json!({"type": "PersistentVolumeClaim",
            "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        let fault = |size: &str| fault_of("persistentvolumeclaims", claim(size), item.clone());
        assert_eq!(fault("1Gi"), None);
        assert_eq!(
            fault("512Mi").as_deref(),
            Some("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi")
        );
        assert_eq!(
            fault("3Gi").as_deref(),
            Some("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
        );
    }
}
