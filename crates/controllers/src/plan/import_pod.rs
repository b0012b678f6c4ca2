//! The Pod that imports into a claim.

use std::collections::BTreeMap;

use api::{annotations, labels, names, size::Overhead};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector,
        PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSecurityContext, PodSpec,
        ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeDevice, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};

use super::annotation;
use crate::Config;

/// User and group of the worker, and group of what it writes.
const WORKER_ID: i64 = 107;
/// Where a worker serves its metrics.
pub const METRICS_PORT: u16 = 8443;
/// Name of the volume in the Pod.
const VOLUME: &str = "cdi-data-vol";

/// The Pod for a claim with import annotations.
pub fn import_pod(claim: &PersistentVolumeClaim, config: &Config) -> Pod {
    let spec = claim.spec.as_ref();
    let is_block = spec.and_then(|spec| spec.volume_mode.as_deref()) == Some("Block");
    let container = Container {
        name: "importer".to_owned(),
        image: Some(config.worker_image.clone()),
        command: Some(["longshore", "worker", "import"].map(str::to_owned).into()),
        env: Some(environment(claim, is_block, config.overhead)),
        ports: Some(vec![ContainerPort {
            name: Some("metrics".to_owned()),
            container_port: METRICS_PORT.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            run_as_non_root: Some(true),
            run_as_user: Some(WORKER_ID),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: (!is_block).then(|| {
            vec![VolumeMount {
                name: VOLUME.to_owned(),
                mount_path: "/data".to_owned(),
                ..VolumeMount::default()
            }]
        }),
        volume_devices: is_block.then(|| {
            vec![VolumeDevice {
                name: VOLUME.to_owned(),
                device_path: "/dev/cdi-block-volume".to_owned(),
            }]
        }),
        ..Container::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(names::importer_pod(&claim.name_any())),
            namespace: claim.namespace(),
            labels: Some(pod_labels()),
            annotations: Some(pod_annotations(claim)),
            owner_references: claim.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![container],
            enable_service_links: Some(false),
            priority_class_name: text(claim, annotations::PRIORITY_CLASS),
            restart_policy: Some("OnFailure".to_owned()),
            security_context: Some(PodSecurityContext {
                fs_group: Some(WORKER_ID),
                run_as_non_root: Some(true),
                run_as_user: Some(WORKER_ID),
                ..PodSecurityContext::default()
            }),
            service_account_name: text(claim, annotations::SERVICE_ACCOUNT),
            volumes: Some(vec![Volume {
                name: VOLUME.to_owned(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: claim.name_any(),
                    read_only: None,
                }),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn text(claim: &PersistentVolumeClaim, key: &str) -> Option<String> {
    annotation(&claim.metadata, key).map(str::to_owned)
}

fn pod_labels() -> BTreeMap<String, String> {
    let all = [
        labels::APP,
        (labels::COMPONENT, "importer"),
        labels::METRICS,
    ];
    all.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn pod_annotations(claim: &PersistentVolumeClaim) -> BTreeMap<String, String> {
    let defaults = annotations::MESH_OPT_OUT.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut all: BTreeMap<String, String> = defaults.into();
    for key in annotations::PASSED_TO_POD {
        if let Some(value) = text(claim, key) {
            all.insert(key.to_owned(), value);
        }
    }
    all
}

/// What the worker is told, under the names that CDI's importer knows.
fn environment(claim: &PersistentVolumeClaim, is_block: bool, overhead: Overhead) -> Vec<EnvVar> {
    let requests = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let size = requests
        .and_then(|requests| requests.get("storage"))
        .map(|size| size.0.clone());
    let overhead = if is_block { Overhead::NONE } else { overhead };
    let value = |key| text(claim, key).unwrap_or_default();
    let is_true = |key| annotation(&claim.metadata, key) == Some("true");
    // A claim may name an endpoint alone.
    let source = annotation(&claim.metadata, annotations::SOURCE).unwrap_or("http");
    let values = [
        ("IMPORTER_SOURCE", source.to_owned()),
        ("IMPORTER_ENDPOINT", value(annotations::ENDPOINT)),
        ("IMPORTER_CONTENTTYPE", value(annotations::CONTENT_TYPE)),
        ("IMPORTER_IMAGE_SIZE", size.unwrap_or_default()),
        ("OWNER_UID", claim.uid().unwrap_or_default()),
        ("FILESYSTEM_OVERHEAD", overhead.to_string()),
        (
            "PREALLOCATION",
            is_true(annotations::PREALLOCATION_REQUESTED).to_string(),
        ),
        (
            "INSECURE_TLS",
            is_true(annotations::INSECURE_SKIP_VERIFY).to_string(),
        ),
    ];
    let mut all: Vec<EnvVar> = values
        .into_iter()
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        })
        .collect();
    all.push(EnvVar {
        name: "POD_IP".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "status.podIP".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    });
    all
}

/// CDI's defaults for worker Pods.
fn resources() -> ResourceRequirements {
    let amounts = |cpu: &str, memory: &str| {
        let amount = |name: &str, text: &str| (name.to_owned(), Quantity(text.to_owned()));
        Some([amount("cpu", cpu), amount("memory", memory)].into())
    };
    ResourceRequirements {
        limits: amounts("750m", "600M"),
        requests: amounts("100m", "60M"),
        claims: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worker_is_told_what_to_do_and_allowed_little_else() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {
                "name": "prime-1", "namespace": "vms", "uid": "u-2",
                "annotations": {
                    annotations::SOURCE: "http",
                    annotations::ENDPOINT: "http://host/disk.qcow2",
                },
            },
            "spec": { "resources": { "requests": { "storage": "1138166334" } } },
        }))
        .unwrap();
        let pod = import_pod(&claim, &Config::default());
        assert_eq!(pod.name_any(), "importer-prime-1");
        assert_eq!(pod.owner_references()[0].uid, "u-2");
        let spec = pod.spec.unwrap();
        let env = spec.containers[0].env.clone().unwrap();
        let value = |name: &str| env.iter().find(|e| e.name == name).unwrap().value.clone();
        assert_eq!(
            value("IMPORTER_ENDPOINT").as_deref(),
            Some("http://host/disk.qcow2")
        );
        assert_eq!(value("IMPORTER_IMAGE_SIZE").as_deref(), Some("1138166334"));
        assert_eq!(value("FILESYSTEM_OVERHEAD").as_deref(), Some("0.06"));
        assert_eq!(spec.security_context.unwrap().run_as_user, Some(107));
    }
}
