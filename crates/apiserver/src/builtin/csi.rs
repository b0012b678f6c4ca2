//! What CSI drivers say about themselves: CSIDriver, CSINode, CSIStorageCapacity.

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{count, fill, is_true, list, map, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;

pub(super) const DRIVER_COLUMNS: &[Col] = &[
    Col::new(
        "AttachRequired",
        "Whether volumes are attached first.",
        |driver| {
            driver
                .pointer("/spec/attachRequired")
                .cloned()
                .unwrap_or(true.into())
        },
    )
    .of("boolean"),
    Col::new(
        "PodInfoOnMount",
        "Whether the driver is told about Pods.",
        |driver| {
            driver
                .pointer("/spec/podInfoOnMount")
                .cloned()
                .unwrap_or(false.into())
        },
    )
    .of("boolean"),
    Col::new(
        "StorageCapacity",
        "Whether free space matters for placement.",
        |driver| {
            driver
                .pointer("/spec/storageCapacity")
                .cloned()
                .unwrap_or(false.into())
        },
    )
    .of("boolean"),
    Col::new(
        "TokenRequests",
        "Audiences of the tokens that the driver gets.",
        |driver| {
            let requests = list(driver, "/spec/tokenRequests");
            joined(requests.iter().map(|request| text(request, "/audience"))).into()
        },
    ),
    Col::new(
        "RequiresRepublish",
        "Whether volumes are published again from time to time.",
        |d| {
            d.pointer("/spec/requiresRepublish")
                .cloned()
                .unwrap_or(false.into())
        },
    )
    .of("boolean"),
    Col::new(
        "Modes",
        "Volume modes that the driver supports.",
        |driver| {
            let modes = list(driver, "/spec/volumeLifecycleModes");
            joined(modes.iter().filter_map(Value::as_str)).into()
        },
    ),
    AGE,
];

pub(super) const DRIVER_HOOKS: Hooks = Hooks {
    default: Some(driver_default),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const NODE_COLUMNS: &[Col] = &[
    Col::new("Drivers", "Number of drivers on the node.", |node| {
        count(node, "/spec/drivers").into()
    })
    .of("integer"),
    AGE,
];

pub(super) const NODE_HOOKS: Hooks = Hooks {
    validate: Some(node_validate),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const CAPACITY_COLUMNS: &[Col] = &[
    Col::new(
        "StorageClass",
        "The class that the capacity is of.",
        |capacity| text(capacity, "/storageClassName").into(),
    ),
    Col::new("Capacity", "Space that is free.", |capacity| {
        text(capacity, "/capacity").into()
    }),
];

pub(super) const CAPACITY_HOOKS: Hooks = Hooks {
    validate: Some(capacity_validate),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const ATTACHMENT_COLUMNS: &[Col] = &[
    Col::new(
        "Attacher",
        "The driver that attaches the volume.",
        |attachment| text(attachment, "/spec/attacher").into(),
    ),
    Col::new("PV", "The volume.", |attachment| {
        text(attachment, "/spec/source/persistentVolumeName").into()
    }),
    Col::new("Node", "Where it is attached.", |attachment| {
        text(attachment, "/spec/nodeName").into()
    }),
    Col::new("Attached", "Whether it is attached.", |attachment| {
        is_true(attachment, "/status/attached").into()
    })
    .of("boolean"),
    AGE,
];

pub(super) const ATTACHMENT_HOOKS: Hooks = Hooks {
    default: Some(|attachment| fill(map(attachment, "status"), "attached", false)),
    validate: Some(attachment_validate),
    no_generation: true,
    ..NO_HOOKS
};

fn driver_default(driver: &mut Value) {
    let spec = map(driver, "spec");
    fill(spec, "attachRequired", true);
    fill(spec, "podInfoOnMount", false);
    fill(spec, "storageCapacity", false);
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    fill(spec, "requiresRepublish", false);
    fill(spec, "seLinuxMount", false);
    fill(spec, "volumeLifecycleModes", json!(["Persistent"]));
}

/// A driver that is registered keeps its node identity.
fn node_validate(node: &Value, old: Option<&Value>) -> Vec<Cause> {
    let known = old.map_or(&[][..], |old| list(old, "/spec/drivers"));
    let mut causes = Vec::new();
    for (index, driver) in list(node, "/spec/drivers").iter().enumerate() {
        let before = known.iter().find(|known| known["name"] == driver["name"]);
        if before.is_some_and(|before| before["nodeID"] != driver["nodeID"]) {
            let path = format!("spec.drivers[{index}].nodeID");
            causes.push(cause::invalid(
                path,
                &driver["nodeID"],
                "field is immutable",
            ));
        }
    }
    causes
}

fn capacity_validate(capacity: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if text(capacity, "/storageClassName").is_empty() {
        causes.push(cause::required("storageClassName", ""));
    }
    for field in ["nodeTopology", "storageClassName"] {
        if old.is_some_and(|old| old.get(field) != capacity.get(field)) {
            let value = capacity.get(field).unwrap_or(&Value::Null);
            causes.push(cause::invalid(field, value, "field is immutable"));
        }
    }
    causes
}

/// A volume that is attached stays that volume, on that node.
fn attachment_validate(attachment: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["attacher", "nodeName"] {
        let value = attachment.pointer(&format!("/spec/{field}"));
        if value.is_some_and(|value| value == "") {
            causes.push(cause::required(format!("spec.{field}"), ""));
        }
    }
    if let Some(old) = old
        && old.get("spec") != attachment.get("spec")
    {
        let spec = attachment.get("spec").unwrap_or(&Value::Null);
        causes.push(cause::invalid("spec", spec, "field is immutable"));
    }
    causes
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        "<unset>".to_owned()
    } else {
        names.join(",")
    }
}
