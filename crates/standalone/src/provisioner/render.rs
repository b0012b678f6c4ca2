//! From a claim to a CSI request, and from the answer to a volume object.

use std::collections::BTreeMap;

use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi::v1::{
    CapacityRange, CreateVolumeRequest, Topology, TopologyRequirement, Volume, VolumeCapability,
};
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ObjectMeta;

use super::driver::topology;
use super::error::ProvisionError;
use crate::csi_client::DRIVER_NAME;
use crate::objects::{claims, quantity, well_known};

/// Parameters with this prefix are for the provisioner and not for the driver.
const RESERVED_PREFIX: &str = "csi.storage.k8s.io/";
/// Names the process that made a volume, in the volume's attributes.
const IDENTITY_ATTRIBUTE: &str = "storage.kubernetes.io/csiProvisionerIdentity";

/// The name of a claim's volume, both in the API and in the driver.
pub(super) fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claims::uid(claim))
}

/// What to ask the driver of a node for.
pub(super) fn create_request(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &str,
) -> Result<CreateVolumeRequest, ProvisionError> {
    if claim
        .spec
        .as_ref()
        .is_some_and(|spec| spec.selector.is_some())
    {
        return Err(ProvisionError::Unsupported(
            "claim Selector is not supported".into(),
        ));
    }
    if claims::copies_a_volume(claim) {
        // An empty volume in place of a copy would be taken for the data.
        return Err(ProvisionError::Unsupported(
            "the driver copies neither claims nor snapshots: leave dataSource out".into(),
        ));
    }
    let required_bytes = i64::try_from(claims::requested_bytes(claim)).unwrap_or(i64::MAX);
    let here = topology(node);
    Ok(CreateVolumeRequest {
        name: volume_name(claim),
        capacity_range: Some(CapacityRange {
            required_bytes,
            limit_bytes: 0,
        }),
        volume_capabilities: capabilities(claim, class)?,
        parameters: driver_parameters(class)?,
        accessibility_requirements: Some(TopologyRequirement {
            requisite: vec![here.clone()],
            preferred: vec![here],
        }),
        ..Default::default()
    })
}

fn driver_parameters(
    class: &StorageClass,
) -> Result<std::collections::HashMap<String, String>, ProvisionError> {
    let mut parameters = std::collections::HashMap::new();
    for (key, value) in class.parameters.iter().flatten() {
        match key.strip_prefix(RESERVED_PREFIX) {
            None => {
                parameters.insert(key.clone(), value.clone());
            }
            Some("fstype") => {}
            Some(_) => {
                let why = format!("found unknown parameter key {key:?} with reserved namespace");
                return Err(ProvisionError::Unsupported(why));
            }
        }
    }
    Ok(parameters)
}

fn capabilities(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
) -> Result<Vec<VolumeCapability>, ProvisionError> {
    let access_type = if claims::claim_mode(claim) == "Block" {
        AccessType::Block(BlockVolume {})
    } else {
        AccessType::Mount(MountVolume {
            mount_flags: class.mount_options.clone().unwrap_or_default(),
            ..Default::default()
        })
    };
    let capability = |mode: &String| {
        let mode = access_mode(mode)?;
        Ok(VolumeCapability {
            access_mode: Some(AccessMode { mode: mode.into() }),
            access_type: Some(access_type.clone()),
        })
    };
    claims::claim_access_modes(claim)
        .iter()
        .map(capability)
        .collect()
}

fn access_mode(mode: &str) -> Result<Mode, ProvisionError> {
    match mode {
        "ReadWriteOnce" | "ReadWriteOncePod" => Ok(Mode::SingleNodeWriter),
        "ReadOnlyMany" => Ok(Mode::MultiNodeReaderOnly),
        "ReadWriteMany" => Ok(Mode::MultiNodeMultiWriter),
        _ => Err(ProvisionError::Unsupported(format!(
            "unsupported access mode {mode:?}"
        ))),
    }
}

