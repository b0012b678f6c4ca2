use serde_json::{Value, json};

use super::*;

const DRIVER: &str = "kubevirt.io.hostpath-provisioner";

fn data_volume(phase: &str) -> DataVolume {
    serde_json::from_value(json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
        "metadata": {
            "name": "disk", "namespace": "vms", "uid": "d-1",
            "annotations": { annotations::USE_POPULATOR: "true" },
        },
        "spec": {
            "source": { "http": { "url": "http://host/disk" } },
            "storage": {
                "storageClassName": "local", "resources": { "requests": { "storage": "1Gi" } },
            },
        },
        "status": { "phase": phase },
    }))
    .unwrap()
}

fn classes(binding: &str) -> Vec<StorageClass> {
    serde_json::from_value(json!([{
        "metadata": { "name": "local" }, "provisioner": DRIVER, "volumeBindingMode": binding,
    }]))
    .unwrap()
}

fn claim(phase: &str, annotations: Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {
            "name": "disk", "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": "disk",
                "uid": "d-1", "controller": true,
            }],
        },
        "spec": {
            "storageClassName": "local",
            "dataSourceRef": {
                "apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "s",
            },
        },
        "status": { "phase": phase },
    }))
    .unwrap()
}

fn decide(
    data_volume: &DataVolume,
    claim: Option<&PersistentVolumeClaim>,
    classes: &[StorageClass],
) -> Plan {
    let drivers = [DRIVER.to_owned()];
    let overhead = Overhead::DEFAULT;
    plan(Observed {
        data_volume,
        claim,
        classes,
        drivers: &drivers,
        overhead,
    })
}

#[test]
fn a_new_one_gets_a_claim_and_a_source() {
    let plan = decide(&data_volume(""), None, &classes("Immediate"));
    let Step::CreateClaim { claim, source } = plan.step else {
        panic!("{:?}", plan.step)
    };
    assert_eq!(claim.name_any(), "disk");
    assert_eq!(source.unwrap().name_any(), "volume-import-source-d-1");
    assert_eq!(plan.status.phase, DataVolumePhase::Pending);
}

#[test]
fn without_a_csi_driver_the_claim_itself_is_filled() {
    let mut data_volume = data_volume("");
    data_volume.metadata.annotations = None;
    let classes = classes("Immediate");
    let overhead = Overhead::DEFAULT;
    let observed = Observed {
        data_volume: &data_volume,
        claim: None,
        classes: &classes,
        drivers: &[],
        overhead,
    };
    let plan = plan(observed);
    assert!(matches!(plan.step, Step::CreateClaim { source: None, .. }));
    assert_eq!(
        plan.annotations[annotations::USE_POPULATOR].as_deref(),
        Some("false")
    );
}

#[test]
fn the_phase_follows_the_claim_and_its_worker() {
    use DataVolumePhase as Phase;
    let pod = |phase: &str| json!({ annotations::POD_PHASE: phase });
    let cases = [
        (
            "WaitForFirstConsumer",
            "Pending",
            json!({}),
            Phase::PendingPopulation,
        ),
        (
            "WaitForFirstConsumer",
            "Pending",
            json!({ annotations::SELECTED_NODE: "n" }),
            Phase::Pending,
        ),
        ("Immediate", "Pending", json!({}), Phase::Pending),
        (
            "Immediate",
            "Pending",
            pod("Pending"),
            Phase::ImportScheduled,
        ),
        (
            "Immediate",
            "Pending",
            pod("Running"),
            Phase::ImportInProgress,
        ),
        (
            "Immediate",
            "Pending",
            pod("Succeeded"),
            Phase::ImportInProgress,
        ),
        ("Immediate", "Bound", json!({}), Phase::PvcBound),
        ("Immediate", "Bound", pod("Succeeded"), Phase::Succeeded),
        ("Immediate", "Lost", pod("Succeeded"), Phase::Failed),
    ];
    for (binding, phase, annotations, expected) in cases {
        let claim = claim(phase, annotations.clone());
        let plan = decide(&data_volume("Pending"), Some(&claim), &classes(binding));
        assert_eq!(
            plan.status.phase, expected,
            "{binding} {phase} {annotations}"
        );
    }
}

#[test]
fn success_is_told_once_and_the_source_removed() {
    let claim = claim("Bound", json!({ annotations::POD_PHASE: "Succeeded" }));
    let first = decide(
        &data_volume("ImportInProgress"),
        Some(&claim),
        &classes("Immediate"),
    );
    assert_eq!(
        first.step,
        Step::DeleteSource("volume-import-source-d-1".to_owned())
    );
    assert_eq!(first.status.progress, "100.0%");
    assert_eq!(
        first.notices,
        [Notice::normal(
            "ImportSucceeded",
            "Successfully imported into PVC disk",
        )]
    );
    let conditions: Vec<_> = first
        .status
        .findings
        .iter()
        .map(|f| (f.type_, f.status_text(), f.reason.as_str()))
        .collect();
    assert_eq!(
        conditions,
        [
            ("Bound", "True", "Bound"),
            ("Running", "False", "Completed"),
            ("Ready", "True", ""),
        ]
    );
    let again = decide(
        &data_volume("Succeeded"),
        Some(&claim),
        &classes("Immediate"),
    );
    assert_eq!((again.step, again.notices), (Step::None, vec![]));
}

#[test]
fn a_quick_import_is_told_in_full() {
    let claim = claim("Bound", json!({ annotations::POD_PHASE: "Succeeded" }));
    let plan = decide(&data_volume("Pending"), Some(&claim), &classes("Immediate"));
    let told: Vec<_> = plan
        .notices
        .iter()
        .map(|notice| notice.reason.as_str())
        .collect();
    assert_eq!(
        told,
        ["ImportScheduled", "ImportInProgress", "ImportSucceeded"]
    );
}

#[test]
fn a_failure_is_told_and_tried_again() {
    let claim = claim(
        "Pending",
        json!({
            annotations::POD_PHASE: "Running",
            annotations::RUNNING: "false",
            annotations::RUNNING_REASON: "Error",
            annotations::RUNNING_MESSAGE: "Unable to connect",
            annotations::POD_RESTARTS: "3",
        }),
    );
    let plan = decide(
        &data_volume("ImportInProgress"),
        Some(&claim),
        &classes("Immediate"),
    );
    assert_eq!(
        plan.status.phase,
        DataVolumePhase::ImportInProgress,
        "it never fails for good"
    );
    assert_eq!(plan.status.restart_count, 3);
    assert_eq!(
        plan.notices,
        [Notice::warning("Error", "Unable to connect")]
    );
}

#[test]
fn a_claim_of_somebody_else_is_left_alone() {
    let mut foreign = claim("Bound", json!({}));
    foreign.metadata.owner_references = None;
    let plan = decide(&data_volume(""), Some(&foreign), &classes("Immediate"));
    assert_eq!(plan.step, Step::None);
    assert_eq!(plan.notices[0].reason, "ErrResourceExists");
}

#[test]
fn a_missing_class_is_awaited() {
    let plan = decide(&data_volume(""), None, &[]);
    assert_eq!(plan.step, Step::None);
    assert_eq!(plan.status.phase, DataVolumePhase::Unset);
    assert_eq!(plan.notices[0].reason, "ErrStorageClassNotFound");
}
