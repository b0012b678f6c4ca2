//! What a Pod must be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::access::{list, text, without};
use super::paths;
use crate::meta::names;
use crate::schema::cause;
use crate::status::Cause;

/// Checks a new Pod, or a change of one.
pub(super) fn validate(pod: &Value, old: Option<&Value>) -> Vec<Cause> {
    match old {
        Some(old) => changes(pod, old),
        None => new(pod),
    }
}

/// The faults of a new Pod, or of a template of Pods.
pub(in crate::builtin) fn new(pod: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if list(pod, "/spec/containers").is_empty() {
        causes.push(cause::required("spec.containers", ""));
    }
    let volumes = list(pod, "/spec/volumes");
    let mut names = BTreeSet::new();
    labels(&mut causes, "spec.volumes", volumes, &mut names);
    for (index, volume) in volumes.iter().enumerate() {
        paths::volume(&mut causes, &format!("spec.volumes[{index}]"), volume);
    }
    let mut taken = BTreeSet::new();
    for field in ["containers", "initContainers"] {
        let containers = list(pod, &format!("/spec/{field}"));
        let path = format!("spec.{field}");
        labels(&mut causes, &path, containers, &mut taken);
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
    paths::mounts(causes, path, container);
}

/// The names of volumes and containers are unique DNS labels (RFC 1123). They also name folders.
fn labels<'a>(
    causes: &mut Vec<Cause>,
    path: &str,
    items: &'a [Value],
    taken: &mut BTreeSet<&'a str>,
) {
    for (index, item) in items.iter().enumerate() {
        // The schema asks for the field itself.
        let Some(name) = item.get("name").and_then(Value::as_str) else {
            continue;
        };
        let field = format!("{path}[{index}].name");
        if name.is_empty() {
            causes.push(cause::required(field, ""));
        } else if !taken.insert(name) {
            causes.push(cause::duplicate(field, &name.into()));
        } else {
            let faults = names::dns_label(name);
            causes.extend(
                faults
                    .iter()
                    .map(|f| cause::invalid(&*field, &name.into(), f)),
            );
        }
    }
}

/// A Pod's process is started once, so its description hardly changes.
fn changes(pod: &Value, old: &Value) -> Vec<Cause> {
    let listed = |pod, pointer: &str| list(pod, pointer).to_vec();
    let only_more = |less: &[Value], more: &[Value]| less.iter().all(|item| more.contains(item));
    let tolerations = [old, pod].map(|pod| listed(pod, "/spec/tolerations"));
    let gates = [pod, old].map(|pod| listed(pod, "/spec/schedulingGates"));
    if frozen(pod) == frozen(old)
        && only_more(&tolerations[0], &tolerations[1])
        && only_more(&gates[0], &gates[1])
    {
        return Vec::new();
    }
    let detail = "pod updates may not change fields other than \
                  `spec.containers[*].image`,`spec.initContainers[*].image`,\
                  `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                  tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it \
                  was previously negative)";
    vec![cause::forbidden("spec", detail)]
}

/// The part of the spec that may not change at all.
fn frozen(pod: &Value) -> Value {
    let free = ["activeDeadlineSeconds", "tolerations", "schedulingGates"];
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
    fn names_are_unique_labels() {
        let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
                     characters or '-', and must start and end with an alphanumeric character \
                     (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
        let pod = json!({"spec": {
            "volumes": [{"name": "/etc"}, {"name": ""}],
            "initContainers": [{"name": "a", "image": "x"}],
            "containers": [{"name": "a", "image": "x"}, {"name": "../b", "image": "x"}],
        }});
        let found: Vec<_> = new(&pod)
            .into_iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        assert_eq!(
            found,
            [
                format!(r#"spec.volumes[0].name: Invalid value: "/etc": {label}"#),
                "spec.volumes[1].name: Required value".to_owned(),
                format!(r#"spec.containers[1].name: Invalid value: "../b": {label}"#),
                r#"spec.initContainers[0].name: Duplicate value: "a""#.to_owned(),
            ]
        );
    }

    #[test]
    fn only_the_image_and_who_is_let_in_change() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "1"}],
            "schedulingGates": [{"name": "g"}]}});
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = "2".into();
        new["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        new["spec"]["schedulingGates"] = json!([]);
        assert_eq!(changes(&new, &old), Vec::new());
        assert_eq!(changes(&old, &new)[0].field, "spec");
        let mut moved = new.clone();
        moved["spec"]["nodeName"] = "m".into();
        assert_eq!(changes(&moved, &new)[0].field, "spec");
    }
}
