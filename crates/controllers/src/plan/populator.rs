//! Filling a claim by way of a prime claim.
//!
//! The target claim stays without a volume until the prime claim's is complete; then the volume is
//! bound to the target instead. A target is waiting, being filled, being handed its volume, or done:
//!
//! ```text
//! wait for source, class, consumer ─▶ make prime ─▶ mirror its state ─▶ rebind ─▶ remove prime
//! ```

use api::{VolumeImportSource, annotations, labels, names, storage, validate};
use k8s_openapi::api::{
    core::v1::{
        ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    },
    storage::v1::StorageClass,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};

use super::{Annotations, Notice, annotation, claim::import_annotations, missing};

/// Annotations of the prime claim that the target shows as its own.
const MIRRORED: [&str; 9] = [
    annotations::POD_PHASE,
    annotations::POD_RESTARTS,
    annotations::POD_SCHEDULABLE,
    annotations::RUNNING,
    annotations::RUNNING_MESSAGE,
    annotations::RUNNING_REASON,
    annotations::PROGRESS,
    annotations::PREALLOCATION,
    annotations::IMPORT_POD,
];

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The claim to fill.
    pub target: &'a PersistentVolumeClaim,
    /// What to fill it with, if it is there.
    pub source: Option<&'a VolumeImportSource>,
    /// Its StorageClass, if it is there.
    pub class: Option<&'a StorageClass>,
    /// The prime claim, if it is there.
    pub prime: Option<&'a PersistentVolumeClaim>,
    /// The prime claim's volume, if it has one.
    pub volume: Option<&'a PersistentVolume>,
    /// Why the prime claim has no volume yet: the reason and message of its newest event.
    pub obstacle: Option<(&'a str, &'a str)>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The one step to take.
    pub step: Step,
    /// What to write to the target.
    pub annotations: Annotations,
    /// What to tell those who look at the target.
    pub notices: Vec<Notice>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Step {
    /// Nothing: something is awaited, or all is done.
    #[default]
    None,
    /// Make the prime claim.
    CreatePrime(Box<PersistentVolumeClaim>),
    /// Bind the volume of this name to the target.
    Rebind {
        /// The volume.
        volume: String,
        /// What its `claimRef` is to say.
        claim: Box<ObjectReference>,
    },
    /// Remove the prime claim.
    DeletePrime,
}

/// Whether the claim is to be filled from a VolumeImportSource.
pub fn is_import_target(claim: &PersistentVolumeClaim) -> bool {
    let reference = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.data_source_ref.as_ref());
    reference.is_some_and(|reference| {
        reference.kind == VolumeImportSource::kind(&())
            && reference.api_group.as_deref() == Some(&*VolumeImportSource::group(&()))
    })
}

/// Decides.
pub fn plan(observed: Observed<'_>) -> Plan {
    let Observed { target, prime, .. } = observed;
    let is_bound = phase(target) == Some("Bound");
    match prime {
        _ if target.metadata.deletion_timestamp.is_some() => Plan {
            step: if is_live(prime) {
                Step::DeletePrime
            } else {
                Step::None
            },
            ..Plan::default()
        },
        None if is_bound => Plan::default(),
        None => start(observed),
        Some(prime) if is_bound => finish(target, prime),
        Some(prime) => follow(observed, prime),
    }
}

fn start(observed: Observed<'_>) -> Plan {
    let Observed {
        target,
        source,
        class,
        ..
    } = observed;
    let class_name = target
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref());
    if class_name == Some("") {
        return refuse(
            target,
            "storageClassName is empty, and volumes to fill come from a class",
        );
    }
    let (Some(source), Some(class)) = (source, class) else {
        return Plan::default();
    };
    if let Err(fault) = validate::create_import_source(&source.spec) {
        let message = format!("VolumeImportSource {}: {fault}", source.name_any());
        return refuse(target, &message);
    }
    if target
        .spec
        .as_ref()
        .is_some_and(|spec| spec.volume_name.is_some())
    {
        // The volume has been handed over; only the binding is awaited.
        return Plan::default();
    }
    if waits_for_consumer(target, class) {
        return Plan::default();
    }
    let prime = prime_claim(target, source);
    let wanted = [
        (annotations::PRIME.to_owned(), Some(prime.name_any())),
        (
            annotations::POPULATOR_KIND.to_owned(),
            Some(VolumeImportSource::kind(&()).into_owned()),
        ),
    ];
    Plan {
        step: Step::CreatePrime(Box::new(prime)),
        annotations: missing(&target.metadata, wanted.into()),
        notices: vec![Notice::normal(
            "CreatedPVCPrimeSuccessfully",
            "PVC Prime created successfully",
        )],
    }
}

/// Leaves the claim as it is, and tells why, once.
fn refuse(target: &PersistentVolumeClaim, message: &str) -> Plan {
    let reason = "ErrClaimNotValid";
    let annotations = missing(&target.metadata, not_bound(reason, message));
    let told = annotations.is_empty();
    Plan {
        annotations,
        notices: if told {
            Vec::new()
        } else {
            vec![Notice::warning(reason, message)]
        },
        ..Plan::default()
    }
}

/// The annotations by which a claim says why it has no volume.
fn not_bound(reason: &str, message: &str) -> Annotations {
    let all = [
        (annotations::BOUND, "false"),
        (annotations::BOUND_REASON, reason),
        (annotations::BOUND_MESSAGE, message),
    ];
    all.map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        .into()
}