/// The object for a volume that the driver made.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    identity: &str,
    made: &Volume,
) -> PersistentVolume {
    let driver = DRIVER_NAME.to_owned();
    let reclaim_policy = class
        .reclaim_policy
        .clone()
        .unwrap_or_else(|| "Delete".to_owned());
    let mut finalizers = vec![well_known::PV_PROTECTION.to_owned()];
    if reclaim_policy == "Delete" {
        finalizers.insert(0, well_known::PROVISIONER_FINALIZER.to_owned());
    }
    let mut attributes: BTreeMap<String, String> = made
        .volume_context
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    attributes.insert(IDENTITY_ATTRIBUTE.to_owned(), identity.to_owned());
    let capacity = quantity::from_bytes(u64::try_from(made.capacity_bytes).unwrap_or(0));
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(volume_name(claim)),
            annotations: Some([(well_known::PROVISIONED_BY.to_owned(), driver.clone())].into()),
            finalizers: Some(finalizers),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: claim
                .spec
                .as_ref()
                .and_then(|spec| spec.access_modes.clone()),
            capacity: Some([("storage".to_owned(), capacity)].into()),
            claim_ref: Some(claims::reference_to(claim)),
            csi: Some(CSIPersistentVolumeSource {
                driver,
                volume_handle: made.volume_id.clone(),
                volume_attributes: Some(attributes),
                ..CSIPersistentVolumeSource::default()
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: node_affinity(&made.accessible_topology),
            persistent_volume_reclaim_policy: Some(reclaim_policy),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some(claims::claim_mode(claim).to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// One alternative per segment; a volume without segments can be used everywhere.
fn node_affinity(segments: &[Topology]) -> Option<VolumeNodeAffinity> {
    let term = |topology: &Topology| {
        let mut expressions: Vec<_> = topology
            .segments
            .iter()
            .map(|(key, value)| NodeSelectorRequirement {
                key: key.clone(),
                operator: "In".to_owned(),
                values: Some(vec![value.clone()]),
            })
            .collect();
        expressions.sort_by(|a, b| a.key.cmp(&b.key));
        NodeSelectorTerm {
            match_expressions: Some(expressions),
            ..NodeSelectorTerm::default()
        }
    };
    let terms: Vec<_> = segments.iter().map(term).collect();
    (!terms.is_empty()).then_some(VolumeNodeAffinity {
        required: Some(NodeSelector {
            node_selector_terms: terms,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn claim() -> PersistentVolumeClaim {
        object(json!({
            "metadata": {"name": "c", "namespace": "ns", "uid": "u-1"},
            "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}},
        }))
    }

    fn class(parameters: Value) -> StorageClass {
        object(json!({"metadata": {"name": "local"}, "provisioner": "d",
            "parameters": parameters, "reclaimPolicy": "Delete"}))
    }

    #[test]
    fn reserved_parameters_stay_here() {
        let parameters = json!({"storagePool": "legacy", "csi.storage.k8s.io/fstype": "xfs"});
        let request = create_request(&claim(), &class(parameters), "n1").unwrap();
        assert_eq!(
            request.parameters,
            [("storagePool".into(), "legacy".into())].into()
        );
        assert_eq!(request.name, "pvc-u-1");
        assert_eq!(request.capacity_range.unwrap().required_bytes, 1 << 30);
        let unknown = class(json!({"csi.storage.k8s.io/surprise": "x"}));
        assert!(create_request(&claim(), &unknown, "n1").is_err());
    }

    #[test]
    fn an_empty_volume_is_never_given_for_a_copy() {
        let mut copy = claim();
        let source = json!({"kind": "PersistentVolumeClaim", "name": "golden"});
        copy.spec.as_mut().unwrap().data_source = object(source);
        let error = create_request(&copy, &class(json!({})), "n1").unwrap_err();
        assert!(matches!(error, ProvisionError::Unsupported(_)), "{error}");
    }

    #[test]
    fn a_volume_is_reserved_for_its_claim_and_pinned_to_where_it_is() {
        let made = Volume {
            capacity_bytes: 2 << 30,
            volume_id: "h".into(),
            volume_context: [("storagePool".to_owned(), "legacy".to_owned())].into(),
            accessible_topology: vec![topology("n1")],
            ..Volume::default()
        };
        let volume = volume(&claim(), &class(json!({})), "me", &made);
        assert!(claims::is_for_claim(&volume, &claim()));
        assert_eq!(claims::capacity_bytes(&volume), 2 << 30);
        let spec = serde_json::to_value(volume.spec.unwrap()).unwrap();
        assert_eq!(spec["csi"]["volumeAttributes"][IDENTITY_ATTRIBUTE], "me");
        assert_eq!(spec["csi"]["fsType"], Value::Null);
        let term = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0];
        assert_eq!(term["matchExpressions"][0]["values"], json!(["n1"]));
    }
}
