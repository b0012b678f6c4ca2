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
    node_with(name, json!({}), spec)
}

/// A node with labels beside `host`, with 2 processors, 4 GiB and room for 10 Pods.
fn node_with(name: &str, labels: Value, spec: Value) -> Arc<Node> {
    let mut all = json!({"host": name});
    json_patch::merge(&mut all, &labels);
    shared(
        json!({"metadata": {"name": name, "labels": all}, "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}}),
    )
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
    drivers: Vec<Arc<CSIDriver>>,
    capacities: Vec<Arc<CSIStorageCapacity>>,
    namespaces: Vec<Arc<Namespace>>,
    placed: Vec<Placed>,
}

fn scene() -> Scene {
    Scene {
        nodes: vec![node("n1", json!({})), node("n2", json!({}))],
        claims: vec![],
        volumes: vec![],
        classes: vec![class("driver", "WaitForFirstConsumer")],
        drivers: vec![],
        capacities: vec![],
        namespaces: vec![],
        placed: vec![],
    }
}

impl Scene {
    fn world(&self) -> World<'_> {
        World {
            nodes: &self.nodes,
            claims: &self.claims,
            volumes: &self.volumes,
            classes: &self.classes,
            drivers: &self.drivers,
            capacities: &self.capacities,
            namespaces: &self.namespaces,
            placed: &self.placed,
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

fn placed(name: &str, node: &str, labels: Value, spec: Value) -> Placed {
    let mut pod = pod(name, &[], spec);
    pod.metadata.labels = object(labels);
    Placed::new(Arc::new(pod), node)
}

fn asks(resources: Value) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": resources}}]})
}

fn assign(node: &str) -> Verdict {
    Verdict::Assign { node: node.into() }
}

#[test]
fn the_emptiest_node_that_is_selected_wins() {
    let mut scene = scene();
    scene.placed = vec![placed(
        "other",
        "n1",
        json!({}),
        json!({"containers": [{"name": "c"}]}),
    )];
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

/// Everything up to the part about preemption.
fn reasons(message: &str) -> &str {
    message.split(" preemption: ").next().unwrap()
}

#[test]
fn every_refusal_is_counted_in_the_schedulers_words() {
    let mut scene = scene();
    scene.nodes = vec![
        node(
            "n1",
            json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}),
        ),
        node("n2", json!({})),
        node("n3", json!({})),
    ];
    scene.placed = ["n2", "n3"]
        .map(|node| placed("busy", node, json!({}), asks(json!({"cpu": "1500m"}))))
        .into();
    assert_eq!(
        scene.message(&pod("p", &[], asks(json!({"cpu": "1"})))),
        "0/3 nodes are available: 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu. \
         preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No \
         preemption victims found for incoming pod."
    );
    let greedy = asks(json!({"cpu": "3", "memory": "5Gi", "example.com/gpu": "1"}));
    assert_eq!(
        reasons(&scene.message(&pod("p", &[], greedy))),
        "0/3 nodes are available: 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu, 2 \
         Insufficient example.com/gpu, 2 Insufficient memory."
    );
}

#[test]
fn a_node_takes_so_many_pods_and_no_more() {
    let mut scene = scene();
    scene.nodes.truncate(1);
    let fill = |count| vec![placed("other", "n1", json!({}), json!({})); count];
    scene.placed = fill(9);
    assert_eq!(
        verdict(&pod("p", &[], json!({})), &scene.world()),
        assign("n1")
    );
    scene.placed = fill(10);
    let message = scene.message(&pod("p", &[], json!({})));
    assert_eq!(
        reasons(&message),
        "0/1 nodes are available: 1 Too many pods."
    );
}

#[test]
fn a_port_of_the_node_is_given_once() {
    let mut scene = scene();
    let web = json!({"containers": [{"name": "c", "ports": [
        {"containerPort": 80, "hostPort": 80}]}]});
    scene.placed = vec![placed("other", "n1", json!({}), web.clone())];
    assert_eq!(
        verdict(&pod("p", &[], web.clone()), &scene.world()),
        assign("n2")
    );
    scene.nodes.truncate(1);
    assert_eq!(
        reasons(&scene.message(&pod("p", &[], web))),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    );
}

fn preferring(expression: Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [expression]}}]}}})
}

