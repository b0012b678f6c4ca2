//! Decisions of the binder on made-up objects.

use serde_json::{Value, json};

use super::*;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn shared<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(object(value))
}

fn claim(spec: Value, annotations: Value, phase: &str) -> PersistentVolumeClaim {
    let mut all = json!({"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut all, &spec);
    object(json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "cu", "annotations": annotations},
        "spec": all, "status": {"phase": phase},
    }))
}

fn volume(name: &str, spec: Value, phase: &str) -> Arc<PersistentVolume> {
    let mut all = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"},
        "csi": {"driver": "d", "volumeHandle": "h"}});
    json_patch::merge(&mut all, &spec);
    shared(json!({"metadata": {"name": name}, "spec": all, "status": {"phase": phase}}))
}

fn class(name: &str, mode: &str, provisioner: &str) -> Arc<StorageClass> {
    shared(
        json!({"metadata": {"name": name}, "provisioner": provisioner,
        "volumeBindingMode": mode}),
    )
}

fn for_claim(uid: &str) -> Value {
    json!({"claimRef": {"namespace": "ns", "name": "c", "uid": uid}})
}

fn step(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    classes: &[Arc<StorageClass>],
) -> ClaimStep {
    claim_step(
        claim,
        &Surroundings {
            volumes,
            classes,
            pods: &[],
        },
    )
}

fn reason(step: &ClaimStep) -> &str {
    match step {
        ClaimStep::Wait { reason, .. } | ClaimStep::Lose { reason, .. } => reason,
        _ => "",
    }
}

#[test]
fn the_smallest_fitting_volume_is_taken() {
    let volumes = [
        volume(
            "large",
            json!({"capacity": {"storage": "9Gi"}}),
            "Available",
        ),
        volume("fit", json!({}), "Available"),
        volume(
            "small",
            json!({"capacity": {"storage": "1Mi"}}),
            "Available",
        ),
        volume(
            "block",
            json!({"volumeMode": "Block", "capacity": {"storage": "1Gi"}}),
            "Available",
        ),
        volume(
            "shared",
            json!({"accessModes": ["ReadWriteMany"]}),
            "Available",
        ),
        volume("classy", json!({"storageClassName": "x"}), "Available"),
        volume(
            "released",
            json!({"capacity": {"storage": "1Gi"}}),
            "Released",
        ),
    ];
    let claim = claim(json!({"storageClassName": ""}), json!({}), "Pending");
    assert_eq!(
        step(&claim, &volumes, &[]),
        ClaimStep::Bind(volumes[1].clone())
    );
}

#[test]
fn a_selector_narrows_the_choice() {
    let volumes = [volume("plain", json!({}), "Available")];
    let spec = json!({"storageClassName": "", "selector": {"matchLabels": {"tier": "fast"}}});
    let step = step(&claim(spec, json!({}), "Pending"), &volumes, &[]);
    assert_eq!(reason(&step), "FailedBinding");
}

#[test]
fn a_reserved_volume_wins_even_while_binding_is_delayed() {
    let volumes = [
        volume("other", json!({"storageClassName": "local"}), "Available"),
        volume("mine", for_claim("cu"), "Bound"),
    ];
    let classes = [class("local", "WaitForFirstConsumer", "d")];
    let claim = claim(
        json!({"storageClassName": "local",
            "dataSourceRef": {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource",
                "name": "s"}}),
        json!({}),
        "Pending",
    );
    assert_eq!(
        step(&claim, &volumes, &classes),
        ClaimStep::Bind(volumes[1].clone())
    );
    assert_eq!(
        reason(&step(&claim, &volumes[..1], &classes)),
        "WaitForFirstConsumer"
    );
}

#[test]
fn a_driver_is_asked_once_a_node_is_chosen_or_need_not_be() {
    let expected = ClaimStep::Provision {
        provisioner: "d".into(),
    };
    let chosen = claim(
        json!({"storageClassName": "local"}),
        json!({well_known::SELECTED_NODE: "n1"}),
        "Pending",
    );
    assert_eq!(
        step(&chosen, &[], &[class("local", "WaitForFirstConsumer", "d")]),
        expected
    );
    let immediate = claim(json!({"storageClassName": "now"}), json!({}), "Pending");
    assert_eq!(
        step(&immediate, &[], &[class("now", "Immediate", "d")]),
        expected
    );
    let manual = step(
        &immediate,
        &[],
        &[class("now", "Immediate", well_known::NO_PROVISIONER)],
    );
    assert_eq!(reason(&manual), "ProvisioningFailed");
    assert_eq!(reason(&step(&immediate, &[], &[])), "ProvisioningFailed");
}

#[test]
fn a_claim_without_a_class_gets_the_newest_default() {
    let default = |name: &str, created: &str| -> Arc<StorageClass> {
        shared(
            json!({"provisioner": "d", "metadata": {"name": name, "creationTimestamp": created,
            "annotations": {well_known::DEFAULT_CLASS: "true"}}}),
        )
    };
    let classes = [
        class("plain", "Immediate", "d"),
        default("old", "2026-01-01T00:00:00Z"),
        default("new", "2026-01-02T00:00:00Z"),
    ];
    let unset = claim(json!({}), json!({}), "Pending");
    assert_eq!(
        step(&unset, &[], &classes),
        ClaimStep::SetClass("new".into())
    );
    let none = claim(json!({"storageClassName": ""}), json!({}), "Pending");
    assert_eq!(reason(&step(&none, &[], &classes)), "FailedBinding");
}

