//! PersistentVolumeClaims.

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{count, fill, list, map, text};
use super::column::{AGE, Col};
use super::volume;
use crate::kind::Hooks;
use crate::schema::cause;
use crate::schema::quantity::Quantity;
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Status", "Whether the claim has a volume.", |claim| {
        volume::phase(claim).into()
    }),
    Col::new(
        "Volume",
        "The volume that the claim is bound to.",
        |claim| text(claim, "/spec/volumeName").into(),
    ),
    Col::new("Capacity", "Size of the volume.", |claim| {
        bound(claim, "/status/capacity/storage")
    }),
    Col::new("Access Modes", "How the volume can be mounted.", |claim| {
        let bound = !text(claim, "/spec/volumeName").is_empty();
        let modes = if bound {
            list(claim, "/status/accessModes")
        } else {
            &[]
        };
        volume::access_modes(modes).into()
    }),
    Col::new(
        "StorageClass",
        "The class that the claim asks for.",
        |claim| volume::storage_class(claim).into(),
    ),
    Col::new(
        "VolumeAttributesClass",
        "The attributes class that the claim asks for.",
        |claim| volume::or_unset(text(claim, "/spec/volumeAttributesClassName")),
    ),
    AGE,
    Col::new(
        "VolumeMode",
        "Whether the volume is a file system or a raw device.",
        |claim| volume::or_unset(text(claim, "/spec/volumeMode")),
    )
    .wide(),
];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    no_generation: true,
    ..NO_HOOKS
};

fn bound(claim: &Value, pointer: &str) -> Value {
    let bound = !text(claim, "/spec/volumeName").is_empty();
    if bound {
        text(claim, pointer).into()
    } else {
        "".into()
    }
}

fn default(claim: &mut Value) {
    let spec = map(claim, "spec");
    fill(spec, "volumeMode", "Filesystem");
    // `dataSource` and `dataSourceRef` say the same, unless the reference leaves the namespace.
    let local = spec
        .get("dataSourceRef")
        .is_some_and(|r| text(r, "/namespace").is_empty());
    if spec.contains_key("dataSource") && !spec.contains_key("dataSourceRef") {
        spec.insert("dataSourceRef".to_owned(), spec["dataSource"].clone());
    } else if local && !spec.contains_key("dataSource") {
        spec.insert("dataSource".to_owned(), spec["dataSourceRef"].clone());
    }
    fill(map(claim, "status"), "phase", "Pending");
}

fn validate(claim: &Value, old: Option<&Value>) -> Vec<Cause> {
    match old {
        Some(old) => changes(claim, old),
        None => new(claim),
    }
}

fn new(claim: &Value) -> Vec<Cause> {
    let mut causes = volume::check_modes(claim, "at least 1 access mode is required");
    match claim.pointer("/spec/resources/requests/storage") {
        None => causes.push(cause::required("spec.resources[storage]", "")),
        Some(size) if quantity(Some(size)).is_some_and(|q| q.is_negative() || q.is_zero()) => {
            let path = "spec.resources.requests.storage";
            causes.push(cause::invalid(path, size, "must be greater than zero"));
        }
        Some(_) => {}
    }
    let pairs = [
        ("dataSource", "/spec/dataSource"),
        ("dataSourceRef", "/spec/dataSourceRef"),
    ];
    for (name, pointer) in pairs {
        let Some(source) = claim.pointer(pointer) else {
            continue;
        };
        for field in ["kind", "name"] {
            if source.get(field).is_some() && text(source, &format!("/{field}")).is_empty() {
                causes.push(cause::required(format!("spec.{name}.{field}"), ""));
            }
        }
    }
    causes
}

/// A claim stays what it is, except that a volume can be set once and a bound one can grow.
fn changes(claim: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (mut before, mut after) = (spec(old), spec(claim));
    if text(&before, "/volumeName").is_empty() {
        before["volumeName"] = after["volumeName"].clone();
    }
    // Claims from before there was a default class get it later.
    if before.get("storageClassName").is_none_or(Value::is_null) {
        before["storageClassName"] = after["storageClassName"].clone();
    }
    if text(claim, "/status/phase") == "Bound" {
        if count(&after, "/resources/requests") > 0 {
            after["resources"]["requests"]["storage"] = before
                .pointer("/resources/requests/storage")
                .cloned()
                .unwrap_or_default();
        }
        after["volumeAttributesClassName"] = before["volumeAttributesClassName"].clone();
    }
    if dense(before) != dense(after) {
        causes.push(cause::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims",
        ));
    }
    let size = |claim: &Value| quantity(claim.pointer("/spec/resources/requests/storage"));
    let capacity = quantity(old.pointer("/status/capacity/storage"));
    if size(claim) < size(old) && capacity.is_some_and(|capacity| size(claim) <= Some(capacity)) {
        let path = "spec.resources.requests.storage";
        causes.push(cause::forbidden(
            path,
            "field can not be less than status.capacity",
        ));
    }
    causes
}

fn spec(claim: &Value) -> Value {
    claim
        .get("spec")
        .filter(|spec| spec.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}))
}

/// Without nulls and empty parts, which mean the same as none.
fn dense(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        for field in map.values_mut() {
            *field = dense(field.take());
        }
        map.retain(|_, field| !field.is_null() && field != &json!({}) && field != &json!(""));
    }
    value
}

fn quantity(value: Option<&Value>) -> Option<Quantity> {
    value?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Value {
        let mut claim = json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}});
        default(&mut claim);
        claim
    }

    fn faults(claim: &Value, old: Option<&Value>) -> Vec<String> {
        validate(claim, old)
            .into_iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect()
    }

    #[test]
    fn what_a_claim_must_say() {
        assert_eq!(faults(&claim(), None), Vec::<String>::new());
        assert_eq!(
            faults(&json!({"spec": {}}), None),
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ]
        );
        let mut wrong = claim();
        wrong["spec"]["accessModes"] = json!(["Any"]);
        wrong["spec"]["volumeMode"] = "Tape".into();
        wrong["spec"]["resources"]["requests"]["storage"] = "0".into();
        assert_eq!(
            faults(&wrong, None),
            [
                r#"spec.accessModes: Unsupported value: "Any": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod""#,
                r#"spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem""#,
                r#"spec.resources.requests.storage: Invalid value: "0": must be greater than zero"#,
            ]
        );
    }

    #[test]
    fn a_bound_claim_grows_and_nothing_else() {
        let mut old = claim();
        let mut new = old.clone();
        new["spec"]["volumeName"] = "pv".into();
        assert_eq!(faults(&new, Some(&old)), Vec::<String>::new(), "binding");
        new["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
        assert!(faults(&new, Some(&old))[0].starts_with("spec: Forbidden: spec is immutable"));

        old["spec"]["volumeName"] = "pv".into();
        old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        new["status"] = old["status"].clone();
        assert_eq!(faults(&new, Some(&old)), Vec::<String>::new(), "growing");
        new["spec"]["resources"]["requests"]["storage"] = "512Mi".into();
        assert_eq!(
            faults(&new, Some(&old)),
            [
                "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
            ]
        );
    }

    #[test]
    fn both_spellings_of_the_source_are_kept_alike() {
        let mut claim = json!({"spec": {"dataSourceRef": {"kind": "K", "name": "n"}}});
        default(&mut claim);
        assert_eq!(
            claim["spec"]["dataSource"],
            json!({"kind": "K", "name": "n"})
        );
    }
}