#[test]
fn preferences_choose_among_the_nodes_that_fit() {
    let mut scene = scene();
    let consumer = pod("p", &[], json!({}));
    scene.nodes = vec![
        node(
            "n1",
            json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}),
        ),
        node("n2", json!({})),
        node_with("n3", json!({"size": "9"}), json!({})),
    ];
    assert_eq!(verdict(&consumer, &scene.world()), assign("n2"));
    for wish in [
        json!({"key": "host", "operator": "In", "values": ["n3"]}),
        json!({"key": "host", "operator": "NotIn", "values": ["n1", "n2"]}),
        json!({"key": "size", "operator": "Exists"}),
        json!({"key": "size", "operator": "Gt", "values": ["8"]}),
        json!({"key": "size", "operator": "Lt", "values": ["10"]}),
    ] {
        let wishing = pod("p", &[], preferring(wish.clone()));
        assert_eq!(verdict(&wishing, &scene.world()), assign("n3"), "{wish}");
    }
}

fn zoned() -> Scene {
    let mut scene = scene();
    let zone = |name, zone| node_with(name, json!({"zone": zone}), json!({}));
    scene.nodes = vec![
        zone("n1", "a"),
        zone("n2", "a"),
        zone("n3", "b"),
        node("n4", json!({})),
    ];
    scene
}

