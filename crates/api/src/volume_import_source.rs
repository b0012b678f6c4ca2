//! `VolumeImportSource`: where a claim's bytes come from, as a populator's source.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{data_volume::ContentType, source::DataVolumeSource};

/// VolumeImportSource says where the bytes come from of the claims that name it in `dataSourceRef`.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cdi.kubevirt.io",
    version = "v1beta1",
    kind = "VolumeImportSource",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "VolumeImportSource says where the bytes come from of the claims that name it in dataSourceRef."
)]
#[serde(rename_all = "camelCase")]
pub struct VolumeImportSourceSpec {
    /// Where the bytes come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<DataVolumeSource>,
    /// What the source holds: `kubevirt`, an image of a disk, or `archive`, a tar archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<ContentType>,
    /// Whether to allocate the whole volume, for steady write speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preallocation: Option<bool>,
}
