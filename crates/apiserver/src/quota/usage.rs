//! What one object uses.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Amounts, COUNT, OF_CLASS, add, amounts, is_counted};
use crate::meta::text;
use crate::schema::quantity::Quantity;

/// What an object of a resource (`plural` or `plural.group`) uses of everything that has a name.
pub fn usage(resource: &str, object: &Value, now: Timestamp) -> Amounts {
    let mut usage = match resource {
        "pods" => pod(object, now),
        "persistentvolumeclaims" => claim(object),
        "services" => service(object),
        _ if is_counted(resource) => Amounts::from([(resource.to_owned(), Quantity::from(1))]),
        _ => Amounts::new(),
    };
    usage.insert(format!("{COUNT}{resource}"), 1.into());
    usage
}

/// A Pod that has ended uses nothing, nor does one that should have ended by now.
fn pod(pod: &Value, now: Timestamp) -> Amounts {
    let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    if ended || is_overdue(pod, now) {
        return Amounts::new();
    }
    let mut usage = Amounts::from([("pods".to_owned(), Quantity::from(1))]);
    for (name, amount) in pod_totals(pod, "requests") {
        if matches!(&*name, "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-")
        {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in pod_totals(pod, "limits") {
        if matches!(&*name, "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
    usage
}

fn is_overdue(pod: &Value, now: Timestamp) -> bool {
    let deleted = text(pod, "/metadata/deletionTimestamp").parse::<Timestamp>();
    let grace = pod.pointer("/metadata/deletionGracePeriodSeconds");
    let Some((deleted, grace)) = deleted.ok().zip(grace.and_then(Value::as_i64)) else {
        return false;
    };
    now.duration_since(deleted) > SignedDuration::from_secs(grace)
}

/// The `requests` or `limits` of a whole Pod: of its containers together or, if that is more, of
/// an init container with the sidecars that were started before it; and the overhead.
pub(crate) fn pod_totals(pod: &Value, which: &str) -> Amounts {
    let containers = |pointer| {
        pod.pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let own = |container: &Value| amounts(container, &format!("/resources/{which}"));
    let mut totals = Amounts::new();
    for container in containers("/spec/containers") {
        add(&mut totals, &own(container));
    }
    let (mut sidecars, mut peaks) = (Amounts::new(), Amounts::new());
    for container in containers("/spec/initContainers") {
        let mut here = own(container);
        if text(container, "/restartPolicy") == "Always" {
            add(&mut sidecars, &here);
            here.clone_from(&sidecars);
        } else {
            add(&mut here, &sidecars);
        }
        raise(&mut peaks, here);
    }
    add(&mut totals, &sidecars);
    raise(&mut totals, peaks);
    if which == "requests" || !totals.is_empty() {
        add(&mut totals, &amounts(pod, "/spec/overhead"));
    }
    totals
}

/// Takes the larger amount of each name.
fn raise(amounts: &mut Amounts, others: Amounts) {
    for (name, other) in others {
        let amount = amounts.entry(name).or_default();
        *amount = other.max(*amount);
    }
}

fn claim(claim: &Value) -> Amounts {
    let mut usage = Amounts::from([("persistentvolumeclaims".to_owned(), Quantity::from(1))]);
    let size = |pointer: &str| text(claim, pointer).parse::<Quantity>().ok();
    let asked = size("/spec/resources/requests/storage");
    // A claim that shrank back after a failed growth may still hold what it was given.
    let given = size("/status/allocatedResources/storage");
    if let Some(size) = asked.max(given.filter(|_| asked.is_some())) {
        usage.insert("requests.storage".to_owned(), size.rounded_up());
    }
    let older = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";
    let class = match text(claim, older) {
        "" => text(claim, "/spec/storageClassName"),
        class => class,
    };
    if !class.is_empty() {
        let of_class = usage
            .iter()
            .map(|(name, amount)| (format!("{class}{OF_CLASS}{name}"), *amount));
        let of_class: Vec<_> = of_class.collect();
        usage.extend(of_class);
    }
    usage
}

fn service(service: &Value) -> Amounts {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let ports = || ports.into_iter().flatten();
    let (balancers, node_ports) = match text(service, "/spec/type") {
        "NodePort" => (0, ports().count()),
        "LoadBalancer"
            if service.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&false.into()) =>
        {
            (
                1,
                ports()
                    .filter(|port| port["nodePort"].as_i64() > Some(0))
                    .count(),
            )
        }
        "LoadBalancer" => (1, ports().count()),
        _ => (0, 0),
    };
    let count = |count: usize| Quantity::from(i64::try_from(count).unwrap_or(i64::MAX));
    Amounts::from([
        ("services".to_owned(), 1.into()),
        ("services.loadbalancers".to_owned(), balancers.into()),
        ("services.nodeports".to_owned(), count(node_ports)),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::to_value;
    use super::*;

    fn shown(resource: &str, object: &Value) -> Value {
        to_value(&usage(resource, object, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_pod_uses_what_its_containers_ask_for() {
        let resources = |cpu: &str| json!({"requests": {"cpu": cpu, "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}});
        let pod = json!({"spec": {"containers": [{"resources": resources("1")}, {"resources": resources("500m")}]}});
        assert_eq!(
            shown("pods", &pod),
            json!({"count/pods": "1", "pods": "1", "cpu": "1500m", "requests.cpu": "1500m",
                "requests.example.com/gpu": "2", "limits.memory": "2Gi"})
        );
    }

    #[test]
    fn init_containers_count_when_they_need_more() {
        let container = |cpu: &str, policy: &str| {
            json!({"restartPolicy": policy,
            "resources": {"requests": {"cpu": cpu}}})
        };
        let pod = json!({"spec": {
            "containers": [container("1", "")], "overhead": {"cpu": "100m"},
            "initContainers": [container("2", "Always"), container("5", ""), container("1", "")]}});
        assert_eq!(
            to_value(&pod_totals(&pod, "requests")),
            json!({"cpu": "7100m"})
        );
    }

    #[test]
    fn a_pod_that_has_ended_or_should_have_is_only_an_object() {
        let only = json!({"count/pods": "1"});
        assert_eq!(shown("pods", &json!({"status": {"phase": "Failed"}})), only);
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 30}});
        let at = |seconds| {
            let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            to_value(&usage(
                "pods",
                &deleted,
                start + SignedDuration::from_secs(seconds),
            ))
        };
        assert_eq!(at(31), only);
        assert_eq!(at(30)["pods"], "1");
    }

    #[test]
    fn claims_are_counted_for_their_class_too() {
        let claim = json!({"spec": {"storageClassName": "gold",
            "resources": {"requests": {"storage": "1.5"}}}});
        assert_eq!(
            shown("persistentvolumeclaims", &claim),
            json!({"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1",
                "requests.storage": "2",
                "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "gold.storageclass.storage.k8s.io/requests.storage": "2"})
        );
    }

    #[test]
    fn services_use_ports_by_their_type() {
        let service = |type_: &str| {
            let service = json!({"spec": {"type": type_, "ports": [{"port": 1}, {"port": 2}]}});
            let usage = shown("services", &service);
            (
                usage["services.loadbalancers"].clone(),
                usage["services.nodeports"].clone(),
            )
        };
        assert_eq!(service("ClusterIP"), ("0".into(), "0".into()));
        assert_eq!(service("NodePort"), ("0".into(), "2".into()));
        assert_eq!(service("LoadBalancer"), ("1".into(), "2".into()));
    }
}
