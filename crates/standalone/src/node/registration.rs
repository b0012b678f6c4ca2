//! What the API knows of the node: its Node, CSINode and Lease.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::context::Context;
use super::status::HOST_ADDRESS;
use crate::csi_client::{DRIVER_NAME, TOPOLOGY_KEY};
use crate::runtime::error::status_code;

/// The namespace of the nodes' leases.
const LEASES: &str = "kube-node-lease";

/// How often a node says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// After how much silence it is taken for dead, in seconds.
const LEASE_SECONDS: i32 = 40;

/// The pause before a registration is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many Pods a node takes.
const MAX_PODS: &str = "110";

/// Registers the node.
pub(super) async fn register(node: &Context, version: &str) {
    until_done("Node", || async {
        let nodes: Api<Node> = Api::all(node.client.clone());
        put(&nodes, &node.name, &node_object(node)).await?;
        let status = Patch::Merge(json!({ "status": node_status(version) }));
        nodes
            .patch_status(&node.name, &PatchParams::default(), &status)
            .await
            .map(drop)
    })
    .await;
}

/// Registers the node's driver, once it has said who it is.
pub(super) async fn register_driver(
    node: &Context,
    node_id: &str,
    topology_keys: impl IntoIterator<Item = String>,
) {
    let keys: Vec<String> = topology_keys.into_iter().collect();
    let object = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": { "name": node.name },
        "spec": {
            "drivers": [{ "name": DRIVER_NAME, "nodeID": node_id, "topologyKeys": keys }],
        },
    });
    until_done("CSINode", || async {
        let nodes: Api<CSINode> = Api::all(node.client.clone());
        put(&nodes, &node.name, &object).await
    })
    .await;
}

/// Says that the node is alive, for ever.
pub(super) async fn beat(node: &Context) {
    let leases: Api<Lease> = Api::namespaced(node.client.clone(), LEASES);
    let mut ticks = tokio::time::interval(HEARTBEAT);
    loop {
        ticks.tick().await;
        let object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": node.name, "namespace": LEASES },
            "spec": {
                "holderIdentity": node.name,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": MicroTime(Timestamp::now()),
            },
        });
        if let Err(error) = put(&leases, &node.name, &object).await {
            tracing::warn!(node = node.name, %error, "the node's lease is not renewed");
        }
    }
}

async fn until_done<F: Future<Output = kube::Result<()>>>(kind: &str, step: impl Fn() -> F) {
    while let Err(error) = step().await {
        tracing::warn!(%error, kind, "the node is not registered yet");
        tokio::time::sleep(RETRY).await;
    }
}

/// Makes an object, or brings an existing one to the same content.
async fn put<K>(api: &Api<K>, name: &str, object: &Value) -> kube::Result<()>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(object))
        .await
    {
        Err(error) if status_code(&error) == Some(404) => {}
        outcome => return outcome.map(drop),
    }
    let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &object).await.map(drop)
}

fn node_object(node: &Context) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {
                "kubernetes.io/hostname": node.name,
                "kubernetes.io/arch": architecture(),
                "kubernetes.io/os": "linux",
                TOPOLOGY_KEY: node.name,
            },
        },
        "spec": { "podCIDR": node.addresses.cidr(), "podCIDRs": [node.addresses.cidr()] },
    })
}

fn node_status(version: &str) -> Value {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let capacity = capacity();
    json!({
        "addresses": [
            { "type": "InternalIP", "address": HOST_ADDRESS },
            { "type": "Hostname", "address": text(system.nodename()) },
        ],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            condition("MemoryPressure", false, "KubeletHasSufficientMemory", "sufficient memory"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure", "no disk pressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID", "sufficient process ids"),
            condition("Ready", true, "KubeletReady", "pods run as local processes"),
        ],
        "nodeInfo": {
            "architecture": architecture(),
            "bootID": file("/proc/sys/kernel/random/boot_id"),
            "containerRuntimeVersion": format!("longshore://{version}"),
            "kernelVersion": text(system.release()),
            "kubeProxyVersion": "",
            "kubeletVersion": version,
            "machineID": file("/etc/machine-id"),
            "operatingSystem": "linux",
            "osImage": os_name(),
            "systemUUID": file("/etc/machine-id"),
        },
    })
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now());
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    })
}

/// What the machine has, by resource.
pub(super) fn capacity() -> BTreeMap<&'static str, String> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let system = rustix::system::sysinfo();
    let memory = system.totalram * u64::from(system.mem_unit) / 1024;
    BTreeMap::from([
        ("cpu", processors.to_string()),
        ("memory", format!("{memory}Ki")),
        ("pods", MAX_PODS.to_owned()),
    ])
}

/// The machine's architecture as Kubernetes names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn os_name() -> String {
    let release = file("/etc/os-release");
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default()
}

/// The content of a small file; empty where it is missing.
fn file(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
