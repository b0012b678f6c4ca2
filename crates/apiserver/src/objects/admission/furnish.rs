//! What new objects get beyond the defaults of their kind, as from the admission plugins that every
//! Kubernetes API server has.
//!
//! | objects | get |
//! |---|---|
//! | claims and volumes | the finalizer that keeps them while they are in use |
//! | claims that leave their class open | the default class, if there is one |
//! | Pods | tolerations that keep them for five minutes on a node that is away |
//! | Pods | a token of their account, where programs look for it |

use serde_json::{Map, Value, json};

use super::super::Objects;
use crate::kind::Kind;
use crate::meta;
use crate::store::Key;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const OLDER_CLASS: &str = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";

/// How long a Pod stays on a node that is away, in seconds.
const PATIENCE: i64 = 300;
/// What is wrong with a node that is away.
const AWAY: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// Where programs look for the token of their account.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Start of the name of the volume that has it.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// Life of the token in seconds: an hour, and what tells it from one that somebody asked for.
const TOKEN_LIFE: i64 = 3607;

impl Objects {
    /// Completes a new object.
    pub(super) fn furnish(&self, kind: &Kind, object: &mut Value) {
        if kind.is("", "persistentvolumeclaims") {
            add_finalizer(object, "kubernetes.io/pvc-protection");
            self.choose_class(object);
        } else if kind.is("", "persistentvolumes") {
            add_finalizer(object, "kubernetes.io/pv-protection");
        } else if kind.is("", "pods") {
            tolerate_absence(object);
            self.give_account(object);
        }
    }

    fn choose_class(&self, claim: &mut Value) {
        let is_open = claim
            .pointer("/spec/storageClassName")
            .is_none_or(Value::is_null)
            && claim.pointer(OLDER_CLASS).is_none();
        if is_open && let Some(class) = self.default_storage_class() {
            meta::child_mut(claim, "spec").insert("storageClassName".into(), class.into());
        }
    }

    /// The newest default class; of equally new ones, the first by name.
    fn default_storage_class(&self) -> Option<String> {
        let classes = self.store.list("storageclasses.storage.k8s.io", None);
        let classes = classes.iter().map(|class| class.value());
        let defaults =
            classes.filter(|class| class["metadata"]["annotations"][DEFAULT_CLASS] == "true");
        let created = |class: &Value| meta::text(class, "/metadata/creationTimestamp").to_owned();
        let newest = defaults.reduce(|best, class| {
            if created(&class) > created(&best) {
                class
            } else {
                best
            }
        });
        newest.map(|class| meta::name(&class).to_owned())
    }

    /// What a Pod has from its account: names of pull secrets, and a token in each container that
    /// has nothing else in that place.
    fn give_account(&self, pod: &mut Value) {
        let account = self.store.get(&Key {
            resource: "serviceaccounts".into(),
            namespace: meta::namespace(pod).into(),
            name: meta::text(pod, "/spec/serviceAccountName").into(),
        });
        let account = account.map_or(Value::Null, |account| account.value());
        let secrets = &account["imagePullSecrets"];
        if secrets.is_array() && pod.pointer("/spec/imagePullSecrets").is_none() {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
        let wish = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_bool);
        let wanted = wish(pod, "/spec/automountServiceAccountToken")
            .or_else(|| wish(&account, "/automountServiceAccountToken"));
        if wanted.unwrap_or(true) {
            mount_token(pod);
        }
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let mut finalizers: Vec<_> = meta::finalizers(object)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(finalizer.to_owned());
        meta::metadata_mut(object).insert("finalizers".into(), json!(finalizers));
    }
}

fn tolerate_absence(pod: &mut Value) {
    let tolerations = pod.pointer("/spec/tolerations").and_then(Value::as_array);
    let mut tolerations = tolerations.cloned().unwrap_or_default();
    for key in AWAY {
        let is_met = |toleration: &Value| {
            let (own, effect) = (
                meta::text(toleration, "/key"),
                meta::text(toleration, "/effect"),
            );
            (own.is_empty() || own == key) && (effect.is_empty() || effect == "NoExecute")
        };
        if !tolerations.iter().any(is_met) {
            tolerations.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": PATIENCE}),
            );
        }
    }
    meta::child_mut(pod, "spec").insert("tolerations".into(), tolerations.into());
}

fn mount_token(pod: &mut Value) {
    let name = meta::generated_name(TOKEN_VOLUME);
    let mount = json!({"name": name, "readOnly": true, "mountPath": TOKEN_FOLDER});
    let spec = meta::child_mut(pod, "spec");
    let mut is_used = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let is_taken = mounts(container)
                .iter()
                .any(|m| m["mountPath"] == TOKEN_FOLDER);
            if let Value::Object(fields) = container
                && !is_taken
            {
                push(fields, "volumeMounts", mount.clone());
                is_used = true;
            }
        }
    }
    if is_used {
        push(spec, "volumes", token_volume(&name));
    }
}

fn mounts(container: &Value) -> &[Value] {
    let mounts = container.get("volumeMounts").and_then(Value::as_array);
    mounts.map_or(&[], Vec::as_slice)
}

fn push(fields: &mut Map<String, Value>, list: &str, item: Value) {
    match fields.get_mut(list) {
        Some(Value::Array(items)) => items.push(item),
        _ => drop(fields.insert(list.into(), json!([item]))),
    }
}

fn token_volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFE, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_tolerates_already_is_left() {
        let mut pod = json!({"spec": {"tolerations": [
            {"key": AWAY[0], "operator": "Exists", "tolerationSeconds": 5}]}});
        tolerate_absence(&mut pod);
        let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
        let seconds: Vec<_> = tolerations
            .iter()
            .map(|t| &t["tolerationSeconds"])
            .collect();
        assert_eq!(seconds, [5, 300]);
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        tolerate_absence(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_token_comes_where_nothing_else_is() {
        let own = json!([{"name": "mine", "mountPath": TOKEN_FOLDER}]);
        let mut pod = json!({"spec": {"containers": [
            {"name": "a"}, {"name": "b", "volumeMounts": own}]}});
        mount_token(&mut pod);
        let spec = &pod["spec"];
        let name = spec["volumes"][0]["name"].as_str().unwrap();
        assert!(name.starts_with(TOKEN_VOLUME) && name.len() == TOKEN_VOLUME.len() + 5);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], name);
        assert_eq!(spec["containers"][1]["volumeMounts"], own);
        let mut pod = json!({"spec": {"containers": [{"name": "b", "volumeMounts": own}]}});
        mount_token(&mut pod);
        assert_eq!(pod["spec"].get("volumes"), None);
    }
}
