//! The objects that a new home starts with: its storage classes and its CSI driver. What is there
//! already is left as it is, changed or not.

use std::collections::BTreeMap;

use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, StorageClass};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::csi_client::DRIVER_NAME;
use crate::objects::well_known::{DEFAULT_CLASS, WAIT_FOR_FIRST_CONSUMER};
use crate::runtime::error::status_code;

/// The class of claims that name none: volumes are made on the node of the first Pod that uses them.
pub const STORAGE_CLASS: &str = "longshore-local";
/// The same pool for claims that must not wait for a Pod.
pub const IMMEDIATE_STORAGE_CLASS: &str = "longshore-local-immediate";

/// The objects could not be created.
#[derive(Debug, thiserror::Error)]
#[error("failed to create {object}, which every start checks for")]
pub struct BootstrapError {
    object: &'static str,
    #[source]
    source: Box<kube::Error>,
}

/// Creates what is missing.
pub(crate) async fn create_missing(client: &Client) -> Result<(), BootstrapError> {
    let drivers: Api<CSIDriver> = Api::all(client.clone());
    done(
        drivers.create(&PostParams::default(), &driver()).await,
        DRIVER_NAME,
    )?;
    let classes: Api<StorageClass> = Api::all(client.clone());
    let default = storage_class(STORAGE_CLASS, WAIT_FOR_FIRST_CONSUMER, true);
    done(
        classes.create(&PostParams::default(), &default).await,
        STORAGE_CLASS,
    )?;
    let immediate = storage_class(IMMEDIATE_STORAGE_CLASS, "Immediate", false);
    done(
        classes.create(&PostParams::default(), &immediate).await,
        IMMEDIATE_STORAGE_CLASS,
    )
}

fn done<T>(outcome: kube::Result<T>, object: &'static str) -> Result<(), BootstrapError> {
    match outcome {
        Err(error) if status_code(&error) != Some(409) => Err(BootstrapError {
            object,
            source: Box::new(error),
        }),
        _ => Ok(()),
    }
}

fn storage_class(name: &str, binding_mode: &str, is_default: bool) -> StorageClass {
    let annotations: BTreeMap<_, _> = is_default
        .then(|| (DEFAULT_CLASS.to_owned(), "true".to_owned()))
        .into_iter()
        .collect();
    StorageClass {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            ..ObjectMeta::default()
        },
        provisioner: DRIVER_NAME.to_owned(),
        parameters: Some([("storagePool".to_owned(), "legacy".to_owned())].into()),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some(binding_mode.to_owned()),
        ..StorageClass::default()
    }
}

fn driver() -> CSIDriver {
    CSIDriver {
        metadata: ObjectMeta {
            name: Some(DRIVER_NAME.to_owned()),
            ..ObjectMeta::default()
        },
        spec: CSIDriverSpec {
            attach_required: Some(false),
            pod_info_on_mount: Some(true),
            storage_capacity: Some(true),
            requires_republish: Some(false),
            fs_group_policy: Some("File".to_owned()),
            volume_lifecycle_modes: Some(vec!["Persistent".to_owned(), "Ephemeral".to_owned()]),
            ..CSIDriverSpec::default()
        },
    }
}
