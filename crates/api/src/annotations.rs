//! Annotation keys that clients set, or read as state.
//!
//! The values and their meaning are those of CDI.

/// Bind, and populate, without waiting for the first consumer; presence counts, not the value.
pub const IMMEDIATE_BIND: &str = "cdi.kubevirt.io/storage.bind.immediate.requested";
/// Whether a DataVolume's claim is filled by a populator: `true` or `false`.
pub const USE_POPULATOR: &str = "cdi.kubevirt.io/storage.usePopulator";
/// On a claim: the DataVolume whose contents it already has.
pub const POPULATED_FOR: &str = "cdi.kubevirt.io/storage.populatedFor";
/// Keep the worker Pod after it has done its work: `true`.
pub const RETAIN_POD: &str = "cdi.kubevirt.io/storage.pod.retainAfterCompletion";
/// On a claim: UID of the DataVolume that made it.
pub const CREATED_FOR: &str = "cdi.kubevirt.io/createdForDataVolume";
/// `kubevirt` or `archive`.
pub const CONTENT_TYPE: &str = "cdi.kubevirt.io/storage.contentType";
/// Whether the volume is to be allocated in full: `true` or `false`.
pub const PREALLOCATION_REQUESTED: &str = "cdi.kubevirt.io/storage.preallocation.requested";
/// Set to `true` once the volume has been allocated in full.
pub const PREALLOCATION: &str = "cdi.kubevirt.io/storage.preallocation";
/// Name of the priority class of the worker Pod.
pub const PRIORITY_CLASS: &str = "cdi.kubevirt.io/storage.pod.priorityclassname";
/// Service account of the worker Pod.
pub const SERVICE_ACCOUNT: &str = "cdi.kubevirt.io/storage.pod.serviceAccountName";

/// Kind of an import source: `http` or `none` (blank).
pub const SOURCE: &str = "cdi.kubevirt.io/storage.import.source";
/// URL of an import source.
pub const ENDPOINT: &str = "cdi.kubevirt.io/storage.import.endpoint";
/// Whether any certificate of an import source is accepted: `true` or `false`.
pub const INSECURE_SKIP_VERIFY: &str = "cdi.kubevirt.io/storage.import.insecureSkipVerify";
/// Name of the worker Pod that imports into a claim.
pub const IMPORT_POD: &str = "cdi.kubevirt.io/storage.import.importPodName";

/// Phase of the worker Pod, as a Pod has it.
pub const POD_PHASE: &str = "cdi.kubevirt.io/storage.pod.phase";
/// How often the worker was started again.
pub const POD_RESTARTS: &str = "cdi.kubevirt.io/storage.pod.restarts";
/// `false` while no node can take the worker Pod.
pub const POD_SCHEDULABLE: &str = "cdi.kubevirt.io/storage.pod.schedulable";
/// Whether the worker runs: `true` or `false`; with [`RUNNING_MESSAGE`] and [`RUNNING_REASON`].
pub const RUNNING: &str = "cdi.kubevirt.io/storage.condition.running";
/// What the worker says.
pub const RUNNING_MESSAGE: &str = "cdi.kubevirt.io/storage.condition.running.message";
/// One word for it.
pub const RUNNING_REASON: &str = "cdi.kubevirt.io/storage.condition.running.reason";
/// Whether the claim that is filled is bound: absent, `true` or `false`.
pub const BOUND: &str = "cdi.kubevirt.io/storage.condition.bound";
/// Why it is not.
pub const BOUND_MESSAGE: &str = "cdi.kubevirt.io/storage.condition.bound.message";
/// One word for it.
pub const BOUND_REASON: &str = "cdi.kubevirt.io/storage.condition.bound.reason";

/// On a claim that is populated: the claim that the work is done on.
pub const PRIME: &str = "cdi.kubevirt.io/storage.populator.pvcPrime";
/// On a claim that is populated: how far it is, such as `45.40%`.
pub const PROGRESS: &str = "cdi.kubevirt.io/storage.populator.progress";
/// On a claim that is populated: the kind of its populator.
pub const POPULATOR_KIND: &str = "cdi.kubevirt.io/storage.populator.kind";

/// The node that a claim's consumer runs on; the scheduler sets it.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Default StorageClass of the cluster: `true`.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Default StorageClass for virtual machine disks: `true`.
pub const DEFAULT_VIRT_CLASS: &str = "storageclass.kubevirt.io/is-default-virt-class";

/// Kept off worker Pods by service meshes: key and the value that says so.
pub const MESH_OPT_OUT: [(&str, &str); 2] = [
    ("sidecar.istio.io/inject", "false"),
    ("linkerd.io/inject", "disabled"),
];
/// Copied from a claim to its worker Pod.
pub const PASSED_TO_POD: [&str; 4] = [
    "k8s.v1.cni.cncf.io/networks",
    "v1.multus-cni.io/default-network",
    "sidecar.istio.io/inject",
    "linkerd.io/inject",
];
