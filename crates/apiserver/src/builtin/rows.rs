//! The table of the kinds that are compiled in: one row each.
//!
//! Names, version and scope come from the kind's type; a row says only what that does not.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
    PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event as EventsEvent;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, Resource, SubResourceScope};
use schemars::{JsonSchema, Schema as Document, SchemaGenerator};

use super::column::{self, Col};
use super::{NO_HOOKS, claim, config, crd, csi, event, lease, limit_range, namespace, network};
use super::{
    node, pod, question, rbac, resource_quota, scheduling, storage_class, volume, workload,
};
use crate::access::review;
use crate::kind::{Hooks, Kind, Scale};
use crate::schema::{Definitions, Schema};

/// Every built-in kind, in the order of discovery.
pub(super) const ROWS: &[Row] = &[
    Row::of::<Namespace>()
        .short(&["ns"])
        .status()
        .columns(namespace::COLUMNS)
        .hooks(namespace::HOOKS),
    Row::of::<Node>()
        .short(&["no"])
        .status()
        .columns(node::COLUMNS)
        .hooks(node::HOOKS),
    Row::of::<Pod>()
        .short(&["po"])
        .categories(&["all"])
        .status()
        .columns(pod::COLUMNS)
        .hooks(pod::HOOKS),
    Row::of::<PersistentVolume>()
        .short(&["pv"])
        .status()
        .columns(volume::COLUMNS)
        .hooks(volume::HOOKS),
    Row::of::<PersistentVolumeClaim>()
        .short(&["pvc"])
        .status()
        .columns(claim::COLUMNS)
        .hooks(claim::HOOKS),
    Row::of::<ConfigMap>()
        .short(&["cm"])
        .columns(config::CONFIG_MAP_COLUMNS)
        .hooks(config::CONFIG_MAP_HOOKS),
    Row::of::<Secret>()
        .columns(config::SECRET_COLUMNS)
        .hooks(config::SECRET_HOOKS),
    Row::of::<ServiceAccount>()
        .short(&["sa"])
        .columns(config::SERVICE_ACCOUNT_COLUMNS)
        .hooks(config::SERVICE_ACCOUNT_HOOKS),
    Row::of::<ResourceQuota>()
        .short(&["quota"])
        .status()
        .columns(resource_quota::COLUMNS)
        .hooks(resource_quota::HOOKS),
    Row::of::<LimitRange>()
        .short(&["limits"])
        .columns(limit_range::COLUMNS)
        .hooks(limit_range::HOOKS),
    Row::of::<Service>()
        .short(&["svc"])
        .categories(&["all"])
        .status()
        .columns(network::SERVICE_COLUMNS)
        .hooks(network::SERVICE_HOOKS),
    Row::of::<Endpoints>()
        .short(&["ep"])
        .columns(network::ENDPOINTS_COLUMNS)
        .hooks(network::ENDPOINTS_HOOKS),
    Row::of::<Event>()
        .short(&["ev"])
        .columns(event::CORE_COLUMNS)
        .hooks(event::CORE_HOOKS),
    Row::of::<EventsEvent>()
        .short(&["ev"])
        .columns(event::COLUMNS)
        .hooks(event::HOOKS),
    Row::of::<Deployment>()
        .short(&["deploy"])
        .categories(&["all"])
        .status()
        .scale()
        .columns(workload::DEPLOYMENT_COLUMNS)
        .hooks(workload::DEPLOYMENT_HOOKS),
    Row::of::<ReplicaSet>()
        .short(&["rs"])
        .categories(&["all"])
        .status()
        .scale()
        .columns(workload::REPLICA_SET_COLUMNS)
        .hooks(workload::REPLICA_SET_HOOKS),
    Row::of::<DaemonSet>()
        .short(&["ds"])
        .categories(&["all"])
        .status()
        .columns(workload::DAEMON_SET_COLUMNS)
        .hooks(workload::DAEMON_SET_HOOKS),
    Row::of::<ControllerRevision>()
        .columns(workload::REVISION_COLUMNS)
        .hooks(workload::REVISION_HOOKS),
    Row::of::<Job>()
        .categories(&["all"])
        .status()
        .columns(workload::job::COLUMNS)
        .hooks(workload::job::HOOKS),
    Row::of::<PodDisruptionBudget>()
        .short(&["pdb"])
        .status()
        .columns(scheduling::BUDGET_COLUMNS)
        .hooks(scheduling::BUDGET_HOOKS),
    Row::of::<PriorityClass>()
        .short(&["pc"])
        .columns(scheduling::CLASS_COLUMNS)
        .hooks(scheduling::CLASS_HOOKS),
    Row::of::<EndpointSlice>().columns(network::SLICE_COLUMNS),
    Row::of::<Lease>()
        .columns(lease::COLUMNS)
        .hooks(lease::HOOKS),
    Row::of::<StorageClass>()
        .short(&["sc"])
        .columns(storage_class::COLUMNS)
        .hooks(storage_class::HOOKS),
    Row::of::<CSIDriver>()
        .columns(csi::DRIVER_COLUMNS)
        .hooks(csi::DRIVER_HOOKS),
    Row::of::<CSINode>()
        .columns(csi::NODE_COLUMNS)
        .hooks(csi::NODE_HOOKS),
    Row::of::<CSIStorageCapacity>()
        .columns(csi::CAPACITY_COLUMNS)
        .hooks(csi::CAPACITY_HOOKS),
    Row::of::<Role>()
        .columns(rbac::ROLE_COLUMNS)
        .hooks(rbac::ROLE_HOOKS),
    Row::of::<ClusterRole>()
        .columns(rbac::ROLE_COLUMNS)
        .hooks(rbac::CLUSTER_ROLE_HOOKS),
    Row::of::<RoleBinding>()
        .columns(rbac::BINDING_COLUMNS)
        .hooks(rbac::BINDING_HOOKS),
    Row::of::<ClusterRoleBinding>()
        .columns(rbac::BINDING_COLUMNS)
        .hooks(rbac::CLUSTER_BINDING_HOOKS),
    Row::of::<SubjectAccessReview>().hooks(question(review::subject_access)),
    Row::of::<LocalSubjectAccessReview>().hooks(question(review::local_subject_access)),
    Row::of::<SelfSubjectAccessReview>().hooks(question(review::self_subject_access)),
    Row::of::<SelfSubjectRulesReview>().hooks(question(review::self_subject_rules)),
    Row::of::<SelfSubjectReview>().hooks(question(review::self_subject)),
    Row::of::<TokenReview>().hooks(question(review::token)),
    Row::of::<VolumeAttachment>()
        .status()
        .columns(csi::ATTACHMENT_COLUMNS)
        .hooks(csi::ATTACHMENT_HOOKS),
    Row::of::<CustomResourceDefinition>()
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .status()
        .columns(crd::COLUMNS)
        .hooks(crd::HOOKS),
];

