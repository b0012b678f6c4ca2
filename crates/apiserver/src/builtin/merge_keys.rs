//! Facts about the lists of the built-in kinds that their schemas do not carry.
//!
//! They are those of the Kubernetes API reference ("Patch strategy", "Map: unique values on key").

use crate::schema::{Definitions, ListType, Merge};

/// Lists that a strategic merge patch merges: definition, field and the key of their elements; an
/// empty key stands for lists of plain values.
const MERGED: &[(&str, &str, &str)] = &[
    ("core.v1.Container", "env", "name"),
    ("core.v1.Container", "ports", "containerPort"),
    ("core.v1.Container", "volumeDevices", "devicePath"),
    ("core.v1.Container", "volumeMounts", "mountPath"),
    (
        "core.v1.ContainerStatus",
        "allocatedResourcesStatus",
        "name",
    ),
    ("core.v1.ContainerStatus", "volumeMounts", "mountPath"),
    ("core.v1.EphemeralContainer", "env", "name"),
    ("core.v1.EphemeralContainer", "ports", "containerPort"),
    ("core.v1.EphemeralContainer", "volumeDevices", "devicePath"),
    ("core.v1.EphemeralContainer", "volumeMounts", "mountPath"),
    ("core.v1.NamespaceStatus", "conditions", "type"),
    ("core.v1.NodeSpec", "podCIDRs", ""),
    ("core.v1.NodeStatus", "addresses", "type"),
    ("core.v1.NodeStatus", "conditions", "type"),
    ("core.v1.PersistentVolumeClaimStatus", "conditions", "type"),
    ("core.v1.PodSpec", "containers", "name"),
    ("core.v1.PodSpec", "ephemeralContainers", "name"),
    ("core.v1.PodSpec", "hostAliases", "ip"),
    ("core.v1.PodSpec", "imagePullSecrets", "name"),
    ("core.v1.PodSpec", "initContainers", "name"),
    ("core.v1.PodSpec", "resourceClaims", "name"),
    ("core.v1.PodSpec", "schedulingGates", "name"),
    (
        "core.v1.PodSpec",
        "topologySpreadConstraints",
        "topologyKey",
    ),
    ("core.v1.PodSpec", "volumes", "name"),
    ("core.v1.PodStatus", "conditions", "type"),
    ("core.v1.PodStatus", "hostIPs", "ip"),
    ("core.v1.PodStatus", "podIPs", "ip"),
    ("core.v1.PodStatus", "resourceClaimStatuses", "name"),
    ("core.v1.ServiceAccount", "secrets", "name"),
    ("apps.v1.DaemonSetStatus", "conditions", "type"),
    ("apps.v1.DeploymentStatus", "conditions", "type"),
    ("apps.v1.ReplicaSetStatus", "conditions", "type"),
    ("batch.v1.JobStatus", "conditions", "type"),
    ("core.v1.ServiceSpec", "ports", "port"),
    ("core.v1.ServiceStatus", "conditions", "type"),
    ("policy.v1.PodDisruptionBudgetStatus", "conditions", "type"),
    ("storage.v1.CSINodeSpec", "drivers", "name"),
    ("meta.v1.ObjectMeta", "finalizers", ""),
    ("meta.v1.ObjectMeta", "ownerReferences", "uid"),
];

/// Of [`MERGED`], the lists of unions: a patch says which members of an element stay.
const RETAIN_KEYS: &[(&str, &str)] = &[
    ("core.v1.PodSpec", "resourceClaims"),
    ("core.v1.PodSpec", "volumes"),
];

