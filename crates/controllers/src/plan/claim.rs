//! The claim that a DataVolume gets.

use std::collections::BTreeMap;

use api::{
    DataVolume, VolumeImportSource, VolumeImportSourceSpec, annotations, labels, names,
    size::{self, Overhead},
    storage::{self, ClaimSpec},
};
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, TypedObjectReference},
    storage::v1::StorageClass,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};

/// Why no claim can be made yet; it is tried again when the storage classes change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The class that is named is not there.
    #[error(
        "StorageClass {0} was not found: create it, or create the DataVolume again with one that \
         `kubectl get storageclass` lists"
    )]
    ClassNotFound(String),
    /// No class is named, none is the default, and the access mode depends on it.
    #[error(
        "PVC spec is missing accessMode and no storageClass to choose profile: set accessModes, or \
         mark a StorageClass as the default"
    )]
    NoDefaultClass,
    /// Nothing is known of the class's volumes.
    #[error(
        "Spec is missing accessMode and volumeMode, cannot get access mode from StorageProfile {0}: \
         set spec.storage.accessModes"
    )]
    UnknownProvisioner(String),
    /// Nothing is known of the class's volumes of the mode that is asked for.
    #[error(
        "Spec is missing accessMode and cannot get access mode from StorageProfile {0}: set \
         spec.storage.accessModes"
    )]
    UnknownVolumeMode(String),
}

impl ClaimError {
    /// The word that clients know it by.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ClassNotFound(_) => "ErrStorageClassNotFound",
            _ => "ErrClaimNotValid",
        }
    }
}

/// The storage class that a claim is of: the one that is named, or the default.
pub fn class_of<'a>(name: Option<&str>, classes: &'a [StorageClass]) -> Option<&'a StorageClass> {
    match name {
        Some(name) => classes.iter().find(|class| class.name_any() == name),
        None => storage::default_class(classes),
    }
}

/// The claim's spec: `spec.pvc` as it is, `spec.storage` completed and enlarged.
pub fn render(
    data_volume: &DataVolume,
    classes: &[StorageClass],
    overhead: Overhead,
) -> Result<ClaimSpec, ClaimError> {
    if let Some(claim) = &data_volume.spec.pvc {
        return Ok(claim.clone());
    }
    let mut claim = data_volume.spec.storage.clone().unwrap_or_default();
    let class = class_of(claim.storage_class_name.as_deref(), classes);
    if let (Some(name), None) = (&claim.storage_class_name, class)
        && !name.is_empty()
    {
        return Err(ClaimError::ClassNotFound(name.clone()));
    }
    if let Some(class) = class {
        claim.storage_class_name = Some(class.name_any());
    }
    fill_modes(&mut claim, class)?;
    if claim.is_filesystem()
        && let Some(request) = claim.request().map(api::Quantity::units)
    {
        claim.set_request(size::required(request, overhead));
    }
    Ok(claim)
}

/// Takes access modes and volume mode from the best way to use the class's volumes.
fn fill_modes(claim: &mut ClaimSpec, class: Option<&StorageClass>) -> Result<(), ClaimError> {
    let missing_access = claim.access_modes.as_ref().is_none_or(Vec::is_empty);
    let sets = class.map(|class| storage::claim_property_sets(&class.provisioner));
    let sets = sets.unwrap_or_default();
    if !missing_access {
        if claim.volume_mode.is_none() {
            let modes = claim.access_modes.as_deref().unwrap_or_default();
            let fits = |mode: &&str| modes.iter().any(|asked| asked == mode);
            let set = sets.iter().find(|set| set.access_modes.iter().any(fits));
            claim.volume_mode = set.map(|set| set.volume_mode.to_owned());
        }
        return Ok(());
    }
    let class = class.ok_or(ClaimError::NoDefaultClass)?;
    let set = match &claim.volume_mode {
        None => sets
            .first()
            .ok_or_else(|| ClaimError::UnknownProvisioner(class.name_any()))?,
        Some(mode) => sets
            .iter()
            .find(|set| set.volume_mode == mode)
            .ok_or_else(|| ClaimError::UnknownVolumeMode(class.name_any()))?,
    };
    claim.access_modes = Some(
        set.access_modes
            .iter()
            .map(|&mode| mode.to_owned())
            .collect(),
    );
    claim.volume_mode = Some(set.volume_mode.to_owned());
    Ok(())
}

/// The claim for a DataVolume. With a populator it names `source`, and is filled by way of a prime
/// claim; without, it carries the import's annotations, and the worker runs on it directly.
pub fn claim_for(
    data_volume: &DataVolume,
    spec: ClaimSpec,
    source: Option<&VolumeImportSource>,
) -> PersistentVolumeClaim {
    let mut labels: BTreeMap<String, String> = data_volume.labels().clone();
    labels.extend(
        [labels::APP, labels::MANAGED_BY, labels::PART_COMPONENT]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    if spec.is_filesystem() {
        let (key, value) = labels::NO_FILLING_UP_ALERT;
        labels.insert(key.to_owned(), value.to_owned());
    }
    let mut claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: data_volume.metadata.name.clone(),
            namespace: data_volume.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(claim_annotations(data_volume, source.is_none())),
            owner_references: data_volume
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec.into()),
        status: None,
    };
    if let (Some(spec), Some(source)) = (&mut claim.spec, source) {
        spec.data_source_ref = Some(TypedObjectReference {
            api_group: Some(VolumeImportSource::group(&()).into_owned()),
            kind: VolumeImportSource::kind(&()).into_owned(),
            name: source.name_any(),
            namespace: None,
        });
    }
    claim
}

