//! The kinds that are compiled in.
//!
//! To add one: an entry in `ENTRIES`, and a module beside this one if it has columns of its own,
//! defaults or rules. Facts about its lists go to `merge_keys`.

use std::sync::{Arc, LazyLock};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret,
    ServiceAccount,
};
use k8s_openapi::api::events::v1::Event as EventsEvent;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::generate::SchemaSettings;
use schemars::{Schema as Document, SchemaGenerator};

use crate::kind::{Hooks, Kind};
use crate::schema::{Definitions, Schema, meta};

mod access;
mod claim;
mod column;
mod config;
mod crd;
mod csi;
mod event;
mod lease;
mod merge_keys;
mod namespace;
mod node;
mod pod;
mod storage_class;
mod volume;

use column::Col;

/// A built-in kind, as one row.
struct Entry {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    status: bool,
    document: fn(&mut SchemaGenerator) -> Document,
    columns: &'static [Col],
    hooks: Hooks,
}

/// The hooks of a kind that needs none.
const NO_HOOKS: Hooks = Hooks {
    default: None,
    validate: None,
    fields: None,
    no_generation: false,
    stored_as: None,
};

const ENTRIES: &[Entry] = &[
    Entry {
        short_names: &["ns"],
        status: true,
        columns: namespace::COLUMNS,
        hooks: namespace::HOOKS,
        ..cluster(
            "",
            "Namespace",
            "namespaces",
            SchemaGenerator::subschema_for::<Namespace>,
        )
    },
    Entry {
        short_names: &["no"],
        status: true,
        columns: node::COLUMNS,
        hooks: node::HOOKS,
        ..cluster("", "Node", "nodes", SchemaGenerator::subschema_for::<Node>)
    },
    Entry {
        short_names: &["po"],
        categories: &["all"],
        status: true,
        columns: pod::COLUMNS,
        hooks: pod::HOOKS,
        ..namespaced("", "Pod", "pods", SchemaGenerator::subschema_for::<Pod>)
    },
    Entry {
        short_names: &["pv"],
        status: true,
        columns: volume::COLUMNS,
        hooks: volume::HOOKS,
        ..cluster(
            "",
            "PersistentVolume",
            "persistentvolumes",
            SchemaGenerator::subschema_for::<PersistentVolume>,
        )
    },
    Entry {
        short_names: &["pvc"],
        status: true,
        columns: claim::COLUMNS,
        hooks: claim::HOOKS,
        ..namespaced(
            "",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            SchemaGenerator::subschema_for::<PersistentVolumeClaim>,
        )
    },
    Entry {
        short_names: &["cm"],
        columns: config::CONFIG_MAP_COLUMNS,
        hooks: config::CONFIG_MAP_HOOKS,
        ..namespaced(
            "",
            "ConfigMap",
            "configmaps",
            SchemaGenerator::subschema_for::<ConfigMap>,
        )
    },
    Entry {
        columns: config::SECRET_COLUMNS,
        hooks: config::SECRET_HOOKS,
        ..namespaced(
            "",
            "Secret",
            "secrets",
            SchemaGenerator::subschema_for::<Secret>,
        )
    },
    Entry {
        short_names: &["sa"],
        columns: config::SERVICE_ACCOUNT_COLUMNS,
        hooks: config::SERVICE_ACCOUNT_HOOKS,
        ..namespaced(
            "",
            "ServiceAccount",
            "serviceaccounts",
            SchemaGenerator::subschema_for::<ServiceAccount>,
        )
    },
    Entry {
        short_names: &["ev"],
        columns: event::CORE_COLUMNS,
        hooks: event::CORE_HOOKS,
        ..namespaced(
            "",
            "Event",
            "events",
            SchemaGenerator::subschema_for::<Event>,
        )
    },
    Entry {
        short_names: &["ev"],
        columns: event::COLUMNS,
        hooks: event::HOOKS,
        ..namespaced(
            "events.k8s.io",
            "Event",
            "events",
            SchemaGenerator::subschema_for::<EventsEvent>,
        )
    },
    Entry {
        columns: lease::COLUMNS,
        hooks: lease::HOOKS,
        ..namespaced(
            "coordination.k8s.io",
            "Lease",
            "leases",
            SchemaGenerator::subschema_for::<Lease>,
        )
    },
    Entry {
        short_names: &["sc"],
        columns: storage_class::COLUMNS,
        hooks: storage_class::HOOKS,
        ..cluster(
            "storage.k8s.io",
            "StorageClass",
            "storageclasses",
            SchemaGenerator::subschema_for::<StorageClass>,
        )
    },
    Entry {
        columns: csi::DRIVER_COLUMNS,
        hooks: csi::DRIVER_HOOKS,
        ..cluster(
            "storage.k8s.io",
            "CSIDriver",
            "csidrivers",
            SchemaGenerator::subschema_for::<CSIDriver>,
        )
    },
    Entry {
        columns: csi::NODE_COLUMNS,
        hooks: csi::NODE_HOOKS,
        ..cluster(
            "storage.k8s.io",
            "CSINode",
            "csinodes",
            SchemaGenerator::subschema_for::<CSINode>,
        )
    },
    Entry {
        columns: csi::CAPACITY_COLUMNS,
        hooks: csi::CAPACITY_HOOKS,
        ..namespaced(
            "storage.k8s.io",
            "CSIStorageCapacity",
            "csistoragecapacities",
            SchemaGenerator::subschema_for::<CSIStorageCapacity>,
        )
    },
    Entry {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        status: true,
        columns: crd::COLUMNS,
        hooks: crd::HOOKS,
        ..cluster(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            SchemaGenerator::subschema_for::<CustomResourceDefinition>,
        )
    },
];

