//! Labels that clients select by.

/// Key and value that everything made for a disk carries.
pub const APP: (&str, &str) = ("app", "containerized-data-importer");
/// Which part made an object: `importer`, ….
pub const COMPONENT: &str = "cdi.kubevirt.io";
/// Pods that serve metrics of a transfer.
pub const METRICS: (&str, &str) = ("prometheus.cdi.kubevirt.io", "true");
/// Claims that a backup must leave out.
pub const NO_BACKUP: (&str, &str) = ("velero.io/exclude-from-backup", "true");
/// A disk fills its volume by design: no alert for that.
pub const NO_FILLING_UP_ALERT: (&str, &str) =
    ("alerts.k8s.io/KubePersistentVolumeFillingUp", "disabled");
/// Recommended labels: who manages an object, and what it is part of.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "cdi-controller");
/// See [`MANAGED_BY`].
pub const PART_COMPONENT: (&str, &str) = ("app.kubernetes.io/component", "storage");
