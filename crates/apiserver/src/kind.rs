//! A kind, as data: everything the one generic path needs to know to serve it.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::access::review::Review;
use crate::schema::{Definitions, Schema};
use crate::status::Cause;

/// One served version of one resource.
///
/// Built-in kinds come from [`crate::builtin::kinds`], others from `CustomResourceDefinition`
/// objects.
#[derive(Debug, Clone)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group, such as `v1`.
    pub version: String,
    /// Kind in CamelCase, such as `PersistentVolumeClaim`.
    pub kind: String,
    /// Kind of a list of these.
    pub list_kind: String,
    /// Resource name in paths, such as `persistentvolumeclaims`.
    pub plural: String,
    /// Name for one of them on a command line.
    pub singular: String,
    /// Abbreviations, such as `pvc`.
    pub short_names: Vec<String>,
    /// Groups of kinds that it joins, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether `status` is written through its own subresource only.
    pub status_subresource: bool,
    /// The version that objects are stored in; `version` itself for all but older CRD versions.
    pub storage_version: String,
    /// What an object must look like.
    pub schema: Schema,
    /// The definitions that `schema` refers to by name; empty for CRDs.
    pub definitions: Arc<Definitions>,
    /// Columns of the table form, after NAME.
    pub columns: Vec<Column>,
    /// Where its number of replicas is, if it has the subresource `scale`.
    pub scale: Option<Scale>,
    /// Paths of the fields that objects can be selected by, such as `.spec.colour`; the hook
    /// [`Hooks::fields`] has those of built-in kinds.
    pub selectable: Vec<String>,
    /// What clients are told that still use this version.
    pub deprecation: Option<String>,
    /// Ends when the definition of the kind changes or goes; watches end with it.
    pub life: Option<watch::Receiver<()>>,
    /// What a built-in kind does beyond its schema.
    pub hooks: Hooks,
}

/// Where the subresource `scale` finds its fields, as JSON pointers into an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The wanted number of replicas.
    pub replicas: String,
    /// The number that there are.
    pub status_replicas: String,
    /// What selects their Pods: text, or a `LabelSelector`.
    pub selector: Option<String>,
}

impl Scale {
    /// That of the workloads that come with Kubernetes.
    pub fn of_workloads() -> Self {
        Self {
            replicas: "/spec/replicas".into(),
            status_replicas: "/status/replicas".into(),
            selector: Some("/spec/selector".into()),
        }
    }
}

/// A column of `kubectl get`.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type of the cells: `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    /// OpenAPI format of the cells; may be empty.
    pub format: String,
    /// Shown by `kubectl explain`-like clients.
    pub description: String,
    /// 0 for the normal view, above 0 only in the wide one.
    pub priority: i32,
    /// Where the cell comes from.
    pub cell: Cell,
}

/// How a cell is made from an object.
#[derive(Debug, Clone)]
pub enum Cell {
    /// A JSONPath such as `.status.phase`, from a CRD.
    Path(String),
    /// A function, for built-in kinds.
    Compute(fn(&Value) -> Value),
}

/// Behaviour of a built-in kind that a schema cannot express. The default does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hooks {
    /// Fills defaults of a new state, such as a PVC's `volumeMode` or a Pod's `phase: Pending`.
    pub default: Option<fn(&mut Value)>,
    /// Checks a new object, or a change (the old one is given); returns every fault found.
    pub validate: Option<Validate>,
    /// Field-selector names beyond `metadata.name` and `metadata.namespace`, and their values.
    pub fields: Option<Fields>,
    /// Whether every change of `spec` (for all kinds without the hook: of anything but metadata and
    /// status) raises `metadata.generation`; kinds such as ConfigMap and Event have none.
    pub no_generation: bool,
    /// Another kind's storage that this one is a view of, such as `events.k8s.io` Events.
    pub stored_as: Option<StoredAs>,
    /// Answers an object instead of storing it, for kinds that are questions, such as TokenReview.
    pub review: Option<Review>,
}

/// Finds the faults of a new object, or of a change when the old one is given.
pub type Validate = fn(&Value, Option<&Value>) -> Vec<Cause>;

/// Names and values of the fields that an object can be selected by.
pub type Fields = fn(&Value) -> Vec<(&'static str, String)>;

/// How a kind is kept in another kind's storage.
#[derive(Debug, Clone, Copy)]
pub struct StoredAs {
    /// Resource and group of the storage.
    pub resource: &'static str,
    /// Makes the stored form of an object.
    pub to_storage: fn(&mut Value),
    /// Makes the served form of a stored object.
    pub from_storage: fn(&mut Value),
}

impl Kind {
    /// `v1` or `group/version`, as in an object's `apiVersion`.
    pub fn api_version(&self) -> String {
        Self::join(&self.group, &self.version)
    }

    /// The `apiVersion` of a group and a version.
    pub fn join(group: &str, version: &str) -> String {
        if group.is_empty() {
            version.into()
        } else {
            format!("{group}/{version}")
        }
    }

    /// `plural` or `plural.group`, as in error messages and in the store's keys.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether this is the resource `plural` of `group`, in any version.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// What can be done with objects of the kind.
    pub fn verbs(&self) -> &'static [&'static str] {
        if self.hooks.review.is_some() {
            return &["create"];
        }
        if self.is("", "namespaces") {
            return &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ];
        }
        &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ]
    }

    /// Whether the kind is compiled in, and so takes strategic merge patches.
    pub fn is_builtin(&self) -> bool {
        !self.definitions.is_empty()
    }
}