/// What is sent to `serviceaccounts/token`; it is no resource of its own.
pub(super) const TOKEN_REQUEST: Row = Row::of::<TokenRequest>();

/// A built-in kind.
pub(super) struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    status: bool,
    scale: bool,
    pub(super) document: fn(&mut SchemaGenerator) -> Document,
    columns: &'static [Col],
    hooks: Hooks,
}

/// Where a kind's objects live, as its type says.
trait Scope {
    const NAMESPACED: bool;
}

impl Scope for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Scope for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

impl Scope for SubResourceScope {
    const NAMESPACED: bool = true;
}

impl Row {
    /// A kind without status, with nothing but its age to show and no behaviour.
    const fn of<K: Resource<Scope: Scope> + JsonSchema>() -> Self {
        Self {
            group: K::GROUP,
            version: K::VERSION,
            kind: K::KIND,
            plural: K::URL_PATH_SEGMENT,
            short_names: &[],
            categories: &[],
            namespaced: <K::Scope as Scope>::NAMESPACED,
            status: false,
            scale: false,
            document: SchemaGenerator::subschema_for::<K>,
            columns: column::AGE_ONLY,
            hooks: NO_HOOKS,
        }
    }

    const fn short(self, short_names: &'static [&'static str]) -> Self {
        Self {
            short_names,
            ..self
        }
    }

    const fn categories(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    /// The same with the subresource `status`.
    const fn status(self) -> Self {
        Self {
            status: true,
            ..self
        }
    }

    /// The same with the subresource `scale`.
    const fn scale(self) -> Self {
        Self {
            scale: true,
            ..self
        }
    }

    const fn columns(self, columns: &'static [Col]) -> Self {
        Self { columns, ..self }
    }

    const fn hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    /// The kind of this row, whose schema is `root`.
    pub(super) fn kind(&self, root: &Schema, definitions: &Arc<Definitions>) -> Kind {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Kind {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            short_names: owned(self.short_names),
            categories: owned(self.categories),
            namespaced: self.namespaced,
            status_subresource: self.status,
            storage_version: self.version.to_owned(),
            schema: root.clone(),
            definitions: Arc::clone(definitions),
            columns: self.columns.iter().map(Col::column).collect(),
            scale: self.scale.then(Scale::of_workloads),
            selectable: Vec::new(),
            deprecation: None,
            life: None,
            hooks: self.hooks,
        }
    }
}
