//! Annotations, labels, finalizers and phases that Kubernetes gives a meaning to.

/// On a claim: binding has run to its end once. Also, on a volume: written with its claim reference.
pub(crate) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or volume: the binder chose the other side, so it may undo that.
pub(crate) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: the driver that made it.
pub(crate) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: the driver that is to make its volume.
pub(crate) const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The former name of [`STORAGE_PROVISIONER`], still written.
pub(crate) const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a claim: the node that the scheduler chose for its first consumer.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim or volume: its class, before there was a field for it.
pub(crate) const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// On a class: claims without a class get this one.
pub(crate) const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Keeps a claim while Pods use it.
pub(crate) const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume while a claim is bound to it.
pub(crate) const PV_PROTECTION: &str = "kubernetes.io/pv-protection";
/// Keeps a volume object until its bytes are gone.
pub(crate) const PROVISIONER_FINALIZER: &str =
    "external-provisioner.volume.kubernetes.io/finalizer";
/// On an owner: delete the dependents first.
pub(crate) const FOREGROUND_DELETION: &str = "foregroundDeletion";
/// On an owner: release the dependents first.
pub(crate) const ORPHAN_DEPENDENTS: &str = "orphan";

/// The provisioner name of classes whose volumes people make.
pub(crate) const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Binding mode that waits for a Pod.
pub(crate) const WAIT_FOR_FIRST_CONSUMER: &str = "WaitForFirstConsumer";

/// Phases of claims and volumes.
pub(crate) mod phase {
    pub(crate) const PENDING: &str = "Pending";
    pub(crate) const AVAILABLE: &str = "Available";
    pub(crate) const BOUND: &str = "Bound";
    pub(crate) const RELEASED: &str = "Released";
    pub(crate) const FAILED: &str = "Failed";
    pub(crate) const LOST: &str = "Lost";
}
