//! Nodes.

use serde_json::Value;

use super::NO_HOOKS;
use super::access::{is_true, list, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Status", "The status of the node", |node| {
        status(node).into()
    }),
    Col::new("Roles", "The roles of the node", |node| roles(node).into()),
    AGE,
    Col::new("Version", "Kubelet Version reported by the node.", |node| {
        text(node, "/status/nodeInfo/kubeletVersion").into()
    }),
    Col::new(
        "Internal-IP",
        "Address of the node inside its network.",
        |node| address(node, "InternalIP").into(),
    )
    .wide(),
    Col::new("External-IP", "Address of the node for others.", |node| {
        address(node, "ExternalIP").into()
    })
    .wide(),
    Col::new("OS-Image", "Operating system of the node.", |node| {
        info(node, "osImage")
    })
    .wide(),
    Col::new("Kernel-Version", "Kernel of the node.", |node| {
        info(node, "kernelVersion")
    })
    .wide(),
    Col::new("Container-Runtime", "What runs the containers.", |node| {
        info(node, "containerRuntimeVersion")
    })
    .wide(),
];

pub(super) const HOOKS: Hooks = Hooks {
    fields: Some(|node| {
        vec![(
            "spec.unschedulable",
            is_true(node, "/spec/unschedulable").to_string(),
        )]
    }),
    no_generation: true,
    ..NO_HOOKS
};

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions")
        .iter()
        .find(|c| c["type"] == "Ready");
    let ready = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = is_true(node, "/spec/unschedulable");
    if cordoned {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let role = |(key, value): (&String, &Value)| match key.strip_prefix("node-role.kubernetes.io/")
    {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let roles: Vec<_> = labels.into_iter().flatten().filter_map(role).collect();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn address<'a>(node: &'a Value, type_: &str) -> &'a str {
    let found = list(node, "/status/addresses")
        .iter()
        .find(|address| address["type"] == type_);
    found.map_or("<none>", |address| text(address, "/address"))
}

fn info(node: &Value, field: &str) -> Value {
    match node
        .pointer("/status/nodeInfo")
        .map(|info| text(info, &format!("/{field}")))
    {
        None | Some("") => "<unknown>".into(),
        Some(value) => value.into(),
    }
}
