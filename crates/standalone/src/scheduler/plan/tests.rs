//! Verdicts of the scheduler on made-up objects.

use serde_json::{Value, json};

use super::*;
use crate::objects::well_known;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn shared<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(object(value))
}

fn node(name: &str, spec: Value) -> Arc<Node> {
    shared(json!({"metadata": {"name": name, "labels": {"host": name}}, "spec": spec}))
}

fn pod(name: &str, claims: &[&str], spec: Value) -> Pod {
    let volumes: Vec<_> = claims
        .iter()
        .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    let mut all = json!({"containers": [], "volumes": volumes});
    json_patch::merge(&mut all, &spec);
    object(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": all}))
}

fn claim(name: &str, spec: Value, annotations: Value) -> Arc<PersistentVolumeClaim> {
    let mut all = json!({"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut all, &spec);
    shared(
        json!({"metadata": {"name": name, "namespace": "ns", "uid": name,
        "annotations": annotations}, "spec": all}),
    )
}

fn volume(name: &str, host: &str, claim_ref: Value) -> Arc<PersistentVolume> {
    shared(json!({
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "local", "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"], "claimRef": claim_ref,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "host", "operator": "In", "values": [host]}]}]}},
        },
        "status": {"phase": "Available"},
    }))
}

fn class(provisioner: &str, mode: &str) -> Arc<StorageClass> {
    shared(
        json!({"metadata": {"name": "local"}, "provisioner": provisioner,
        "volumeBindingMode": mode}),
    )
}

struct Scene {
    nodes: Vec<Arc<Node>>,
    claims: Vec<Arc<PersistentVolumeClaim>>,
    volumes: Vec<Arc<PersistentVolume>>,
    classes: Vec<Arc<StorageClass>>,
    pods: Vec<Arc<Pod>>,
}

fn scene() -> Scene {
    Scene {
        nodes: vec![node("n1", json!({})), node("n2", json!({}))],
        claims: vec![],
        volumes: vec![],
        classes: vec![class("driver", "WaitForFirstConsumer")],
        pods: vec![],
    }
}

impl Scene {
    fn world(&self) -> World<'_> {
        World {
            nodes: &self.nodes,
            claims: &self.claims,
            volumes: &self.volumes,
            classes: &self.classes,
            pods: &self.pods,
            avoid: None,
        }
    }

    fn message(&self, pod: &Pod) -> String {
        match verdict(pod, &self.world()) {
            Verdict::Unschedulable { message } => message,
            other => panic!("{other:?}"),
        }
    }
}

fn assign(node: &str) -> Verdict {
    Verdict::Assign { node: node.into() }
}

#[test]
fn the_emptiest_node_that_is_selected_wins() {
    let mut scene = scene();
    scene.pods = vec![Arc::new(pod("other", &[], json!({"nodeName": "n1"})))];
    assert_eq!(
        verdict(&pod("p", &[], json!({})), &scene.world()),
        assign("n2")
    );
    let pinned = pod("p", &[], json!({"nodeSelector": {"host": "n1"}}));
    assert_eq!(verdict(&pinned, &scene.world()), assign("n1"));
    let nowhere = pod("p", &[], json!({"nodeSelector": {"host": "n3"}}));
    assert_eq!(
        scene.message(&nowhere),
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: \
         0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn cordoned_and_tainted_nodes_are_named() {
    let mut scene = scene();
    let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
    scene.nodes = vec![
        node("n1", json!({"unschedulable": true})),
        node("n2", taint),
    ];
    let message = scene.message(&pod("p", &[], json!({})));
    assert!(
        message
            .contains(": 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable. "),
        "{message}"
    );
    let tolerations = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
    assert_eq!(
        verdict(&pod("p", &[], tolerations), &scene.world()),
        assign("n2")
    );
}

#[test]
fn a_claim_that_waits_is_given_the_node_first() {
    let mut scene = scene();
    let consumer = pod("p", &["c"], json!({}));
    assert!(
        scene
            .message(&consumer)
            .contains(": persistentvolumeclaim \"c\" not found. ")
    );
    scene.claims = vec![claim("c", json!({}), json!({}))];
    let prepare = Verdict::Prepare {
        node: "n1".into(),
        preparations: vec![Preparation::SelectNode(scene.claims[0].clone())],
    };
    assert_eq!(verdict(&consumer, &scene.world()), prepare);

    scene.claims = vec![claim(
        "c",
        json!({}),
        json!({well_known::SELECTED_NODE: "n2"}),
    )];
    assert_eq!(verdict(&consumer, &scene.world()), Verdict::AwaitVolumes);

    let done = json!({well_known::BIND_COMPLETED: "yes"});
    scene.claims = vec![claim("c", json!({"volumeName": "v"}), done)];
    scene.volumes = vec![volume(
        "v",
        "n2",
        json!({"namespace": "ns", "name": "c", "uid": "c"}),
    )];
    assert_eq!(verdict(&consumer, &scene.world()), assign("n2"));
    let elsewhere = pod("p", &["c"], json!({"nodeSelector": {"host": "n1"}}));
    let message = scene.message(&elsewhere);
    assert!(
        message.contains("1 node(s) had volume node affinity conflict"),
        "{message}"
    );
}

#[test]
fn an_existing_volume_is_reserved_and_two_claims_do_not_share_it() {
    let mut scene = scene();
    scene.classes = vec![class(well_known::NO_PROVISIONER, "WaitForFirstConsumer")];
    scene.claims = vec![
        claim("a", json!({}), json!({})),
        claim("b", json!({}), json!({})),
    ];
    scene.volumes = vec![volume("v", "n2", Value::Null)];
    let reserve = Verdict::Prepare {
        node: "n2".into(),
        preparations: vec![Preparation::Reserve {
            volume: scene.volumes[0].clone(),
            claim: scene.claims[0].clone(),
        }],
    };
    assert_eq!(
        verdict(&pod("p", &["a"], json!({})), &scene.world()),
        reserve
    );
    let message = scene.message(&pod("p", &["a", "b"], json!({})));
    assert!(message.contains("2 node(s) didn't find available persistent volumes to bind"));
}

#[test]
fn an_immediate_claim_must_be_bound_before() {
    let mut scene = scene();
    scene.classes = vec![class("driver", "Immediate")];
    scene.claims = vec![claim("c", json!({}), json!({}))];
    let message = scene.message(&pod("p", &["c"], json!({})));
    assert!(
        message.contains(": pod has unbound immediate PersistentVolumeClaims. "),
        "{message}"
    );
}

#[test]
fn only_pods_that_can_be_placed_are_looked_at() {
    assert!(is_waiting(&pod("p", &[], json!({}))));
    assert!(!is_waiting(&pod("p", &[], json!({"nodeName": "n1"}))));
    assert!(!is_waiting(&pod(
        "p",
        &[],
        json!({"schedulerName": "mine"})
    )));
    assert!(!is_waiting(&pod(
        "p",
        &[],
        json!({"schedulingGates": [{"name": "g"}]})
    )));
}