fn near(which: &str, term: Value) -> Value {
    json!({"affinity": {which: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn web(more: Value) -> Value {
    let mut term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
    json_patch::merge(&mut term, &more);
    term
}

#[test]
fn pods_come_together_and_stay_apart_by_domains() {
    let mut scene = zoned();
    let joining = pod("p", &[], near("podAffinity", web(json!({}))));
    let message = scene.message(&joining);
    assert_eq!(
        reasons(&message),
        "0/4 nodes are available: 4 node(s) didn't match pod affinity rules."
    );
    scene.placed = vec![placed("web", "n3", json!({"app": "web"}), json!({}))];
    assert_eq!(verdict(&joining, &scene.world()), assign("n3"));

    let avoiding = pod("p", &[], near("podAntiAffinity", web(json!({}))));
    scene.nodes.truncate(3);
    scene.placed = vec![placed("web", "n1", json!({"app": "web"}), json!({}))];
    assert_eq!(verdict(&avoiding, &scene.world()), assign("n3"));
    scene.nodes.truncate(2);
    assert_eq!(
        reasons(&scene.message(&avoiding)),
        "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    );
}

#[test]
fn the_first_of_a_group_starts_it() {
    let mut scene = zoned();
    let mut first = pod("p", &[], near("podAffinity", web(json!({}))));
    first.metadata.labels = object(json!({"app": "web"}));
    assert_eq!(verdict(&first, &scene.world()), assign("n1"));
    scene.nodes = scene.nodes.split_off(3);
    // A node without the label is in no domain.
    assert!(
        scene
            .message(&first)
            .contains("1 node(s) didn't match pod affinity rules")
    );
}

#[test]
fn a_placed_pod_keeps_others_away() {
    let mut scene = zoned();
    scene.nodes.truncate(2);
    let hermit = near("podAntiAffinity", web(json!({})));
    scene.placed = vec![placed("hermit", "n1", json!({}), hermit)];
    let mut visitor = pod("p", &[], json!({}));
    visitor.metadata.labels = object(json!({"app": "web"}));
    assert_eq!(
        reasons(&scene.message(&visitor)),
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."
    );
    visitor.metadata.labels = None;
    assert_eq!(verdict(&visitor, &scene.world()), assign("n2"));
}

#[test]
fn a_term_is_about_its_own_namespace_unless_it_says_more() {
    let mut scene = zoned();
    scene.namespaces = vec![shared(
        json!({"metadata": {"name": "other", "labels": {"team": "x"}}}),
    )];
    let mut elsewhere = pod("web", &[], json!({}));
    elsewhere.metadata.namespace = Some("other".into());
    elsewhere.metadata.labels = object(json!({"app": "web"}));
    scene.placed = vec![Placed::new(Arc::new(elsewhere), "n3")];
    let joining = |more| pod("p", &[], near("podAffinity", web(more)));
    assert!(
        scene
            .message(&joining(json!({})))
            .contains("pod affinity rules")
    );
    for scope in [
        json!({"namespaces": ["other"]}),
        json!({"namespaceSelector": {}}),
        json!({"namespaceSelector": {"matchLabels": {"team": "x"}}}),
    ] {
        assert_eq!(
            verdict(&joining(scope.clone()), &scene.world()),
            assign("n3"),
            "{scope}"
        );
    }
}

#[test]
fn a_volume_is_made_where_there_is_room_for_it() {
    let mut scene = scene();
    scene.claims = vec![claim("c", json!({}), json!({}))];
    scene.drivers = vec![shared(
        json!({"metadata": {"name": "driver"}, "spec": {"storageCapacity": true}}),
    )];
    let room = |host: &str, capacity: &str| {
        shared(
            json!({"metadata": {"name": host}, "storageClassName": "local", "capacity": capacity,
            "nodeTopology": {"matchLabels": {"host": host}}}),
        )
    };
    let consumer = pod("p", &["c"], json!({}));
    scene.capacities = vec![room("n1", "512Mi"), room("n2", "1Gi")];
    let at_n2 = Verdict::Prepare {
        node: "n2".into(),
        preparations: vec![Preparation::SelectNode(scene.claims[0].clone())],
    };
    assert_eq!(verdict(&consumer, &scene.world()), at_n2);
    scene.capacities.truncate(1);
    assert_eq!(
        reasons(&scene.message(&consumer)),
        "0/2 nodes are available: 2 node(s) did not have enough free storage."
    );
}

#[test]
fn a_class_makes_volumes_in_its_topologies_only() {
    let mut scene = scene();
    scene.claims = vec![claim("c", json!({}), json!({}))];
    scene.classes = vec![shared(
        json!({"metadata": {"name": "local"}, "provisioner": "driver",
        "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": [
            {"matchLabelExpressions": [{"key": "host", "values": ["n2"]}]}]}),
    )];
    let Verdict::Prepare { node, .. } = verdict(&pod("p", &["c"], json!({})), &scene.world())
    else {
        panic!("not prepared")
    };
    assert_eq!(node, "n2");
}

#[test]
fn a_claim_for_one_pod_is_not_shared() {
    let mut scene = scene();
    let done = json!({well_known::BIND_COMPLETED: "yes"});
    let spec = json!({"volumeName": "v", "accessModes": ["ReadWriteOncePod"]});
    scene.claims = vec![claim("c", spec, done)];
    scene.volumes = vec![volume(
        "v",
        "n2",
        json!({"namespace": "ns", "name": "c", "uid": "c"}),
    )];
    scene.placed = vec![Placed::new(Arc::new(pod("first", &["c"], json!({}))), "n2")];
    assert_eq!(
        reasons(&scene.message(&pod("p", &["c"], json!({})))),
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name \
         and ReadWriteOncePod access mode."
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn request() -> impl Strategy<Value = (u64, u64)> {
        (0..2500_u64, 0..5_u64)
    }

    fn spec((cpu, memory): (u64, u64)) -> Value {
        asks(json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Gi")}))
    }

    proptest! {
        /// However Pods come, no node holds more than it has, and who waits fits nowhere.
        #[test]
        fn nodes_are_never_overcommitted(requests in proptest::collection::vec(request(), 1..20)) {
            let mut scene = scene();
            let mut left = [("n1", 2000_u64, 4_u64), ("n2", 2000, 4)];
            for (number, request) in requests.into_iter().enumerate() {
                let pod = pod(&format!("p{number}"), &[], spec(request));
                let fits = |(_, cpu, memory): &(&str, u64, u64)| {
                    request.0 <= *cpu && request.1 <= *memory
                };
                match verdict(&pod, &scene.world()) {
                    Verdict::Assign { node } => {
                        let room = left.iter_mut().find(|(name, ..)| *name == node).unwrap();
                        prop_assert!(fits(room));
                        room.1 -= request.0;
                        room.2 -= request.1;
                        scene.placed.push(Placed::new(Arc::new(pod), node));
                    }
                    Verdict::Unschedulable { .. } => {
                        prop_assert!(scene.placed.len() >= 10 || !left.iter().any(fits));
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
