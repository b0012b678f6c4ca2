//! Steps of the collector on made-up graphs.

use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ApiResource;

fn resource() -> Arc<Served> {
    Arc::new(Served {
        api: ApiResource::erase::<ConfigMap>(&()),
        namespaced: true,
    })
}

fn owner(uid: &str, blocks: bool) -> OwnerReference {
    OwnerReference {
        uid: uid.into(),
        block_owner_deletion: Some(blocks),
        ..OwnerReference::default()
    }
}

fn object(uid: &str, owners: &[&str]) -> Object {
    Object {
        resource: resource(),
        namespace: "ns".into(),
        name: uid.into(),
        uid: uid.into(),
        revision: "1".into(),
        owners: owners.iter().map(|uid| owner(uid, true)).collect(),
        finalizers: vec![],
        deleting: false,
    }
}

fn going(uid: &str, owners: &[&str], finalizer: &str) -> Object {
    Object {
        deleting: true,
        finalizers: vec![finalizer.into()],
        ..object(uid, owners)
    }
}

fn graph(objects: impl IntoIterator<Item = Object>) -> Graph {
    let mut graph = Graph::default();
    for object in objects {
        graph.apply(object);
    }
    graph
}

fn delete(object: Object, propagation: PropagationPolicy) -> Step {
    Step::Delete {
        object,
        propagation,
    }
}

#[test]
fn a_dependent_goes_when_its_owner_is_seen_to_go() {
    let mut graph = graph([object("a", &[]), object("b", &["a"])]);
    assert_eq!(graph.step(&"b".into(), &[]), Step::Nothing);
    assert_eq!(graph.remove(&"a".into()), [Uid::from("b")]);
    assert!(graph.unknown_owners(&"b".into()).is_empty());
    let step = graph.step(&"b".into(), &[]);
    assert_eq!(
        step,
        delete(object("b", &["a"]), PropagationPolicy::Background)
    );
}

#[test]
fn an_owner_never_seen_is_looked_up() {
    let graph = graph([object("b", &["a"])]);
    let uid = Uid::from("b");
    assert_eq!(graph.unknown_owners(&uid).len(), 1);
    assert_eq!(graph.step(&uid, &[]), Step::Nothing);
    assert_eq!(
        graph.step(&uid, &[("a".into(), OwnerState::Present)]),
        Step::Nothing
    );
    let step = graph.step(&uid, &[("a".into(), OwnerState::Absent)]);
    assert_eq!(
        step,
        delete(object("b", &["a"]), PropagationPolicy::Background)
    );
}

#[test]
fn one_owner_is_enough_to_stay() {
    let mut graph = graph([object("a", &[]), object("c", &[]), object("b", &["a", "c"])]);
    graph.remove(&"a".into());
    let step = graph.step(&"b".into(), &[]);
    assert_eq!(
        step,
        Step::DropOwners {
            object: object("b", &["a", "c"]),
            owners: vec!["a".into()]
        }
    );
}

#[test]
fn an_owner_in_another_namespace_is_none() {
    let stranger = Object {
        namespace: "other".into(),
        ..object("a", &[])
    };
    let graph = graph([stranger, object("b", &["a"])]);
    assert!(matches!(graph.step(&"b".into(), &[]), Step::Delete { .. }));
}

#[test]
fn the_foreground_goes_from_the_leaves() {
    let root = going("a", &[], FOREGROUND);
    let mut graph = graph([root.clone(), object("b", &["a"]), object("c", &["b"])]);
    assert_eq!(graph.step(&"a".into(), &[]), Step::LookAt(vec!["b".into()]));
    let step = graph.step(&"b".into(), &[]);
    assert_eq!(
        step,
        delete(object("b", &["a"]), PropagationPolicy::Foreground)
    );
    graph.apply(going("b", &["a"], FOREGROUND));
    assert_eq!(graph.step(&"a".into(), &[]), Step::Nothing);
    let step = graph.step(&"c".into(), &[]);
    assert_eq!(
        step,
        delete(object("c", &["b"]), PropagationPolicy::Background)
    );
    assert_eq!(graph.remove(&"c".into()), [Uid::from("b")]);
    let step = graph.step(&"b".into(), &[]);
    assert_eq!(
        step,
        Step::Release {
            object: going("b", &["a"], FOREGROUND)
        }
    );
    assert_eq!(graph.remove(&"b".into()), [Uid::from("a")]);
    assert_eq!(graph.step(&"a".into(), &[]), Step::Release { object: root });
}

#[test]
fn a_dependent_that_does_not_block_is_not_waited_for() {
    let mut dependent = object("b", &["a"]);
    dependent.owners[0].block_owner_deletion = Some(false);
    let root = going("a", &[], FOREGROUND);
    let graph = graph([root.clone(), dependent]);
    assert_eq!(graph.step(&"a".into(), &[]), Step::Release { object: root });
}

#[test]
fn orphans_are_released_before_their_owner() {
    let root = going("a", &[], ORPHAN);
    let graph = graph([root.clone(), object("b", &["a"])]);
    let dependents = vec![object("b", &["a"])];
    assert_eq!(
        graph.step(&"a".into(), &[]),
        Step::Orphan {
            object: root,
            dependents
        }
    );
    assert_eq!(graph.step(&"b".into(), &[]), Step::Nothing);
}

#[test]
fn a_circle_does_not_wait_for_itself() {
    let graph = graph([going("a", &["b"], FOREGROUND), object("b", &["a"])]);
    assert_eq!(
        graph.step(&"b".into(), &[]),
        Step::Unblock {
            object: object("b", &["a"])
        }
    );
}
