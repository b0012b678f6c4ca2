use serde_json::{Value, json};

use super::*;

fn target(phase: &str, annotations: Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {
            "name": "disk", "namespace": "vms", "uid": "t-1", "resourceVersion": "7",
            "annotations": annotations,
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "selector": { "matchLabels": { "a": "b" } },
            "dataSourceRef": {
                "apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "source",
            },
        },
        "status": { "phase": phase },
    }))
    .unwrap()
}

fn prime(phase: &str, annotations: Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": { "name": "prime-t-1", "namespace": "vms", "annotations": annotations },
        "status": { "phase": phase },
    }))
    .unwrap()
}

fn class(mode: &str) -> StorageClass {
    serde_json::from_value(json!({ "provisioner": "p", "volumeBindingMode": mode })).unwrap()
}

fn source() -> VolumeImportSource {
    let http = json!({ "source": { "http": { "url": "http://host/disk" } } });
    VolumeImportSource::new("source", serde_json::from_value(http).unwrap())
}

fn volume(claim_uid: &str) -> PersistentVolume {
    serde_json::from_value(json!({
        "metadata": { "name": "pv" }, "spec": { "claimRef": { "uid": claim_uid } },
    }))
    .unwrap()
}

fn observe<'a>(
    target: &'a PersistentVolumeClaim,
    source: &'a VolumeImportSource,
    class: &'a StorageClass,
    prime: Option<&'a PersistentVolumeClaim>,
) -> Observed<'a> {
    Observed {
        target,
        source: Some(source),
        class: Some(class),
        prime,
        volume: None,
        obstacle: None,
    }
}

#[test]
fn only_claims_that_name_an_import_source_are_filled() {
    assert!(is_import_target(&target("Pending", json!({}))));
    assert!(!is_import_target(&prime("Pending", json!({}))));
}

#[test]
fn filling_begins_with_the_first_consumer() {
    let (source, class) = (source(), class("WaitForFirstConsumer"));
    let waiting = target("Pending", json!({}));
    assert_eq!(
        plan(observe(&waiting, &source, &class, None)),
        Plan::default()
    );
    for key in [annotations::SELECTED_NODE, annotations::IMMEDIATE_BIND] {
        let ready = target("Pending", json!({ key: "node-1" }));
        let Step::CreatePrime(prime) = plan(observe(&ready, &source, &class, None)).step else {
            panic!("{key} must start it");
        };
        assert_eq!(prime.name_any(), "prime-t-1");
        assert_eq!(
            prime.annotations()[annotations::ENDPOINT],
            "http://host/disk"
        );
        assert!(
            prime
                .annotations()
                .contains_key(annotations::IMMEDIATE_BIND)
        );
        let spec = prime.spec.unwrap();
        assert!(spec.selector.is_none() && spec.data_source_ref.is_none());
    }
}

#[test]
fn the_volume_is_handed_over_once_it_is_complete() {
    let (source, class) = (source(), class("Immediate"));
    let target = target("Pending", json!({}));
    let volume = volume("prime-uid");
    let running = prime("Bound", json!({ annotations::POD_PHASE: "Running" }));
    let mut observed = observe(&target, &source, &class, Some(&running));
    observed.volume = Some(&volume);
    assert_eq!(plan(observed).step, Step::None);
    let done = prime("Bound", json!({ annotations::POD_PHASE: "Succeeded" }));
    observed.prime = Some(&done);
    let Step::Rebind { volume, claim } = plan(observed).step else {
        panic!("it must be bound")
    };
    assert_eq!((volume.as_str(), claim.uid.as_deref()), ("pv", Some("t-1")));
    let handed_over = self::volume("t-1");
    observed.volume = Some(&handed_over);
    assert_eq!(plan(observed).step, Step::None, "nothing is done twice");
}

#[test]
fn the_prime_claim_goes_when_the_target_has_its_volume() {
    let (source, class) = (source(), class("Immediate"));
    let target = target("Bound", json!({}));
    let lost = prime("Lost", json!({ annotations::POD_PHASE: "Succeeded" }));
    let plan = plan(observe(&target, &source, &class, Some(&lost)));
    assert_eq!(plan.step, Step::DeletePrime);
    assert_eq!(
        plan.annotations[annotations::POD_PHASE].as_deref(),
        Some("Succeeded")
    );
    assert_eq!(plan.notices[0].reason, "importSucceeded");
}

#[test]
fn a_source_that_is_not_served_never_becomes_an_empty_disk() {
    let class = class("Immediate");
    let target = target("Pending", json!({}));
    let unserved = [
        json!({}),
        json!({ "source": { "s3": { "url": "http://host/disk" } } }),
        json!({ "source": { "http": { "url": "http://host/disk", "checksum": "md5:0" } } }),
        json!({ "source": { "blank": {} }, "contentType": "archive" }),
    ];
    for spec in unserved {
        let source = VolumeImportSource::new("s", serde_json::from_value(spec.clone()).unwrap());
        let plan = plan(observe(&target, &source, &class, None));
        assert_eq!(plan.step, Step::None, "{spec}");
        assert!(
            plan.notices[0]
                .message
                .starts_with("VolumeImportSource s: "),
            "{spec}"
        );
    }
}

#[test]
fn a_worker_that_is_to_be_kept_keeps_its_claim() {
    let (source, class) = (source(), class("Immediate"));
    let done = json!({ annotations::POD_PHASE: "Succeeded", annotations::RETAIN_POD: "true" });
    let lost = prime("Lost", done.clone());
    let target = target("Bound", json!({}));
    let first = plan(observe(&target, &source, &class, Some(&lost)));
    assert_eq!(first.step, Step::None);
    assert_eq!(first.notices[1].reason, "RetainedPVCPrime");
    let told = self::target("Bound", done);
    assert_eq!(
        plan(observe(&told, &source, &class, Some(&lost))).notices,
        []
    );
}

#[test]
fn why_there_is_no_volume_is_told_on_the_target() {
    let (source, class) = (source(), class("Immediate"));
    let target = target("Pending", json!({}));
    let pending = prime("Pending", json!({}));
    let mut observed = observe(&target, &source, &class, Some(&pending));
    observed.obstacle = Some(("ProvisioningFailed", "the pool is full"));
    let plan = plan(observed);
    assert_eq!(
        plan.annotations[annotations::BOUND_MESSAGE].as_deref(),
        Some("[prime-t-1] : the pool is full")
    );
    assert_eq!(plan.notices[0].reason, "ProvisioningFailed");
}
