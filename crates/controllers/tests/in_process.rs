//! The reconcilers against a real API server, in process: no socket, and time that stands still.
//!
//! The test plays the parts that a cluster has beside them: scheduler, provisioner and kubelet.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::{DataVolume, DataVolumePhase, VolumeImportSource, annotations};
use apiserver::{
    ApiServer, User,
    extend::{Admission, AdmissionRequest, Extensions},
    status::Status,
};
use controllers::Config;
use http::StatusCode;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
        storage::v1::{CSIDriver, StorageClass},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::wait::{Condition, await_condition},
};
use longshore_controllers as controllers;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const DRIVER: &str = "kubevirt.io.hostpath-provisioner";

/// An API server with the reconcilers at work on it.
struct Fixture {
    client: Client,
    server: ApiServer,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn start(binding: &str) -> Self {
        Self::start_with(binding, Extensions::default()).await
    }

    async fn start_with(binding: &str, extensions: Extensions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path(), extensions).await.unwrap();
        let client = Client::new(server.service(User::system()), "default");
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        for definition in api::crds::all() {
            definitions
                .create(&PostParams::default(), &definition)
                .await
                .unwrap();
        }
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": { "name": "local" }, "provisioner": DRIVER, "volumeBindingMode": binding,
        }))
        .unwrap();
        let classes = Api::<StorageClass>::all(client.clone());
        classes
            .create(&PostParams::default(), &class)
            .await
            .unwrap();
        let driver: CSIDriver =
            serde_json::from_value(json!({ "metadata": { "name": DRIVER }, "spec": {} })).unwrap();
        let drivers = Api::<CSIDriver>::all(client.clone());
        drivers
            .create(&PostParams::default(), &driver)
            .await
            .unwrap();
        let forever = std::future::pending();
        tokio::spawn(controllers::run(client.clone(), Config::default(), forever));
        Self {
            client,
            server,
            _dir: dir,
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::default_namespaced(self.client.clone())
    }

    async fn create(&self, source: Value) -> DataVolume {
        let data_volume: DataVolume = serde_json::from_value(json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
            "metadata": { "name": "disk" },
            "spec": {
                "source": source,
                "storage": {
                    "storageClassName": "local",
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            },
        }))
        .unwrap();
        self.api()
            .create(&PostParams::default(), &data_volume)
            .await
            .unwrap()
    }

    async fn until<K>(&self, name: &str, condition: impl Condition<K>) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        await_condition(self.api::<K>(), name, condition)
            .await
            .unwrap()
    }

    async fn phase(&self, phase: DataVolumePhase) -> DataVolume {
        let reached =
            move |volume: Option<&DataVolume>| volume.is_some_and(|volume| volume.phase() == phase);
        self.until("disk", reached).await.unwrap()
    }

    /// Lets a claim go that nobody uses, as a cluster's own controllers do.
    async fn unprotect(&self, claim: &str) {
        let claims = self.api::<PersistentVolumeClaim>();
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        claims
            .patch(claim, &PatchParams::default(), &free)
            .await
            .unwrap();
    }

    async fn set_status<K>(&self, name: &str, status: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn worker(&self, prime: &str, phase: &str, state: Value) {
        let container = json!([{
            "name": "importer", "image": "longshore", "imageID": "", "ready": true,
            "restartCount": 0, "state": state,
        }]);
        let status = json!({ "phase": phase, "containerStatuses": container });
        self.set_status::<Pod>(&format!("importer-{prime}"), status)
            .await;
    }
}

fn exists<K>(object: Option<&K>) -> bool {
    object.is_some()
}

