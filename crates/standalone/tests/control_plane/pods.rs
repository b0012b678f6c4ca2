//! Pods: where they go, and what they wait for.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::home::{
    DEADLINE, Home, annotation, claim, delete, gone, patch, pod, until, volume, volume_of,
};

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

#[tokio::test]
async fn a_waiting_claim_is_made_where_its_pod_goes() {
    let home = Home::start(&["n1", "n2"]).await;
    home.create::<PersistentVolumeClaim>(claim("data", "longshore-local", json!({})))
        .await;
    home.event("data", "WaitForFirstConsumer").await;
    let mut consumer = pod("consumer", &["data"]);
    consumer["spec"]["nodeSelector"] = json!({"topology.hostpath.csi/node": "n2"});
    home.create::<Pod>(consumer).await;
    home.pod_on("consumer", "n2").await;
    let bound = home.claim_in("data", "Bound").await;
    assert_eq!(annotation(&bound, SELECTED_NODE).as_deref(), Some("n2"));
    assert!(home.pool("n2").join(volume_of(&bound)).is_dir());
    let message = home.event("consumer", "Scheduled").await.message;
    assert_eq!(
        message.as_deref(),
        Some("Successfully assigned default/consumer to n2")
    );
}

#[tokio::test]
async fn a_populated_claim_gets_its_node_and_keeps_its_pod_waiting() {
    let home = Home::start(&["n1"]).await;
    let source = json!({"dataSourceRef":
        {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "s"}});
    let target = home
        .create::<PersistentVolumeClaim>(claim("target", "longshore-local", source))
        .await;
    home.create::<Pod>(pod("consumer", &["target"])).await;
    let claims = home.api::<PersistentVolumeClaim>();
    until(&claims, "target", "placed", |claim| {
        annotation(claim, SELECTED_NODE).as_deref() == Some("n1")
    })
    .await;

    let mut prime = claim("prime", "longshore-local", json!({}));
    prime["metadata"]["annotations"] = json!({SELECTED_NODE: "n1"});
    home.create::<PersistentVolumeClaim>(prime).await;
    let name = volume_of(&home.claim_in("prime", "Bound").await);
    let waiting = home.api::<Pod>().get("consumer").await.unwrap();
    assert_eq!(waiting.spec.unwrap().node_name, None);
    let reference = json!({"spec": {"claimRef": {
        "namespace": "default", "name": "target", "uid": target.uid()}}});
    patch(&home.cluster_api::<PersistentVolume>(), &name, reference).await;
    home.pod_on("consumer", "n1").await;
    assert_eq!(volume_of(&home.claim_in("target", "Bound").await), name);
}

#[tokio::test]
async fn a_pod_that_cannot_be_placed_says_why_until_it_can() {
    let home = Home::start(&["n1"]).await;
    home.create::<Pod>(pod("consumer", &["missing"])).await;
    let pods = home.api::<Pod>();
    let refused = until(&pods, "consumer", "refused", |pod| {
        let conditions = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|c| c.reason.as_deref() == Some("Unschedulable"))
    })
    .await;
    let condition = refused.status.unwrap().conditions.unwrap().remove(0);
    assert_eq!(
        (&*condition.type_, &*condition.status),
        ("PodScheduled", "False")
    );
    let message = condition.message.unwrap();
    let start = "0/1 nodes are available: persistentvolumeclaim \"missing\" not found. ";
    assert!(message.starts_with(start), "{message}");
    assert_eq!(
        home.event("consumer", "FailedScheduling").await.message,
        Some(message)
    );

    let class = "longshore-local-immediate";
    home.create::<PersistentVolumeClaim>(claim("missing", class, json!({})))
        .await;
    home.pod_on("consumer", "n1").await;
}

#[tokio::test]
async fn a_local_volume_that_people_made_is_reserved_at_its_node() {
    let home = Home::start(&["n1", "n2"]).await;
    home.create_cluster::<StorageClass>(json!({
        "metadata": {"name": "manual"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))
    .await;
    let at_n2 = json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "topology.hostpath.csi/node", "operator": "In", "values": ["n2"]}]}]}}});
    home.create_cluster::<PersistentVolume>(volume("v", "manual", at_n2))
        .await;
    home.create::<PersistentVolumeClaim>(claim("data", "manual", json!({})))
        .await;
    home.create::<Pod>(pod("consumer", &["data"])).await;
    home.pod_on("consumer", "n2").await;
    assert_eq!(volume_of(&home.claim_in("data", "Bound").await), "v");
}

