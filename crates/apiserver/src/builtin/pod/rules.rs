//! What a Pod must be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::access::{list, text, without};
use crate::schema::cause;
use crate::status::Cause;

/// Checks a new Pod, or a change of one.
pub(super) fn validate(pod: &Value, old: Option<&Value>) -> Vec<Cause> {
    match old {
        Some(old) => changes(pod, old),
        None => new(pod),
    }
}

fn new(pod: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if list(pod, "/spec/containers").is_empty() {
        causes.push(cause::required("spec.containers", ""));
    }
    let volumes = list(pod, "/spec/volumes");
    unique(&mut causes, "spec.volumes", volumes.iter());
    let names: BTreeSet<_> = volumes.iter().map(|volume| text(volume, "/name")).collect();
    for field in ["initContainers", "containers"] {
        let containers = list(pod, &format!("/spec/{field}"));
        let path = format!("spec.{field}");
        unique(&mut causes, &path, containers.iter());
        for (index, item) in containers.iter().enumerate() {
            container(&mut causes, &format!("{path}[{index}]"), item, &names);
        }
    }
    let policies = ["Always", "Never", "OnFailure"];
    if let Some(policy) = pod.pointer("/spec/restartPolicy")
        && !policies.iter().any(|known| policy == known)
    {
        let policies = ["Always", "OnFailure", "Never"];
        causes.push(cause::unsupported("spec.restartPolicy", policy, policies));
    }
    causes
}

fn container(causes: &mut Vec<Cause>, path: &str, container: &Value, volumes: &BTreeSet<&str>) {
    if container.get("name").is_some() && text(container, "/name").is_empty() {
        causes.push(cause::required(format!("{path}.name"), ""));
    }
    if text(container, "/image").is_empty() {
        causes.push(cause::required(format!("{path}.image"), ""));
    }
    for field in ["volumeMounts", "volumeDevices"] {
        for (index, mount) in list(container, &format!("/{field}")).iter().enumerate() {
            let name = text(mount, "/name");
            if !volumes.contains(name) {
                causes.push(Cause {
                    reason: "FieldValueNotFound",
                    message: format!("Not found: {}", cause::quote(name)),
                    field: format!("{path}.{field}[{index}].name"),
                });
            }
        }
    }
}

fn unique<'a>(causes: &mut Vec<Cause>, path: &str, items: impl Iterator<Item = &'a Value>) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.enumerate() {
        let name = text(item, "/name");
        if !name.is_empty() && !seen.insert(name) {
            causes.push(cause::duplicate(
                format!("{path}[{index}].name"),
                &name.into(),
            ));
        }
    }
}

/// A Pod's process is started once, so its description hardly changes.
fn changes(pod: &Value, old: &Value) -> Vec<Cause> {
    let unbound = text(old, "/spec/nodeName").is_empty();
    if frozen(pod, unbound) == frozen(old, unbound) {
        return Vec::new();
    }
    let detail = "pod updates may not change fields other than \
                  `spec.containers[*].image`,`spec.initContainers[*].image`,\
                  `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                  tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it \
                  was previously negative)";
    vec![cause::forbidden("spec", detail)]
}

/// The part of the spec that may not change. Binding to a node, once, is a change too.
fn frozen(pod: &Value, unbound: bool) -> Value {
    let mut free = vec![
        "activeDeadlineSeconds",
        "tolerations",
        "ephemeralContainers",
    ];
    if unbound {
        free.extend(["nodeName", "schedulingGates"]);
    }
    let mut spec = without(pod.get("spec").unwrap_or(&json!({})), &free);
    for name in ["containers", "initContainers"] {
        for container in spec
            .get_mut(name)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            *container = without(container, &["image"]);
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_containers_with_known_volumes() {
        assert_eq!(new(&json!({"spec": {}}))[0].field, "spec.containers");
        let pod = json!({"spec": {"restartPolicy": "Maybe", "containers": [
            {"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            {"name": "a", "image": "x"}]}});
        let found: Vec<_> = new(&pod)
            .into_iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        assert_eq!(
            found,
            [
                r#"spec.containers[1].name: Duplicate value: "a""#,
                "spec.containers[0].image: Required value",
                r#"spec.containers[0].volumeMounts[0].name: Not found: "v""#,
                r#"spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never""#,
            ]
        );
    }

    #[test]
    fn only_the_image_and_the_binding_change() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "1"}]}});
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = "2".into();
        new["spec"]["nodeName"] = "n".into();
        assert_eq!(changes(&new, &old), Vec::new());
        let mut moved = new.clone();
        moved["spec"]["nodeName"] = "m".into();
        assert_eq!(changes(&moved, &new)[0].field, "spec");
    }
}
