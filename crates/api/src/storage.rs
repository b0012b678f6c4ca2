//! The storage that a disk is put on.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference,
            VolumeResourceRequirements,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::{api::resource, apis::meta::v1::LabelSelector},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Quantity, annotations};

/// Name of the resource that a claim asks for.
pub const STORAGE: &str = "storage";

/// What is asked of the storage. In `spec.pvc` it is the claim, word for word; in `spec.storage`
/// what is left out is filled in from what is known of the StorageClass.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSpec {
    /// How the volume may be mounted: `ReadWriteOnce`, `ReadOnlyMany`, `ReadWriteMany` or
    /// `ReadWriteOncePod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_modes: Option<Vec<String>>,
    /// Labels of the PersistentVolumes that may be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The size, in `requests.storage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The one PersistentVolume to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    /// The StorageClass; without it, the default class is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// `Filesystem`, the disk is a file, or `Block`, the disk is the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Block", "Filesystem"]))]
    pub volume_mode: Option<String>,
    /// An object that the volume is filled from, in place of `spec.source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source: Option<TypedLocalObjectReference>,
    /// As `dataSource`, for any kind of object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source_ref: Option<TypedObjectReference>,
}

/// Amounts of storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// The most that may be given, by resource name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Quantity>>,
    /// The least that must be given, by resource name; `storage` is the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, Quantity>>,
}

impl ClaimSpec {
    /// The size that is asked for, if one is.
    pub fn request(&self) -> Option<&Quantity> {
        self.resources.as_ref()?.requests.as_ref()?.get(STORAGE)
    }

    /// Asks for another size.
    pub fn set_request(&mut self, bytes: u64) {
        let resources = self.resources.get_or_insert_default();
        let requests = resources.requests.get_or_insert_default();
        requests.insert(STORAGE.to_owned(), Quantity::from_units(bytes));
    }

    /// Whether the volume has a file system; true unless `volumeMode` says `Block`.
    pub fn is_filesystem(&self) -> bool {
        self.volume_mode.as_deref() != Some("Block")
    }
}

impl From<ClaimSpec> for PersistentVolumeClaimSpec {
    fn from(spec: ClaimSpec) -> Self {
        fn texts(
            amounts: Option<BTreeMap<String, Quantity>>,
        ) -> Option<BTreeMap<String, resource::Quantity>> {
            let text =
                |(name, amount): (String, Quantity)| (name, resource::Quantity(amount.to_string()));
            amounts.map(|amounts| amounts.into_iter().map(text).collect())
        }
        Self {
            access_modes: spec.access_modes,
            selector: spec.selector,
            resources: spec.resources.map(|resources| VolumeResourceRequirements {
                limits: texts(resources.limits),
                requests: texts(resources.requests),
            }),
            volume_name: spec.volume_name,
            storage_class_name: spec.storage_class_name,
            volume_mode: spec.volume_mode,
            data_source: spec.data_source,
            data_source_ref: spec.data_source_ref,
            ..Self::default()
        }
    }
}

/// A way in which a class's volumes can be used for a disk, best first in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimPropertySet {
    /// Access modes that go together.
    pub access_modes: &'static [&'static str],
    /// The volume mode that they go with.
    pub volume_mode: &'static str,
}

/// What is known of the volumes that a provisioner makes; empty where nothing is.
pub fn claim_property_sets(provisioner: &str) -> &'static [ClaimPropertySet] {
    match provisioner {
        "kubevirt.io.hostpath-provisioner" | "kubevirt.io/hostpath-provisioner" => {
            &[ClaimPropertySet {
                access_modes: &["ReadWriteOnce"],
                volume_mode: "Filesystem",
            }]
        }
        _ => &[],
    }
}

/// The class that a claim for a virtual machine's disk gets when it names none: the default class
/// for virtual machines, else the cluster's; of several, the newest, then the first by name.
pub fn default_class(classes: &[StorageClass]) -> Option<&StorageClass> {
    [annotations::DEFAULT_VIRT_CLASS, annotations::DEFAULT_CLASS]
        .into_iter()
        .find_map(|key| {
            let marked = |class: &&StorageClass| {
                let annotations = class.metadata.annotations.as_ref();
                annotations
                    .and_then(|a| a.get(key))
                    .is_some_and(|value| value == "true")
            };
            classes.iter().filter(marked).max_by(|a, b| {
                let (a, b) = (&a.metadata, &b.metadata);
                let by_age = a
                    .creation_timestamp
                    .as_ref()
                    .cmp(&b.creation_timestamp.as_ref());
                by_age.then_with(|| b.name.cmp(&a.name))
            })
        })
}

/// Whether the class's volumes are made only once a consumer is there.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn class(name: &str, marks: &[&str]) -> StorageClass {
        let annotations = marks
            .iter()
            .map(|key| ((*key).to_owned(), "true".to_owned()));
        StorageClass {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some(annotations.collect()),
                ..ObjectMeta::default()
            },
            ..StorageClass::default()
        }
    }

    #[test]
    fn the_default_for_virtual_machines_beats_the_clusters() {
        let classes = [
            class("plain", &[]),
            class("cluster", &[annotations::DEFAULT_CLASS]),
            class("virt", &[annotations::DEFAULT_VIRT_CLASS]),
        ];
        let name = |classes: &[StorageClass]| default_class(classes)?.metadata.name.clone();
        assert_eq!(name(&classes).as_deref(), Some("virt"));
        assert_eq!(name(&classes[..2]).as_deref(), Some("cluster"));
        assert_eq!(name(&classes[..1]), None);
    }

    #[test]
    fn of_equal_defaults_the_first_by_name_is_taken() {
        let classes = [
            class("b", &[annotations::DEFAULT_CLASS]),
            class("a", &[annotations::DEFAULT_CLASS]),
        ];
        assert_eq!(
            default_class(&classes).unwrap().metadata.name.as_deref(),
            Some("a")
        );
    }
}