fn claim_annotations(data_volume: &DataVolume, with_source: bool) -> BTreeMap<String, String> {
    let spec = &data_volume.spec;
    let mut all = data_volume.annotations().clone();
    // It would tell that the claim is filled; it is written once that is true.
    all.remove(annotations::POPULATED_FOR);
    all.insert(annotations::POD_RESTARTS.to_owned(), "0".to_owned());
    let uid = data_volume.uid().unwrap_or_default();
    all.insert(annotations::CREATED_FOR.to_owned(), uid);
    if let Some(class) = &spec.priority_class_name {
        all.insert(annotations::PRIORITY_CLASS.to_owned(), class.clone());
    }
    if let Some(account) = &spec.service_account_name {
        all.insert(annotations::SERVICE_ACCOUNT.to_owned(), account.clone());
    }
    let import = import_source(data_volume).spec;
    let import = import_annotations(&import);
    let of_source = [
        annotations::SOURCE,
        annotations::ENDPOINT,
        annotations::INSECURE_SKIP_VERIFY,
    ];
    all.extend(
        import
            .into_iter()
            .filter(|(key, _)| with_source || !of_source.contains(&&**key)),
    );
    all
}

/// The annotations by which a claim says what it is to be filled with. The source has been
/// validated: what is not an HTTP server is blank.
pub fn import_annotations(import: &VolumeImportSourceSpec) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |key: &str, value: &str| all.insert(key.to_owned(), value.to_owned());
    put(annotations::CONTENT_TYPE, "kubevirt");
    if let Some(preallocation) = import.preallocation {
        put(
            annotations::PREALLOCATION_REQUESTED,
            &preallocation.to_string(),
        );
    }
    match import
        .source
        .as_ref()
        .and_then(|source| source.http.as_ref())
    {
        Some(http) => {
            put(annotations::SOURCE, "http");
            put(annotations::ENDPOINT, &http.url);
            if http.insecure_skip_verify == Some(true) {
                put(annotations::INSECURE_SKIP_VERIFY, "true");
            }
        }
        None => {
            put(annotations::SOURCE, "none");
        }
    }
    all
}

/// The populator's source for a DataVolume.
pub fn import_source(data_volume: &DataVolume) -> VolumeImportSource {
    let spec = &data_volume.spec;
    let name = names::volume_import_source(&data_volume.uid().unwrap_or_default());
    let mut source = VolumeImportSource::new(
        &name,
        VolumeImportSourceSpec {
            source: spec.source.clone(),
            content_type: spec.content_type,
            preallocation: spec.preallocation,
        },
    );
    source.metadata.namespace = data_volume.metadata.namespace.clone();
    source.metadata.owner_references = data_volume
        .controller_owner_ref(&())
        .map(|owner| vec![owner]);
    source
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data_volume(storage: serde_json::Value) -> DataVolume {
        serde_json::from_value(json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
            "metadata": { "name": "disk", "namespace": "default", "uid": "u-1" },
            "spec": { "source": { "blank": {} }, "storage": storage },
        }))
        .unwrap()
    }

    fn classes() -> Vec<StorageClass> {
        serde_json::from_value(json!([
            {
                "metadata": {
                    "name": "local",
                    "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
                },
                "provisioner": "kubevirt.io.hostpath-provisioner",
            },
            { "metadata": { "name": "odd" }, "provisioner": "example.com/odd" },
        ]))
        .unwrap()
    }

    #[test]
    fn what_is_left_out_comes_from_the_class() {
        let one = json!({ "resources": { "requests": { "storage": "1Gi" } } });
        let claim = render(&data_volume(one), &classes(), Overhead::DEFAULT).unwrap();
        assert_eq!(claim.storage_class_name.as_deref(), Some("local"));
        assert_eq!(claim.access_modes, Some(vec!["ReadWriteOnce".to_owned()]));
        assert_eq!(claim.request().unwrap().units(), 1_138_166_334);
    }

    #[test]
    fn a_block_volume_needs_no_room_for_a_file_system() {
        let one = json!({
            "volumeMode": "Block", "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        });
        let claim = render(&data_volume(one), &classes(), Overhead::DEFAULT).unwrap();
        assert_eq!(claim.request().unwrap().units(), 1 << 30);
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        let with = |class: &str| {
            json!({
                "storageClassName": class,
                "resources": { "requests": { "storage": "1Gi" } },
            })
        };
        let error = |storage, classes: &[StorageClass]| {
            render(&data_volume(storage), classes, Overhead::DEFAULT).unwrap_err()
        };
        assert_eq!(
            error(with("none"), &classes()),
            ClaimError::ClassNotFound("none".into())
        );
        assert_eq!(
            error(with("odd"), &classes()),
            ClaimError::UnknownProvisioner("odd".into())
        );
        let unnamed = json!({ "resources": { "requests": { "storage": "1Gi" } } });
        assert_eq!(error(unnamed, &[]), ClaimError::NoDefaultClass);
    }

    #[test]
    fn the_claim_says_who_it_is_for() {
        let storage = json!({ "resources": { "requests": { "storage": "1Gi" } } });
        let owner = data_volume(storage);
        let spec = render(&owner, &classes(), Overhead::DEFAULT).unwrap();
        let source = import_source(&owner);
        let claim = claim_for(&owner, spec.clone(), Some(&source));
        let reference = claim
            .spec
            .as_ref()
            .unwrap()
            .data_source_ref
            .as_ref()
            .unwrap();
        assert_eq!(reference.name, "volume-import-source-u-1");
        assert_eq!(claim.annotations()[annotations::CREATED_FOR], "u-1");
        assert!(!claim.annotations().contains_key(annotations::SOURCE));
        let direct = claim_for(&owner, spec, None);
        assert_eq!(direct.annotations()[annotations::SOURCE], "none");
    }
}
