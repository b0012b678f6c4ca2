//! Claims and volumes: static, dynamic, handed over, reclaimed.

use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi::v1::{CreateVolumeRequest, VolumeCapability};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use kube::ResourceExt as _;
use longshore_standalone::csi_client::CsiClient;
use serde_json::json;

use crate::home::{Home, annotation, claim, delete, gone, patch, until, volume, volume_of};

const IMMEDIATE: &str = "longshore-local-immediate";

#[tokio::test]
async fn an_immediate_claim_is_provisioned_and_reclaimed() {
    let home = Home::start(&["n1"]).await;
    home.create::<PersistentVolumeClaim>(claim("data", IMMEDIATE, json!({})))
        .await;
    let bound = home.claim_in("data", "Bound").await;
    let name = volume_of(&bound);
    assert_eq!(name, format!("pvc-{}", bound.uid().unwrap()));
    for key in ["bind-completed", "bound-by-controller"] {
        assert_eq!(
            annotation(&bound, &format!("pv.kubernetes.io/{key}")).as_deref(),
            Some("yes")
        );
    }
    let capacity = bound.status.unwrap().capacity.unwrap();
    assert_eq!(capacity["storage"].0, "16Mi");

    let made = home.volume_in(&name, "Bound").await;
    assert!(home.pool("n1").join(&name).is_dir());
    let spec = serde_json::to_value(made.spec.as_ref().unwrap()).unwrap();
    assert_eq!(spec["persistentVolumeReclaimPolicy"], "Delete");
    let term = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(term["values"], json!(["n1"]));
    let message = home.event("data", "ProvisioningSucceeded").await.message;
    assert_eq!(
        message,
        Some(format!("Successfully provisioned volume {name}"))
    );

    delete(&home.api::<PersistentVolumeClaim>(), "data").await;
    gone(&home.cluster_api::<PersistentVolume>(), &name).await;
    gone(&home.api::<PersistentVolumeClaim>(), "data").await;
    assert!(!home.pool("n1").join(&name).exists());
}

#[tokio::test]
async fn a_refusal_of_the_driver_is_told_to_the_claims_owner() {
    let home = Home::start(&["n1"]).await;
    home.create_cluster::<StorageClass>(json!({
        "metadata": {"name": "odd"},
        "provisioner": "kubevirt.io.hostpath-provisioner",
        "parameters": {"storagePool": "elsewhere"},
        "volumeBindingMode": "Immediate",
    }))
    .await;
    home.create::<PersistentVolumeClaim>(claim("data", "odd", json!({})))
        .await;
    let message = home
        .event("data", "ProvisioningFailed")
        .await
        .message
        .unwrap();
    let start = "failed to provision volume with StorageClass \"odd\": rpc error: code = ";
    assert!(message.starts_with(start), "{message}");
    home.claim_in("data", "Pending").await;
}

#[tokio::test]
async fn a_volume_that_people_made_is_bound_kept_and_released() {
    let home = Home::start(&[]).await;
    home.create_cluster::<PersistentVolume>(volume(
        "small",
        "",
        json!({"capacity": {"storage": "1Mi"}}),
    ))
    .await;
    home.create_cluster::<PersistentVolume>(volume("fit", "", json!({})))
        .await;
    home.volume_in("fit", "Available").await;
    home.create::<PersistentVolumeClaim>(claim("data", "", json!({})))
        .await;
    assert_eq!(volume_of(&home.claim_in("data", "Bound").await), "fit");
    home.volume_in("fit", "Bound").await;
    home.volume_in("small", "Available").await;
    delete(&home.api::<PersistentVolumeClaim>(), "data").await;
    home.volume_in("fit", "Released").await;
    let volumes = home.cluster_api::<PersistentVolume>();
    patch(&volumes, "fit", json!({"spec": {"claimRef": null}})).await;
    home.volume_in("fit", "Available").await;
}

