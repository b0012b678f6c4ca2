//! The `CustomResourceDefinition`s of what this crate describes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::CustomResourceExt;

use crate::{DataVolume, VolumeImportSource, labels};

/// All of them, in the order in which they are best installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![DataVolume::crd(), VolumeImportSource::crd()];
    for crd in &mut crds {
        let labels = [labels::MANAGED_BY, labels::PART_COMPONENT];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        crd.metadata.labels = Some(labels.into());
        let older = crd.spec.versions.iter().map(as_alpha).collect::<Vec<_>>();
        crd.spec.versions.extend(older);
    }
    crds
}

/// The same version under its older name, which manifests of the guides still use.
fn as_alpha(version: &CustomResourceDefinitionVersion) -> CustomResourceDefinitionVersion {
    CustomResourceDefinitionVersion {
        name: "v1alpha1".to_owned(),
        storage: false,
        ..version.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_volumes_are_found_by_their_short_names() {
        let crd = &all()[0];
        assert_eq!(
            crd.metadata.name.as_deref(),
            Some("datavolumes.cdi.kubevirt.io")
        );
        assert_eq!(
            crd.spec.names.short_names.as_deref(),
            Some(&["dv".into(), "dvs".into()][..])
        );
        assert_eq!(
            crd.spec.names.categories.as_deref(),
            Some(&["all".to_owned()][..])
        );
    }

    #[test]
    fn sizes_may_be_numbers_or_texts() {
        let crd = serde_json::to_value(&all()[0]).unwrap();
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/storage\
                    /properties/resources/properties/requests/additionalProperties";
        let schema = crd.pointer(path).unwrap();
        assert_eq!(schema["x-kubernetes-int-or-string"], true, "{schema}");
    }
}