#[test]
fn a_claim_whose_volume_was_given_away_is_lost() {
    let done = json!({well_known::BIND_COMPLETED: "yes"});
    let bound = claim(json!({"volumeName": "v"}), done.clone(), "Bound");
    let kept = volume("v", for_claim("cu"), "Bound");
    assert_eq!(
        step(&bound, std::slice::from_ref(&kept), &[]),
        ClaimStep::Nothing
    );
    let away = volume(
        "v",
        json!({"claimRef": {"namespace": "ns", "name": "d", "uid": "du"}}),
        "Bound",
    );
    assert_eq!(
        reason(&step(&bound, std::slice::from_ref(&away), &[])),
        "ClaimMisbound"
    );
    assert_eq!(reason(&step(&bound, &[], &[])), "ClaimLost");
    let lost = claim(json!({"volumeName": "v"}), done, "Lost");
    assert_eq!(step(&lost, &[away], &[]), ClaimStep::Nothing);
    assert_eq!(
        step(&lost, std::slice::from_ref(&kept), &[]),
        ClaimStep::Bind(kept)
    );
}

#[test]
fn a_named_volume_must_be_free_and_fit() {
    let named = claim(
        json!({"volumeName": "v", "storageClassName": ""}),
        json!({}),
        "Pending",
    );
    let taken = volume(
        "v",
        json!({"claimRef": {"namespace": "ns", "name": "d", "uid": "du"}}),
        "Bound",
    );
    assert_eq!(reason(&step(&named, &[taken], &[])), "FailedBinding");
    let small = volume("v", json!({"capacity": {"storage": "1Mi"}}), "Available");
    assert_eq!(reason(&step(&named, &[small], &[])), "VolumeMismatch");
    let free = volume("v", json!({}), "Available");
    assert_eq!(
        step(&named, std::slice::from_ref(&free), &[]),
        ClaimStep::Bind(free)
    );
}

#[test]
fn a_volume_is_released_with_its_claim_and_reclaimed_by_policy() {
    let bound = volume("v", for_claim("cu"), "Bound");
    assert_eq!(volume_step(&bound, None), VolumeStep::Phase("Released"));
    let released = volume("v", for_claim("cu"), "Released");
    assert_eq!(volume_step(&released, None), VolumeStep::Nothing);
    let reclaimed = |policy: &str| {
        let mut spec = for_claim("cu");
        spec["persistentVolumeReclaimPolicy"] = json!(policy);
        volume("v", spec, "Released")
    };
    let failed = |policy| match volume_step(&reclaimed(policy), None) {
        VolumeStep::Fail { reason, message } => (reason, message),
        other => panic!("{other:?}"),
    };
    let text = "error getting deleter volume plugin for volume \"v\": no deletable volume plugin \
                matched";
    assert_eq!(failed("Delete"), ("VolumeFailedDelete", text.to_owned()));
    let text = "No recycler plugin found for the volume!";
    assert_eq!(failed("Recycle"), ("VolumeFailedRecycle", text.to_owned()));
    let mut made = PersistentVolume::clone(&reclaimed("Delete"));
    made.metadata.annotations = object(json!({well_known::PROVISIONED_BY: "d"}));
    assert_eq!(volume_step(&made, None), VolumeStep::Nothing);
}

#[test]
fn a_claim_without_a_class_takes_a_volume_without_one_before_the_default() {
    let default = shared(json!({"provisioner": "d", "metadata": {"name": "new",
        "annotations": {well_known::DEFAULT_CLASS: "true"}}}));
    let unset = claim(json!({}), json!({}), "Pending");
    let plain = volume("plain", json!({}), "Available");
    assert_eq!(
        step(&unset, std::slice::from_ref(&plain), &[default]),
        ClaimStep::Bind(plain)
    );
}

#[test]
fn a_class_in_an_annotation_counts() {
    let old = claim(
        json!({}),
        json!({well_known::BETA_STORAGE_CLASS: "local"}),
        "Pending",
    );
    let local = volume("v", json!({"storageClassName": "local"}), "Available");
    let plain = volume("plain", json!({}), "Available");
    assert_eq!(
        step(&old, &[plain, local.clone()], &[]),
        ClaimStep::Bind(local)
    );
}

#[test]
fn a_volume_follows_its_claim() {
    let mine = claim(json!({"volumeName": "v"}), json!({}), "Bound");
    let reserved = volume("v", for_claim("cu"), "Available");
    assert_eq!(
        volume_step(&reserved, Some(&mine)),
        VolumeStep::Phase("Bound")
    );
    let elsewhere = claim(json!({"volumeName": "w"}), json!({}), "Bound");
    assert_eq!(volume_step(&reserved, Some(&elsewhere)), VolumeStep::Unbind);
    let unclaimed = volume("v", json!({}), "Pending");
    assert_eq!(
        volume_step(&unclaimed, None),
        VolumeStep::Phase("Available")
    );
}