#[tokio::test]
async fn a_volume_is_handed_over_by_its_claim_reference() {
    let home = Home::start(&["n1"]).await;
    let source = json!({"dataSourceRef":
        {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "s"}});
    home.create::<PersistentVolumeClaim>(claim("prime", IMMEDIATE, json!({})))
        .await;
    let target = home
        .create::<PersistentVolumeClaim>(claim("target", IMMEDIATE, source))
        .await;
    let name = volume_of(&home.claim_in("prime", "Bound").await);
    let message = home.event("target", "Provisioning").await.message;
    assert_eq!(
        message.as_deref(),
        Some("Assuming an external populator will provision the volume")
    );

    let reference = json!({"spec": {"claimRef": {
        "namespace": "default", "name": "target", "uid": target.uid(), "resourceVersion": null}}});
    patch(&home.cluster_api::<PersistentVolume>(), &name, reference).await;
    assert_eq!(volume_of(&home.claim_in("target", "Bound").await), name);
    home.claim_in("prime", "Lost").await;
    home.event("prime", "ClaimMisbound").await;

    // The first claim takes nothing with it.
    delete(&home.api::<PersistentVolumeClaim>(), "prime").await;
    gone(&home.api::<PersistentVolumeClaim>(), "prime").await;
    home.volume_in(&name, "Bound").await;
    assert!(home.pool("n1").join(&name).is_dir());
}

#[tokio::test]
async fn a_claim_is_lost_with_its_volume() {
    let home = Home::start(&[]).await;
    home.create_cluster::<PersistentVolume>(volume("v", "", json!({})))
        .await;
    home.create::<PersistentVolumeClaim>(claim("data", "", json!({})))
        .await;
    home.claim_in("data", "Bound").await;
    let volumes = home.cluster_api::<PersistentVolume>();
    delete(&volumes, "v").await;
    // In use: it stays until someone insists.
    let held = until(&volumes, "v", "held", |v| {
        v.metadata.deletion_timestamp.is_some()
    })
    .await;
    assert!(
        held.finalizers()
            .contains(&"kubernetes.io/pv-protection".to_owned())
    );
    patch(&volumes, "v", json!({"metadata": {"finalizers": null}})).await;
    home.claim_in("data", "Lost").await;
    home.event("data", "ClaimLost").await;
}