/// Lists of type `map` whose keys are not just the merge key, or that are not merged by patches.
const MAPS: &[(&str, &str, &[&str])] = &[
    ("core.v1.Container", "ports", &["containerPort", "protocol"]),
    (
        "core.v1.EphemeralContainer",
        "ports",
        &["containerPort", "protocol"],
    ),
    (
        "core.v1.PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("core.v1.ResourceRequirements", "claims", &["name"]),
    ("core.v1.ServiceSpec", "ports", &["port", "protocol"]),
    (
        "apiextensions.v1.CustomResourceDefinitionStatus",
        "conditions",
        &["type"],
    ),
    (
        "apiextensions.v1.JSONSchemaProps",
        "x-kubernetes-validations",
        &["rule"],
    ),
];

/// Lists of type `set`.
const SETS: &[(&str, &str)] = &[
    ("core.v1.NodeSpec", "podCIDRs"),
    ("meta.v1.ObjectMeta", "finalizers"),
    ("storage.v1.CSIDriverSpec", "volumeLifecycleModes"),
];

/// Merged lists of type `atomic`: for server-side apply they are one value all the same.
const ATOMIC_LISTS: &[(&str, &str)] = &[
    ("batch.v1.JobStatus", "conditions"),
    ("core.v1.PodStatus", "hostIPs"),
];

/// Fields whose value is an object that is one value there.
const ATOMIC_FIELDS: &[(&str, &str)] = &[("core.v1.PodSpec", "nodeSelector")];

/// Fields of a type of [`ATOMIC_MAPS`] that are not one value there: a user names the claim of a
/// volume, and the binder adds which one that turned out to be.
const GRANULAR_FIELDS: &[(&str, &str)] = &[("core.v1.PersistentVolumeSpec", "claimRef")];

/// Keys that need not be given.
const KEY_DEFAULTS: &[(&str, &str, &str)] = &[
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.ServicePort", "protocol", "TCP"),
];

/// Objects that are one value: a reference is never half of one and half of another.
const ATOMIC_MAPS: &[&str] = &[
    "core.v1.ConfigMapKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Writes the facts into the definitions.
pub(crate) fn annotate(definitions: &mut Definitions) {
    for &(definition, field, key) in MERGED {
        let retain_keys = RETAIN_KEYS.contains(&(definition, field));
        let keys = if key.is_empty() { &[][..] } else { &[key] };
        if let Some(schema) = field_of(definitions, definition, field) {
            schema.merge = Some(Merge {
                key: keys.first().copied(),
                retain_keys,
            });
            schema.list_type = (!keys.is_empty()).then_some(ListType::Map);
            schema.list_map_keys = keys.iter().map(|&key| key.to_owned()).collect();
        }
    }
    for &(definition, field, keys) in MAPS {
        if let Some(schema) = field_of(definitions, definition, field) {
            schema.list_type = Some(ListType::Map);
            schema.list_map_keys = keys.iter().map(|&key| key.to_owned()).collect();
        }
    }
    for (list, list_type) in [(SETS, ListType::Set), (ATOMIC_LISTS, ListType::Atomic)] {
        for (definition, field) in list {
            if let Some(schema) = field_of(definitions, definition, field) {
                schema.list_type = Some(list_type);
                schema.list_map_keys.clear();
            }
        }
    }
    for (fields, atomic) in [(ATOMIC_FIELDS, true), (GRANULAR_FIELDS, false)] {
        for (definition, field) in fields {
            if let Some(schema) = field_of(definitions, definition, field) {
                schema.atomic_map = Some(atomic);
            }
        }
    }
    for &(definition, field, default) in KEY_DEFAULTS {
        if let Some(schema) = field_of(definitions, definition, field) {
            schema.default = Some(default.into());
        }
    }
    for definition in ATOMIC_MAPS {
        if let Some(schema) = definitions.get_mut(&full_name(definition)) {
            schema.atomic_map = Some(true);
        }
    }
}

fn field_of<'a>(
    definitions: &'a mut Definitions,
    definition: &str,
    field: &str,
) -> Option<&'a mut crate::schema::Schema> {
    definitions
        .get_mut(&full_name(definition))?
        .properties
        .get_mut(field)
}

fn full_name(definition: &str) -> String {
    let package = match definition.split('.').next() {
        Some("meta") => "io.k8s.apimachinery.pkg.apis",
        Some("apiextensions") => "io.k8s.apiextensions-apiserver.pkg.apis",
        _ => "io.k8s.api",
    };
    format!("{package}.{definition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_field_that_exists() {
        let kinds = crate::builtin::kinds();
        let definitions = &kinds[0].definitions;
        let rows = MERGED
            .iter()
            .map(|&(d, f, _)| (d, f))
            .chain(RETAIN_KEYS.iter().copied())
            .chain(MAPS.iter().map(|&(d, f, _)| (d, f)))
            .chain(SETS.iter().copied())
            .chain(ATOMIC_LISTS.iter().copied())
            .chain(ATOMIC_FIELDS.iter().copied())
            .chain(GRANULAR_FIELDS.iter().copied())
            .chain(KEY_DEFAULTS.iter().map(|&(d, f, _)| (d, f)));
        for (definition, field) in rows {
            let schema = definitions.get(&full_name(definition)).expect(definition);
            assert!(
                schema.properties.contains_key(field),
                "{definition}.{field}"
            );
        }
        for definition in ATOMIC_MAPS {
            assert!(
                definitions.contains_key(&full_name(definition)),
                "{definition}"
            );
        }
    }
}