fn is_gone<K>(object: Option<&K>) -> bool {
    object.is_none()
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_filled_out_of_sight_and_handed_over_whole() {
    let cluster = Fixture::start("Immediate").await;
    let data_volume = cluster
        .create(json!({ "http": { "url": "http://127.0.0.1/disk.qcow2" } }))
        .await;

    let claim: PersistentVolumeClaim = cluster.until("disk", exists).await.unwrap();
    let requests = claim
        .spec
        .as_ref()
        .unwrap()
        .resources
        .as_ref()
        .unwrap()
        .requests
        .as_ref();
    assert_eq!(requests.unwrap()["storage"].0, "1138166334");
    let source = format!("volume-import-source-{}", data_volume.uid().unwrap());
    assert_eq!(
        claim
            .spec
            .as_ref()
            .unwrap()
            .data_source_ref
            .as_ref()
            .unwrap()
            .name,
        source
    );

    let prime = format!("prime-{}", claim.uid().unwrap());
    let pod = format!("importer-{prime}");
    let _: Option<Pod> = cluster.until(&pod, exists).await;
    cluster.phase(DataVolumePhase::ImportScheduled).await;

    // The provisioner makes a volume for the prime claim, and the worker starts on it.
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": { "name": "pv-1" },
        "spec": {
            "capacity": { "storage": "1138166334" }, "accessModes": ["ReadWriteOnce"],
            "hostPath": { "path": "/nowhere" },
            "claimRef": { "namespace": "default", "name": prime, "uid": "of-the-prime-claim" },
        },
    }))
    .unwrap();
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    volumes
        .create(&PostParams::default(), &volume)
        .await
        .unwrap();
    let bind = Patch::Merge(json!({ "spec": { "volumeName": "pv-1" } }));
    let claims = cluster.api::<PersistentVolumeClaim>();
    claims
        .patch(&prime, &PatchParams::default(), &bind)
        .await
        .unwrap();
    cluster
        .set_status::<PersistentVolumeClaim>(&prime, json!({ "phase": "Bound" }))
        .await;
    cluster
        .worker(&prime, "Running", json!({ "running": {} }))
        .await;
    cluster.phase(DataVolumePhase::ImportInProgress).await;

    let message = r#"{"message":"Import Complete"}"#;
    let ended = json!({ "terminated": {
        "exitCode": 0, "reason": "Completed", "message": message,
    } });
    cluster.worker(&prime, "Succeeded", ended).await;

    let uid = claim.uid();
    let rebound = move |volume: Option<&PersistentVolume>| {
        let owner = volume.and_then(|volume| volume.spec.as_ref()?.claim_ref.as_ref());
        owner.is_some_and(|owner| owner.uid == uid)
    };
    await_condition(volumes, "pv-1", rebound).await.unwrap();
    assert_ne!(
        cluster
            .api::<DataVolume>()
            .get("disk")
            .await
            .unwrap()
            .phase(),
        DataVolumePhase::Succeeded,
        "the claim does not have its volume yet"
    );

    // The binder sees to it.
    claims
        .patch("disk", &PatchParams::default(), &bind)
        .await
        .unwrap();
    cluster
        .set_status::<PersistentVolumeClaim>(&prime, json!({ "phase": "Lost" }))
        .await;
    cluster
        .set_status::<PersistentVolumeClaim>("disk", json!({ "phase": "Bound" }))
        .await;

    cluster.unprotect(&prime).await;

    let done = cluster.phase(DataVolumePhase::Succeeded).await;
    assert_eq!(done.status.unwrap().progress.as_deref(), Some("100.0%"));
    cluster.until::<Pod>(&pod, is_gone).await;
    cluster
        .until::<PersistentVolumeClaim>(&prime, is_gone)
        .await;
    cluster.until::<VolumeImportSource>(&source, is_gone).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_filled_before_somebody_wants_it() {
    let cluster = Fixture::start("WaitForFirstConsumer").await;
    cluster.create(json!({ "blank": {} })).await;
    cluster.phase(DataVolumePhase::PendingPopulation).await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    let prime = format!("prime-{}", claims.get("disk").await.unwrap().uid().unwrap());
    assert!(claims.get_opt(&prime).await.unwrap().is_none());

    let chosen = json!({ "metadata": { "annotations": { annotations::SELECTED_NODE: "node-1" } } });
    claims
        .patch("disk", &PatchParams::default(), &Patch::Merge(chosen))
        .await
        .unwrap();
    let made = cluster
        .until::<PersistentVolumeClaim>(&prime, exists)
        .await
        .unwrap();
    assert_eq!(made.annotations()[annotations::SELECTED_NODE], "node-1");
}

/// Waits until `Bound` is false for this reason, and returns the message.
async fn refused(cluster: &Fixture, reason: &'static str) -> String {
    let bound = |volume: &DataVolume| {
        let conditions = volume.status.as_ref()?.conditions.as_ref()?;
        conditions
            .iter()
            .find(|condition| condition.type_ == "Bound")
            .cloned()
    };
    let refused = move |volume: Option<&DataVolume>| {
        let bound = volume.and_then(bound);
        bound.is_some_and(|bound| bound.reason.as_deref() == Some(reason))
    };
    let volume: DataVolume = cluster.until("disk", refused).await.unwrap();
    bound(&volume).unwrap().message.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_stands_in_the_way_is_told_and_awaited() {
    let cluster = Fixture::start("Immediate").await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    let foreign: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": { "name": "disk" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        },
    }))
    .unwrap();
    claims
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    cluster.create(json!({ "blank": {} })).await;
    let message = refused(&cluster, "ErrResourceExists").await;
    assert_eq!(
        message,
        "Resource \"disk\" already exists and is not managed by DataVolume"
    );
    cluster.unprotect("disk").await;
    claims
        .delete("disk", &DeleteParams::default())
        .await
        .unwrap();
    cluster.phase(DataVolumePhase::ImportScheduled).await;
}

/// Refuses claims while it is on, as a namespace's quota would.
#[derive(Clone, Default)]
struct Quota(Arc<AtomicBool>);

impl Admission for Quota {
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<Vec<String>, Status> {
        if request.kind.kind != "PersistentVolumeClaim" || !self.0.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let message = "exceeded quota: disks";
        Err(Status::new(StatusCode::FORBIDDEN, "Forbidden", message))
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_beyond_the_quota_is_told_and_made_once_there_is_room() {
    let quota = Quota::default();
    quota.0.store(true, Ordering::Relaxed);
    let extensions = Extensions::default().admission(quota.clone());
    let cluster = Fixture::start_with("Immediate", extensions).await;
    cluster.create(json!({ "blank": {} })).await;
    assert_eq!(
        refused(&cluster, "ErrExceededQuota").await,
        "exceeded quota: disks"
    );
    cluster.phase(DataVolumePhase::Pending).await;
    quota.0.store(false, Ordering::Relaxed);
    cluster.phase(DataVolumePhase::ImportScheduled).await;
}

#[tokio::test(start_paused = true)]
async fn a_settled_disk_causes_no_more_writes() {
    let cluster = Fixture::start("WaitForFirstConsumer").await;
    cluster.create(json!({ "blank": {} })).await;
    cluster.phase(DataVolumePhase::PendingPopulation).await;
    // An hour in which every watch is renewed many times over.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let before = cluster.server.revision();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(cluster.server.revision(), before);
}