#[tokio::test]
async fn a_restart_finds_its_work_and_repeats_none() {
    let mut home = Home::start(&["n1"]).await;
    home.create::<PersistentVolumeClaim>(claim("before", IMMEDIATE, json!({})))
        .await;
    let before = home.claim_in("before", "Bound").await;
    let volume = home.volume_in(&volume_of(&before), "Bound").await;
    home.stop_control_plane().await;
    home.create::<PersistentVolumeClaim>(claim("meanwhile", IMMEDIATE, json!({})))
        .await;
    home.start_control_plane().await;
    home.claim_in("meanwhile", "Bound").await;

    let claims = home.api::<PersistentVolumeClaim>();
    let volumes = home.cluster_api::<PersistentVolume>();
    assert_eq!(
        claims.get("before").await.unwrap().metadata,
        before.metadata
    );
    assert_eq!(
        volumes.get(&volume.name_any()).await.unwrap().metadata,
        volume.metadata
    );
    assert!(
        home.cluster_api::<CSIDriver>()
            .get("kubevirt.io.hostpath-provisioner")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_claim_without_a_class_gets_the_default_one() {
    let home = Home::start(&["n1"]).await;
    let unset = claim("data", "", json!({"storageClassName": null}));
    home.create::<PersistentVolumeClaim>(unset).await;
    let claims = home.api::<PersistentVolumeClaim>();
    until(&claims, "data", "classed", |claim| {
        claim.spec.as_ref().unwrap().storage_class_name.as_deref() == Some("longshore-local")
    })
    .await;
    let message = home.event("data", "WaitForFirstConsumer").await.message;
    assert_eq!(
        message.as_deref(),
        Some("waiting for first consumer to be created before binding")
    );
}

#[tokio::test]
async fn a_volume_that_nobody_can_remove_fails_and_a_claim_made_again_is_another() {
    let home = Home::start(&[]).await;
    let delete_it = json!({"persistentVolumeReclaimPolicy": "Delete"});
    home.create_cluster::<PersistentVolume>(volume("v", "", delete_it))
        .await;
    home.create::<PersistentVolumeClaim>(claim("data", "", json!({})))
        .await;
    home.claim_in("data", "Bound").await;
    let claims = home.api::<PersistentVolumeClaim>();
    delete(&claims, "data").await;
    gone(&claims, "data").await;
    let again = home
        .create::<PersistentVolumeClaim>(claim("data", "", json!({})))
        .await;
    assert_eq!(
        again.metadata.finalizers.unwrap(),
        ["kubernetes.io/pvc-protection"]
    );
    let failed = home.volume_in("v", "Failed").await.status.unwrap();
    let text = "error getting deleter volume plugin for volume \"v\": no deletable volume plugin \
                matched";
    assert_eq!(failed.message.as_deref(), Some(text));
    assert!(failed.last_phase_transition_time.is_some());
    assert_eq!(
        home.event("v", "VolumeFailedDelete")
            .await
            .message
            .as_deref(),
        Some(text)
    );
    let message = home.event("data", "FailedBinding").await.message;
    let none = "no persistent volumes available for this claim and no storage class is set";
    assert_eq!(message.as_deref(), Some(none));
}

#[tokio::test]
async fn two_claims_never_share_a_volume() {
    let home = Home::start(&[]).await;
    for name in ["a", "b", "c"] {
        home.create::<PersistentVolumeClaim>(claim(name, "", json!({})))
            .await;
    }
    for name in ["v1", "v2", "v3"] {
        home.create_cluster::<PersistentVolume>(volume(name, "", json!({})))
            .await;
    }
    let mut bound = Vec::new();
    for name in ["a", "b", "c"] {
        bound.push(volume_of(&home.claim_in(name, "Bound").await));
    }
    bound.sort();
    assert_eq!(bound, ["v1", "v2", "v3"]);
}

#[tokio::test]
async fn a_volume_whose_making_was_cut_short_goes_with_its_claim() {
    let mut home = Home::start(&["n1"]).await;
    home.create::<PersistentVolumeClaim>(claim("first", IMMEDIATE, json!({})))
        .await;
    home.claim_in("first", "Bound").await;
    home.stop_control_plane().await;

    // As a process leaves it that ends between the driver's answer and the volume's object.
    let mut cut_short = claim("data", IMMEDIATE, json!({}));
    cut_short["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    cut_short["metadata"]["annotations"] = json!({
        "volume.kubernetes.io/selected-node": "n1",
        "volume.kubernetes.io/storage-provisioner": "kubevirt.io.hostpath-provisioner",
    });
    let cut_short = home.create::<PersistentVolumeClaim>(cut_short).await;
    let volume = format!("pvc-{}", cut_short.uid().unwrap());
    make_volume(&home, &volume).await;
    assert!(home.pool("n1").join(&volume).is_dir());
    let claims = home.api::<PersistentVolumeClaim>();
    delete(&claims, "data").await;

    home.start_control_plane().await;
    gone(&claims, "data").await;
    assert!(!home.pool("n1").join(&volume).exists());
}

/// Makes a volume as a claim's first `CreateVolume` does.
async fn make_volume(home: &Home, name: &str) {
    let capability = VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    };
    let request = CreateVolumeRequest {
        name: name.to_owned(),
        volume_capabilities: vec![capability],
        parameters: [("storagePool".to_owned(), "legacy".to_owned())].into(),
        ..CreateVolumeRequest::default()
    };
    let driver = CsiClient::new(&home.socket("n1")).unwrap();
    let made = driver.controller().create_volume(request).await.unwrap();
    assert_eq!(made.into_inner().volume.unwrap().volume_id, name);
}
