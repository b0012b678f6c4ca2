//! What a Pod says without saying it.

use serde_json::{Map, Value, json};

use super::super::access::{fill, list, map};
use crate::schema::quantity::Quantity;

type Fields = Map<String, Value>;

/// Fills the defaults of a new Pod.
pub(super) fn default(pod: &mut Value) {
    let fields = map(pod, "spec");
    spec(fields);
    fill(fields, "enableServiceLinks", true);
    fill(fields, "serviceAccountName", "default");
    let account = fields["serviceAccountName"].clone();
    fill(fields, "serviceAccount", account);
    for name in ["containers", "initContainers"] {
        objects(fields, name).for_each(requests);
    }
    let qos = qos_class(&Value::Object(fields.clone()));
    let status = map(pod, "status");
    fill(status, "phase", "Pending");
    fill(status, "qosClass", qos);
}

/// Fills the defaults that a Pod shares with templates of Pods.
pub(in crate::builtin) fn spec(spec: &mut Fields) {
    fill(spec, "restartPolicy", "Always");
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    for name in ["containers", "initContainers"] {
        objects(spec, name).for_each(container);
    }
    objects(spec, "volumes").for_each(volume);
}

/// What a container may use it also asks for, where it does not say.
fn requests(container: &mut Fields) {
    if let Some(Value::Object(resources)) = container.get_mut("resources")
        && let Some(Value::Object(limits)) = resources.get("limits").cloned()
    {
        fill(resources, "requests", json!({}));
        if let Some(Value::Object(requests)) = resources.get_mut("requests") {
            limits
                .into_iter()
                .for_each(|(name, limit)| fill(requests, &name, limit));
        }
    }
}

fn objects<'a>(parent: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    let items = parent.get_mut(name).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn container(container: &mut Fields) {
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    fill(container, "imagePullPolicy", policy);
    fill(container, "resources", json!({}));
    objects(container, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    for entry in objects(container, "env") {
        if let Some(Value::Object(field)) = entry
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fieldRef"))
        {
            fill(field, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(fields)) = container.get_mut(name) {
            probe(fields);
        }
    }
}

/// Without a tag an image is its latest one.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Fields) {
    fill(probe, "timeoutSeconds", 1);
    fill(probe, "periodSeconds", 10);
    fill(probe, "successThreshold", 1);
    fill(probe, "failureThreshold", 3);
    if let Some(Value::Object(get)) = probe.get_mut("httpGet") {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Fields) {
    if volume.len() == 1 && volume.contains_key("name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(Value::Object(source)) = volume.get_mut(source) {
            fill(source, "defaultMode", 0o644);
        }
    }
    if let Some(Value::Object(host_path)) = volume.get_mut("hostPath") {
        host_path.entry("type").or_insert_with(|| "".into());
    }
}

/// Pod documentation, "Quality of Service classes".
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let containers: Vec<_> = list(spec, "/containers")
        .iter()
        .chain(list(spec, "/initContainers"))
        .collect();
    let get = |container: &Value, which: &str, resource: &str| {
        let amount = container.pointer(&format!("/resources/{which}/{resource}"))?;
        let amount: Quantity = amount.as_str()?.parse().ok()?;
        (!amount.is_zero()).then_some(amount)
    };
    let resources = ["cpu", "memory"];
    let none = containers.iter().all(|container| {
        resources.iter().all(|resource| {
            get(container, "limits", resource).is_none()
                && get(container, "requests", resource).is_none()
        })
    });
    let all = containers.iter().all(|container| {
        resources.iter().all(|resource| {
            let limit = get(container, "limits", resource);
            limit.is_some() && limit == get(container, "requests", resource)
        })
    });
    if none {
        "BestEffort"
    } else if all {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_a_small_pod() {
        let mut pod = json!({"spec": {
            "containers": [{"name": "a", "image": "registry:5000/x",
                "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}}],
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]}});
        default(&mut pod);
        let spec = &pod["spec"];
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(spec["containers"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(
            spec["containers"][0]["resources"]["requests"],
            json!({"cpu": "1"})
        );
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
        assert_eq!(
            pod["status"],
            json!({"phase": "Pending", "qosClass": "Burstable"})
        );
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, latest) in [("a", true), ("a:1", false), ("h:5000/a:latest", true)] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
