//! Decisions of the provisioner on made-up objects.

use serde_json::{Value, json};

use super::*;
use crate::csi_client::DRIVER_NAME;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn step(volume: &PersistentVolume) -> VolumeStep {
    volume_step(volume, ["n1", "n2"].into_iter())
}

fn class(mode: &str) -> StorageClass {
    object(
        json!({"metadata": {"name": "local"}, "provisioner": DRIVER_NAME,
        "volumeBindingMode": mode}),
    )
}

fn claim(spec: Value, node: Option<&str>) -> PersistentVolumeClaim {
    let mut annotations = json!({well_known::STORAGE_PROVISIONER: DRIVER_NAME});
    if let Some(node) = node {
        annotations[well_known::SELECTED_NODE] = json!(node);
    }
    object(
        json!({"metadata": {"name": "c", "uid": "u", "annotations": annotations,
        "finalizers": [well_known::PVC_PROTECTION]}, "spec": spec}),
    )
}

fn volume(phase: &str, policy: &str) -> PersistentVolume {
    object(json!({
        "metadata": {"name": "v", "finalizers": [well_known::PROVISIONER_FINALIZER],
            "annotations": {well_known::PROVISIONED_BY: DRIVER_NAME}},
        "spec": {
            "persistentVolumeReclaimPolicy": policy,
            "csi": {"driver": DRIVER_NAME, "volumeHandle": "h"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": TOPOLOGY_KEY, "operator": "In", "values": ["n2"]}]}]}},
        },
        "status": {"phase": phase},
    }))
}

#[test]
fn a_node_must_be_chosen_by_whom_the_class_says() {
    let step = |claim, mode| claim_step(&claim, &class(mode), false);
    let unplaced = || claim(json!({}), None);
    assert_eq!(step(unplaced(), "WaitForFirstConsumer"), ClaimStep::Nothing);
    assert_eq!(step(unplaced(), "Immediate"), ClaimStep::ChooseNode);
    let placed = claim(json!({}), Some("n2"));
    assert_eq!(
        step(placed, "WaitForFirstConsumer"),
        ClaimStep::Provision { node: "n2".into() }
    );
}

#[test]
fn nothing_is_made_for_a_claim_that_could_vanish() {
    let mut unprotected = claim(json!({}), Some("n1"));
    unprotected.metadata.finalizers = None;
    let step = claim_step(&unprotected, &class("Immediate"), false);
    assert_eq!(step, ClaimStep::Nothing);
}

#[test]
fn populated_bound_and_foreign_claims_are_left_alone() {
    let step = |claim: &_| claim_step(claim, &class("Immediate"), false);
    let source = |group: Option<&str>, kind: &str| json!({"dataSourceRef": {"apiGroup": group, "kind": kind, "name": "s"}});
    let populated = source(Some("cdi.kubevirt.io"), "VolumeImportSource");
    assert_eq!(
        step(&claim(populated, Some("n1"))),
        ClaimStep::LeaveToPopulator
    );
    let cloned = source(None, "PersistentVolumeClaim");
    assert!(matches!(
        step(&claim(cloned, Some("n1"))),
        ClaimStep::Provision { .. }
    ));
    assert_eq!(
        step(&claim(json!({"volumeName": "v"}), Some("n1"))),
        ClaimStep::Nothing
    );
    let mut foreign = claim(json!({}), Some("n1"));
    foreign.metadata.annotations = None;
    assert_eq!(step(&foreign), ClaimStep::Nothing);
}

#[test]
fn a_claim_being_deleted_is_only_followed_to_the_end_of_its_call() {
    let mut claim = claim(json!({}), Some("n1"));
    claim.metadata.deletion_timestamp = Some(object(json!("2026-01-01T00:00:00Z")));
    let step = |unsettled| claim_step(&claim, &class("Immediate"), unsettled);
    assert_eq!(step(false), ClaimStep::Nothing);
    assert_eq!(step(true), ClaimStep::Provision { node: "n1".into() });
}

#[test]
fn released_volumes_go_where_they_are() {
    let delete = VolumeStep::Delete {
        node: "n2".into(),
        handle: "h".into(),
    };
    assert_eq!(step(&volume("Released", "Delete")), delete);
    assert_eq!(step(&volume("Bound", "Delete")), VolumeStep::Nothing);
    assert_eq!(step(&volume("Released", "Retain")), VolumeStep::Forget);
    let mut foreign = volume("Released", "Delete");
    foreign.metadata.annotations = None;
    assert_eq!(step(&foreign), VolumeStep::Nothing);
}
