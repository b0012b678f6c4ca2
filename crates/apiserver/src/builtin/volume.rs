//! PersistentVolumes.

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{fill, list, map, text, without};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Capacity", "Size of the volume.", |pv| {
        text(pv, "/spec/capacity/storage").into()
    }),
    Col::new("Access Modes", "How the volume can be mounted.", |pv| {
        access_modes(list(pv, "/spec/accessModes")).into()
    }),
    Col::new(
        "Reclaim Policy",
        "What becomes of the volume without a claim.",
        |pv| text(pv, "/spec/persistentVolumeReclaimPolicy").into(),
    ),
    Col::new("Status", "Whether the volume has a claim.", |pv| {
        phase(pv).into()
    }),
    Col::new("Claim", "The claim that has the volume.", |pv| {
        match pv.pointer("/spec/claimRef") {
            Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")).into(),
            None => "".into(),
        }
    }),
    Col::new(
        "StorageClass",
        "The class that the volume belongs to.",
        |pv| storage_class(pv).into(),
    ),
    Col::new(
        "VolumeAttributesClass",
        "The attributes class of the volume.",
        |pv| or_unset(text(pv, "/spec/volumeAttributesClassName")),
    ),
    Col::new("Reason", "Why the volume is in its state.", |pv| {
        text(pv, "/status/reason").into()
    }),
    AGE,
    Col::new(
        "VolumeMode",
        "Whether the volume is a file system or a raw device.",
        |pv| or_unset(text(pv, "/spec/volumeMode")),
    )
    .wide(),
];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    no_generation: true,
    ..NO_HOOKS
};

/// The fields of a PersistentVolumeSpec that are not a volume source.
const OTHER_FIELDS: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// The phase of a volume or claim, as people see it.
pub(super) fn phase(object: &Value) -> &str {
    match object.pointer("/metadata/deletionTimestamp") {
        Some(_) => "Terminating",
        None => text(object, "/status/phase"),
    }
}

/// `RWO,ROX,RWX,RWOP`, in this order whatever the order of the list.
pub(super) fn access_modes(modes: &[Value]) -> String {
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let present = known
        .iter()
        .filter(|(mode, _)| modes.iter().any(|given| given == mode));
    present
        .map(|(_, short)| *short)
        .collect::<Vec<_>>()
        .join(",")
}

/// The class of a volume or claim; an annotation is the older way to give it.
pub(super) fn storage_class(object: &Value) -> &str {
    let older = text(
        object,
        "/metadata/annotations/volume.beta.kubernetes.io~1storage-class",
    );
    if older.is_empty() {
        text(object, "/spec/storageClassName")
    } else {
        older
    }
}

pub(super) fn or_unset(text: &str) -> Value {
    if text.is_empty() {
        "<unset>".into()
    } else {
        text.into()
    }
}

/// Access modes and volume mode of a volume or claim.
pub(super) fn check_modes(object: &Value, detail: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let modes = list(object, "/spec/accessModes");
    if modes.is_empty() {
        causes.push(cause::required("spec.accessModes", detail));
    }
    let known = [
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOnce",
        "ReadWriteOncePod",
    ];
    for mode in modes
        .iter()
        .filter(|mode| !known.iter().any(|known| mode == known))
    {
        causes.push(cause::unsupported("spec.accessModes", mode, known));
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        causes.push(cause::forbidden("spec.accessModes", detail));
    }
    let known = ["Block", "Filesystem"];
    if let Some(mode) = object.pointer("/spec/volumeMode")
        && !known.iter().any(|known| mode == known)
    {
        causes.push(cause::unsupported("spec.volumeMode", mode, known));
    }
    causes
}

fn default(pv: &mut Value) {
    let spec = map(pv, "spec");
    fill(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    if let Some(Value::Object(host_path)) = spec.get_mut("hostPath") {
        host_path.entry("type").or_insert_with(|| "".into());
    }
    fill(map(pv, "status"), "phase", "Pending");
}

fn validate(pv: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = check_modes(pv, "");
    if pv.pointer("/spec/capacity/storage").is_none() {
        causes.push(cause::required("spec.capacity", ""));
    }
    let spec = pv.get("spec").unwrap_or(&Value::Null);
    let source = without(spec, OTHER_FIELDS);
    if source.as_object().is_none_or(serde_json::Map::is_empty) {
        causes.push(cause::required("spec", "must specify a volume type"));
    }
    if source.get("local").is_some() && spec.get("nodeAffinity").is_none() {
        let detail = "Local volume requires node affinity";
        causes.push(cause::required("spec.nodeAffinity", detail));
    }
    if let Some(value) = spec.get("persistentVolumeReclaimPolicy")
        && !["Delete", "Recycle", "Retain"]
            .iter()
            .any(|known| value == known)
    {
        let path = "spec.persistentVolumeReclaimPolicy";
        causes.push(cause::unsupported(
            path,
            value,
            ["Delete", "Recycle", "Retain"],
        ));
    }
    if let Some(old) = old {
        causes.extend(changes(
            spec,
            &source,
            old.get("spec").unwrap_or(&Value::Null),
        ));
    }
    causes
}

fn changes(spec: &Value, source: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if *source != without(old, OTHER_FIELDS) {
        causes.push(cause::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    let absent = json!(null);
    let (new, before) = (spec.get("volumeMode"), old.get("volumeMode"));
    if new != before {
        let value = new.unwrap_or(&absent);
        causes.push(cause::invalid(
            "spec.volumeMode",
            value,
            "field is immutable",
        ));
    }
    let (new, before) = (spec.get("nodeAffinity"), old.get("nodeAffinity"));
    if before.is_some() && new != before {
        let value = new.unwrap_or(&absent);
        causes.push(cause::invalid(
            "spec.nodeAffinity",
            value,
            "field is immutable",
        ));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_abbreviated_in_a_fixed_order() {
        let modes = [json!("ReadWriteMany"), json!("ReadWriteOnce")];
        assert_eq!(access_modes(&modes), "RWO,RWX");
    }

    #[test]
    fn a_volume_has_a_source_and_keeps_it() {
        let old = json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "csi": {"driver": "d", "volumeHandle": "v"}}});
        assert_eq!(validate(&old, None), Vec::new());
        let mut new = old.clone();
        new["spec"]["claimRef"] = json!({"name": "x"});
        assert_eq!(validate(&new, Some(&old)), Vec::new());
        new["spec"]["csi"]["volumeHandle"] = "w".into();
        assert_eq!(
            validate(&new, Some(&old))[0].field,
            "spec.persistentvolumesource"
        );
        let bare =
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}}});
        assert_eq!(
            validate(&bare, None)[0].message,
            "Required value: must specify a volume type"
        );
    }
}