#[tokio::test]
async fn a_claim_outlives_its_deletion_while_a_pod_uses_it() {
    let home = Home::start(&["n1"]).await;
    home.create::<PersistentVolumeClaim>(claim("data", "longshore-local", json!({})))
        .await;
    home.create::<Pod>(pod("consumer", &["data"])).await;
    home.pod_on("consumer", "n1").await;
    let name = volume_of(&home.claim_in("data", "Bound").await);
    let claims = home.api::<PersistentVolumeClaim>();
    delete(&claims, "data").await;
    // A second claim made afterwards shows that the first one's turn has passed.
    home.create::<PersistentVolumeClaim>(claim("later", "longshore-local-immediate", json!({})))
        .await;
    home.claim_in("later", "Bound").await;
    assert!(
        claims
            .get("data")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );

    let done = json!({"status": {"phase": "Succeeded"}});
    let pods = home.api::<Pod>();
    pods.patch_status("consumer", &PatchParams::default(), &Patch::Merge(done))
        .await
        .unwrap();
    gone(&claims, "data").await;
    gone(&home.cluster_api::<PersistentVolume>(), &name).await;
    pods.delete("consumer", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
}

/// A Pod that asks for processors.
fn asking(name: &str, cpu: &str) -> Value {
    let mut asking = pod(name, &[]);
    asking["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    asking
}

#[tokio::test]
async fn a_node_is_never_given_more_than_it_has() {
    let home = Home::start(&["n1"]).await;
    for number in 0..8 {
        home.create::<Pod>(asking(&format!("p{number}"), "1500m"))
            .await;
    }
    let pods = home.api::<Pod>();
    let refused = || async {
        let all = pods.list(&ListParams::default()).await.unwrap();
        let refused = |pod: &&Pod| {
            let conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.status == "False"))
        };
        (
            all.iter()
                .filter(|pod| pod.spec.as_ref().unwrap().node_name.is_some())
                .count(),
            all.iter().filter(refused).count(),
        )
    };
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while refused().await != (2, 6) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            refused().await
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn room_goes_to_the_pod_of_the_highest_priority() {
    let home = Home::start(&["n1"]).await;
    home.create::<Pod>(asking("first", "3")).await;
    home.pod_on("first", "n1").await;
    for (name, priority) in [("low", 1), ("high", 9), ("middle", 5)] {
        home.create_cluster::<PriorityClass>(
            json!({"metadata": {"name": name}, "value": priority}),
        )
        .await;
        let mut waiting = asking(name, "3");
        waiting["spec"]["priorityClassName"] = json!(name);
        home.create::<Pod>(waiting).await;
        let message = home.event(name, "FailedScheduling").await.message.unwrap();
        assert!(
            message.starts_with("0/1 nodes are available: 1 Insufficient cpu. "),
            "{message}"
        );
    }
    let pods = home.api::<Pod>();
    let at_once = DeleteParams::default().grace_period(0);
    for (before, after) in [("first", "high"), ("high", "middle"), ("middle", "low")] {
        pods.delete(before, &at_once).await.unwrap();
        home.pod_on(after, "n1").await;
    }
}

#[tokio::test]
async fn a_cordoned_node_takes_no_pods_until_it_is_opened_again() {
    let home = Home::start(&["n1"]).await;
    let nodes = home.cluster_api::<Node>();
    patch(&nodes, "n1", json!({"spec": {"unschedulable": true}})).await;
    home.create::<Pod>(pod("waiting", &[])).await;
    let message = home
        .event("waiting", "FailedScheduling")
        .await
        .message
        .unwrap();
    assert!(
        message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable. "),
        "{message}"
    );
    patch(&nodes, "n1", json!({"spec": {"unschedulable": null}})).await;
    home.pod_on("waiting", "n1").await;
}

#[tokio::test]
async fn a_taint_ends_the_pods_that_do_not_tolerate_it() {
    let home = Home::start(&["n1"]).await;
    let mut hardy = pod("hardy", &[]);
    hardy["spec"]["tolerations"] = json!([{"key": "maintenance", "operator": "Exists"}]);
    for each in [pod("frail", &[]), hardy] {
        let name = each["metadata"]["name"].as_str().unwrap().to_owned();
        home.create::<Pod>(each).await;
        home.pod_on(&name, "n1").await;
    }
    let taints = json!({"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}});
    patch(&home.cluster_api::<Node>(), "n1", taints).await;
    let pods = home.api::<Pod>();
    until(&pods, "frail", "leaving", |pod| {
        pod.metadata.deletion_timestamp.is_some()
    })
    .await;
    let message = home.event("frail", "TaintManagerEviction").await.message;
    assert_eq!(
        message.as_deref(),
        Some("Marking for deletion Pod default/frail")
    );
    assert_eq!(
        pods.get("hardy").await.unwrap().metadata.deletion_timestamp,
        None
    );
}