/// Whether the claim is to be left alone until a Pod uses it.
pub fn waits_for_consumer(target: &PersistentVolumeClaim, class: &StorageClass) -> bool {
    storage::waits_for_consumer(class)
        && annotation(&target.metadata, annotations::SELECTED_NODE).is_none()
        && annotation(&target.metadata, annotations::IMMEDIATE_BIND).is_none()
}

fn follow(observed: Observed<'_>, prime: &PersistentVolumeClaim) -> Plan {
    let Observed { target, volume, .. } = observed;
    let mut wanted = mirrored(prime);
    let complete = annotation(&prime.metadata, annotations::POD_PHASE) == Some("Succeeded");
    if complete {
        // The target shows success once the volume is its own.
        wanted.remove(annotations::POD_PHASE);
    }
    let obstacle = observed
        .obstacle
        .filter(|_| phase(prime) == Some("Pending"));
    if let Some((_, message)) = obstacle {
        let message = format!("[{}] : {message}", prime.name_any());
        wanted.extend(not_bound("Pending", &message));
    } else {
        for key in [
            annotations::BOUND,
            annotations::BOUND_MESSAGE,
            annotations::BOUND_REASON,
        ] {
            wanted.insert(key.to_owned(), None);
        }
    }
    let changed = missing(&target.metadata, wanted);
    let mut notices = Vec::new();
    if let (Some((reason, _)), Some(Some(message))) =
        (obstacle, changed.get(annotations::BOUND_MESSAGE))
    {
        notices.push(Notice::warning(reason, message.clone()));
    }
    let failed = annotation(&prime.metadata, annotations::RUNNING_REASON) == Some("Error");
    if failed && changed.contains_key(annotations::RUNNING_MESSAGE) {
        let message = format!("import into {} failed", target.name_any());
        notices.push(Notice::warning("importFailed", message));
    }
    let step = match volume {
        Some(volume) if complete => rebind(target, volume),
        _ => Step::None,
    };
    Plan {
        step,
        annotations: changed,
        notices,
    }
}

/// Hands the volume to the target, unless that has been done.
fn rebind(target: &PersistentVolumeClaim, volume: &PersistentVolume) -> Step {
    let owner = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    if owner.and_then(|owner| owner.uid.as_deref()) == target.metadata.uid.as_deref() {
        return Step::None;
    }
    Step::Rebind {
        volume: volume.name_any(),
        claim: Box::new(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: target.namespace(),
            name: target.metadata.name.clone(),
            uid: target.uid(),
            resource_version: target.resource_version(),
            field_path: None,
        }),
    }
}

fn finish(target: &PersistentVolumeClaim, prime: &PersistentVolumeClaim) -> Plan {
    let mut wanted = mirrored(prime);
    for key in [
        annotations::BOUND,
        annotations::BOUND_MESSAGE,
        annotations::BOUND_REASON,
    ] {
        wanted.insert(key.to_owned(), None);
    }
    let changed = missing(&target.metadata, wanted);
    let retained = annotation(&prime.metadata, annotations::RETAIN_POD) == Some("true");
    let mut notices = Vec::new();
    if changed.contains_key(annotations::POD_PHASE) {
        let message = format!("Successfully imported into {}", target.name_any());
        notices.push(Notice::normal("importSucceeded", message));
        if retained {
            let message = "PVC Prime retained in Lost state for debugging purposes";
            notices.push(Notice::warning("RetainedPVCPrime", message));
        }
    }
    let step = if is_live(Some(prime)) && !retained {
        Step::DeletePrime
    } else {
        Step::None
    };
    Plan {
        step,
        annotations: changed,
        notices,
    }
}

fn mirrored(prime: &PersistentVolumeClaim) -> Annotations {
    let value = |key: &str| annotation(&prime.metadata, key).map(str::to_owned);
    MIRRORED
        .iter()
        .map(|&key| (key.to_owned(), value(key)))
        .collect()
}

fn phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

fn is_live(claim: Option<&PersistentVolumeClaim>) -> bool {
    claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_none())
}

/// The claim that is filled in place of `target`: of the same class, mode and size, and bound
/// without waiting for a consumer, because the worker is its consumer.
fn prime_claim(
    target: &PersistentVolumeClaim,
    source: &VolumeImportSource,
) -> PersistentVolumeClaim {
    let spec = target.spec.clone().unwrap_or_default();
    let mut notes = import_annotations(&source.spec);
    notes.insert(annotations::IMMEDIATE_BIND.to_owned(), String::new());
    let passed = [
        annotations::SELECTED_NODE,
        annotations::RETAIN_POD,
        annotations::PRIORITY_CLASS,
        annotations::SERVICE_ACCOUNT,
    ];
    for key in passed.into_iter().chain(annotations::PASSED_TO_POD) {
        if let Some(value) = annotation(&target.metadata, key) {
            notes.insert(key.to_owned(), value.to_owned());
        }
    }
    let labels = [labels::APP, labels::NO_BACKUP];
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::prime_claim(&target.uid().unwrap_or_default())),
            namespace: target.namespace(),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            annotations: Some(notes),
            owner_references: target.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: spec.access_modes,
            resources: spec.resources,
            storage_class_name: spec.storage_class_name,
            volume_mode: spec.volume_mode,
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
