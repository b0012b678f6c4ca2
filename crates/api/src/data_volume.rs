//! `DataVolume`: a disk that is asked for, and what became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    source::{DataVolumeSource, DataVolumeSourceRef},
    storage::ClaimSpec,
};

/// DataVolume is a disk of a virtual machine: a PersistentVolumeClaim, and what to fill it with.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cdi.kubevirt.io",
    version = "v1beta1",
    kind = "DataVolume",
    namespaced,
    status = "DataVolumeStatus",
    derive = "Default",
    derive = "PartialEq",
    shortname = "dv",
    shortname = "dvs",
    category = "all",
    doc = "DataVolume is a disk of a virtual machine: a PersistentVolumeClaim, and what to fill it with.",
    printcolumn = r#"{"name":"Phase","type":"string","description":"The phase the data volume is in","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Progress","type":"string","description":"Transfer progress in percentage if known, N/A otherwise","jsonPath":".status.progress"}"#,
    printcolumn = r#"{"name":"Restarts","type":"integer","description":"The number of times the transfer has been restarted","jsonPath":".status.restartCount"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DataVolumeSpec {
    /// Where the disk's bytes come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<DataVolumeSource>,
    /// An object that names the source, in place of `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<DataVolumeSourceRef>,
    /// The claim to make, word for word. Exactly one of `pvc` and `storage` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<ClaimSpec>,
    /// What is asked of the storage; the rest of the claim, and room for a file system, are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<ClaimSpec>,
    /// Priority class of the Pods that do the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Service account of the Pods that do the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// What the source holds: `kubevirt`, an image of a disk, or `archive`, a tar archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<ContentType>,
    /// Whether to allocate the whole volume, for steady write speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preallocation: Option<bool>,
}

/// What a source holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// An image of a disk.
    #[default]
    Kubevirt,
    /// A tar archive.
    Archive,
}

/// What became of a DataVolume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataVolumeStatus {
    /// Name of the claim that holds the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_name: Option<String>,
    /// How far the disk is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<DataVolumePhase>,
    /// Part of the transfer that is done, such as `45.40%`; `N/A` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// How often the transfer was started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<i32>,
    /// `Bound`, `Running` and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<DataVolumeCondition>>,
}

/// One aspect of a DataVolume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataVolumeCondition {
    /// `Bound`, `Running` or `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// When anything of the condition last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<Time>,
    /// One word for the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataVolumePhase {
    /// Nothing has been done yet.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// The claim waits for its volume.
    Pending,
    /// The claim has its volume.
    #[serde(rename = "PVCBound")]
    PvcBound,
    /// The import waits for its Pod.
    ImportScheduled,
    /// The import runs, or will be tried again.
    ImportInProgress,
    /// The clone waits to be started.
    CloneScheduled,
    /// The clone copies.
    CloneInProgress,
    /// A snapshot of the source is made.
    SnapshotForSmartCloneInProgress,
    /// The clone is made from a snapshot.
    CloneFromSnapshotSourceInProgress,
    /// Of older versions.
    #[serde(rename = "SmartClonePVCInProgress")]
    SmartClonePvcInProgress,
    /// The storage clones.
    #[serde(rename = "CSICloneInProgress")]
    CsiCloneInProgress,
    /// Of older versions.
    ExpansionInProgress,
    /// Of older versions.
    NamespaceTransferInProgress,
    /// The clone is made ready.
    PrepClaimInProgress,
    /// The volume is handed to the claim.
    RebindInProgress,
    /// The upload waits for its Pod.
    UploadScheduled,
    /// The upload can begin.
    UploadReady,
    /// The claim waits for a Pod that uses it.
    WaitForFirstConsumer,
    /// The claim waits for a Pod that uses it, before it is filled.
    PendingPopulation,
    /// The disk is complete.
    Succeeded,
    /// The disk will never be complete.
    Failed,
    /// The state of the claim is not known.
    Unknown,
    /// The transfer waits for its next stage.
    Paused,
}

impl DataVolumePhase {
    /// The phase as it stands in the object, such as `ImportInProgress`.
    pub fn name(self) -> String {
        // A fieldless enum serialises to a string; nothing else can come of it.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

impl DataVolume {
    /// The phase; [`DataVolumePhase::Unset`] before the first status.
    pub fn phase(&self) -> DataVolumePhase {
        self.status
            .as_ref()
            .and_then(|status| status.phase)
            .unwrap_or_default()
    }

    /// What is asked of the storage, by whichever of the two ways.
    pub fn claim_spec(&self) -> Option<&ClaimSpec> {
        self.spec.pvc.as_ref().or(self.spec.storage.as_ref())
    }
}
