//! Starts with fewer nodes than before.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use crate::home::{Home, annotation, claim, delete, gone, pod, until};

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

fn is_tainted(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    taints
        .unwrap_or_default()
        .iter()
        .any(|taint| taint.key == UNREACHABLE)
}

fn is_ready(node: &Node) -> Option<&str> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions.iter().find(|each| each.type_ == "Ready")?;
    Some(&ready.status)
}

fn on_n2(name: &str) -> Value {
    let mut on_n2 = pod(name, &[]);
    on_n2["spec"]["nodeName"] = json!("n2");
    on_n2
}

#[tokio::test]
async fn a_node_that_was_not_started_takes_nothing_and_holds_nothing() {
    let mut home = Home::start(&["n1", "n2"]).await;
    home.create::<Pod>(on_n2("stays")).await;
    home.create::<Pod>(on_n2("goes")).await;
    home.stop_control_plane().await;
    delete(&home.api::<Pod>(), "goes").await;
    for name in ["plain", "populated"] {
        let source = json!({"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource",
            "name": "s"});
        let source = (name == "populated").then_some(source);
        let more = json!({"dataSourceRef": source});
        let mut placed = claim(name, "longshore-local", more);
        placed["metadata"]["annotations"] = json!({SELECTED_NODE: "n2"});
        home.create::<PersistentVolumeClaim>(placed).await;
        home.create::<Pod>(pod(name, &[name])).await;
    }

    home.set_nodes(&["n1"]);
    home.start_control_plane().await;
    let nodes = home.cluster_api::<Node>();
    until(&nodes, "n2", "away", |node| {
        is_tainted(node) && is_ready(node) == Some("Unknown")
    })
    .await;
    assert!(!is_tainted(&nodes.get("n1").await.unwrap()));
    gone(&home.api::<Pod>(), "goes").await;
    home.pod_on("plain", "n1").await;
    let claims = home.api::<PersistentVolumeClaim>();
    until(&claims, "populated", "placed anew", |claim| {
        annotation(claim, SELECTED_NODE).as_deref() == Some("n1")
    })
    .await;
    home.pod_on("stays", "n2").await;

    home.stop_control_plane().await;
    home.set_nodes(&["n1", "n2"]);
    home.start_control_plane().await;
    until(&nodes, "n2", "back", |node| !is_tainted(node)).await;
}