const fn namespaced(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    document: fn(&mut SchemaGenerator) -> Document,
) -> Entry {
    Entry {
        group,
        kind,
        plural,
        short_names: &[],
        categories: &[],
        namespaced: true,
        status: false,
        document,
        columns: column::AGE_ONLY,
        hooks: NO_HOOKS,
    }
}

const fn cluster(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    document: fn(&mut SchemaGenerator) -> Document,
) -> Entry {
    Entry {
        namespaced: false,
        ..namespaced(group, kind, plural, document)
    }
}

/// The built-in kinds. Their schemas share one set of definitions, made at the first call.
pub fn kinds() -> Vec<Kind> {
    static SCHEMAS: LazyLock<(Vec<Schema>, Arc<Definitions>)> = LazyLock::new(schemas);
    let (roots, definitions) = &*SCHEMAS;
    ENTRIES
        .iter()
        .zip(roots)
        .map(|(entry, root)| entry.kind(root, definitions))
        .collect()
}

impl Entry {
    fn kind(&self, root: &Schema, definitions: &Arc<Definitions>) -> Kind {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Kind {
            group: self.group.to_owned(),
            version: "v1".to_owned(),
            kind: self.kind.to_owned(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            short_names: owned(self.short_names),
            categories: owned(self.categories),
            namespaced: self.namespaced,
            status_subresource: self.status,
            storage_version: "v1".to_owned(),
            schema: root.clone(),
            definitions: Arc::clone(definitions),
            columns: self.columns.iter().map(Col::column).collect(),
            hooks: self.hooks,
        }
    }
}

fn schemas() -> (Vec<Schema>, Arc<Definitions>) {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let references: Vec<_> = ENTRIES
        .iter()
        .map(|entry| crate::schema::read((entry.document)(&mut generator).to_value()))
        .collect();
    let mut definitions = meta::definitions(&mut generator);
    // The crate's types always have `metadata`; the API does not ask for it.
    for definition in definitions.values_mut() {
        definition.required.retain(|name| name != "metadata");
    }
    merge_keys::annotate(&mut definitions);
    crd::loosen(&mut definitions);
    let roots = references
        .iter()
        .map(|reference| reference.resolve(&definitions).clone())
        .collect();
    (roots, Arc::new(definitions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_share_their_definitions_and_have_schemas() {
        let kinds = kinds();
        assert_eq!(kinds.len(), ENTRIES.len());
        for kind in &kinds {
            assert!(Arc::ptr_eq(&kind.definitions, &kinds[0].definitions));
            assert!(
                kind.schema.properties.contains_key("metadata"),
                "{}",
                kind.kind
            );
            assert!(kind.schema.description.is_some(), "{}", kind.kind);
            assert_eq!(
                kind.schema.properties.contains_key("status"),
                kind.status_subresource
            );
        }
    }

    #[test]
    fn what_defaults_make_is_valid() {
        for kind in kinds() {
            let Some(default) = kind.hooks.default else {
                continue;
            };
            let mut object = serde_json::json!({"metadata": {"name": "x"}});
            default(&mut object);
            let unknown = crate::schema::prune(&kind.schema, &kind.definitions, &mut object);
            assert_eq!(unknown, Vec::<String>::new(), "{}", kind.kind);
            crate::schema::decode(&kind, &mut object).unwrap();
        }
    }
}
