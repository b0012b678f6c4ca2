//! A DataVolume: the claim that it gets, and what its status says.

use api::{
    DataVolume, DataVolumePhase, VolumeImportSource, annotations, conditions::Finding,
    size::Overhead, validate,
};
use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kube::{Resource, ResourceExt};

use super::{
    Annotations, Notice, annotation,
    claim::{self, ClaimError},
    conditions, missing, populator,
};

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The DataVolume.
    pub data_volume: &'a DataVolume,
    /// The claim of its name, if there is one.
    pub claim: Option<&'a PersistentVolumeClaim>,
    /// All StorageClasses.
    pub classes: &'a [StorageClass],
    /// Names of all CSI drivers.
    pub drivers: &'a [String],
    /// The part of a Filesystem volume that is left to its file system.
    pub overhead: Overhead,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The one step to take.
    pub step: Step,
    /// What to write to the DataVolume.
    pub annotations: Annotations,
    /// What its status is to say.
    pub status: Report,
    /// What to tell those who look at it.
    pub notices: Vec<Notice>,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing: something is awaited, or all is done.
    None,
    /// Make the claim; with a populator, its source first.
    CreateClaim {
        /// The claim.
        claim: Box<PersistentVolumeClaim>,
        /// What fills it; without, it says so itself.
        source: Option<Box<VolumeImportSource>>,
    },
    /// Remove the populator's source, which has done its work.
    DeleteSource(String),
}

/// A status, before its conditions have times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How far the disk is.
    pub phase: DataVolumePhase,
    /// Name of the claim that holds it.
    pub claim_name: Option<String>,
    /// Part of the transfer that is done.
    pub progress: String,
    /// How often the transfer was started again.
    pub restart_count: i32,
    /// What the conditions say.
    pub findings: [Finding; 3],
}

/// Decides.
pub fn plan(observed: Observed<'_>) -> Plan {
    let Observed {
        data_volume, claim, ..
    } = observed;
    if let Err(fault) = validate::create(&data_volume.name_any(), &data_volume.spec) {
        return refuse(data_volume, "ErrClaimNotValid", &fault.message);
    }
    match claim {
        None => match claim_to_make(observed) {
            Ok(plan) => plan,
            Err(error) => refuse(data_volume, error.reason(), &error.to_string()),
        },
        Some(claim) if !is_controlled_by(claim, data_volume) => {
            let message = format!(
                "Resource \"{}\" already exists and is not managed by DataVolume",
                claim.name_any()
            );
            refuse(data_volume, "ErrResourceExists", &message)
        }
        Some(claim) if claim.metadata.deletion_timestamp.is_some() => {
            let message = format!("Resource \"{}\" marked for deletion", claim.name_any());
            refuse(data_volume, "ErrResourceMarkedForDeletion", &message)
        }
        Some(claim) => follow(observed, claim),
    }
}

/// What to say of a DataVolume whose claim the API server did not take.
pub fn claim_refused(data_volume: &DataVolume, message: &str) -> Plan {
    if !message.contains("exceeded quota:") {
        return refuse(data_volume, "ErrClaimNotValid", message);
    }
    let mut plan = refuse(data_volume, "ErrExceededQuota", message);
    plan.status.phase = DataVolumePhase::Pending;
    plan
}

fn refuse(data_volume: &DataVolume, reason: &str, message: &str) -> Plan {
    let findings = conditions::without_claim(reason, message);
    let told = previous(data_volume, "Bound").is_some_and(|(before, _)| before == message);
    Plan {
        step: Step::None,
        annotations: Annotations::new(),
        status: Report {
            phase: data_volume.phase(),
            claim_name: None,
            progress: progress(data_volume, None),
            restart_count: 0,
            findings,
        },
        notices: if told {
            Vec::new()
        } else {
            vec![Notice::warning(reason, message)]
        },
    }
}

fn claim_to_make(observed: Observed<'_>) -> Result<Plan, ClaimError> {
    let Observed {
        data_volume,
        classes,
        drivers,
        overhead,
        ..
    } = observed;
    let spec = claim::render(data_volume, classes, overhead)?;
    let class = claim::class_of(spec.storage_class_name.as_deref(), classes);
    let asked = annotation(&data_volume.metadata, annotations::USE_POPULATOR);
    let populate = match asked {
        Some(asked) => asked == "true",
        None => class.is_some_and(|class| drivers.contains(&class.provisioner)),
    };
    let source = populate.then(|| claim::import_source(data_volume));
    let claim = claim::claim_for(data_volume, spec, source.as_ref());
    let mut status = report(data_volume, DataVolumePhase::Pending, None);
    // A claim that was there before, and what it had come to, no longer counts.
    status.progress = "N/A".to_owned();
    let chosen = [(
        annotations::USE_POPULATOR.to_owned(),
        Some(populate.to_string()),
    )];
    Ok(Plan {
        step: Step::CreateClaim {
            claim: Box::new(claim),
            source: source.map(Box::new),
        },
        annotations: missing(&data_volume.metadata, chosen.into()),
        status,
        notices: Vec::new(),
    })
}

fn is_controlled_by(claim: &PersistentVolumeClaim, data_volume: &DataVolume) -> bool {
    let uid = data_volume.metadata.uid.as_deref();
    claim.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == DataVolume::kind(&())
            && Some(owner.uid.as_str()) == uid
    })
}

fn follow(observed: Observed<'_>, claim: &PersistentVolumeClaim) -> Plan {
    let data_volume = observed.data_volume;
    let phase = phase(observed, claim);
    let status = report(data_volume, phase, Some(claim));
    let mut notices = Vec::new();
    let failure = failure_notice(data_volume, &status);
    let pod_phase = annotation(&claim.metadata, annotations::POD_PHASE);
    if failure.is_some() && pod_phase == Some("Failed") {
        let message = format!("Failed to import into PVC {}", claim.name_any());
        notices.push(Notice::warning("ImportFailed", message));
    }
    for phase in phases_since(data_volume.phase(), phase) {
        notices.extend(phase_notice(phase, &claim.name_any()));
    }
    notices.extend(failure);
    let populated = annotation(&data_volume.metadata, annotations::USE_POPULATOR) == Some("true");
    let just_done =
        phase == DataVolumePhase::Succeeded && data_volume.phase() != DataVolumePhase::Succeeded;
    let step = if just_done && populated {
        Step::DeleteSource(claim::import_source(data_volume).name_any())
    } else {
        Step::None
    };
    Plan {
        step,
        annotations: Annotations::new(),
        status,
        notices,
    }
}

fn phase(observed: Observed<'_>, claim: &PersistentVolumeClaim) -> DataVolumePhase {
    let before = observed.data_volume.phase();
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref());
    let class = claim::class_of(class, observed.classes);
    let pod_phase = annotation(&claim.metadata, annotations::POD_PHASE);
    let is_target = populator::is_import_target(claim);
    match claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
    {
        "Pending" => {
            let waits = class.is_some_and(|class| populator::waits_for_consumer(claim, class));
            match (is_target, waits) {
                (true, true) => DataVolumePhase::PendingPopulation,
                (false, true) => DataVolumePhase::WaitForFirstConsumer,
                (true, false) => match pod_phase {
                    // Complete, but the volume is not the target's yet.
                    Some("Succeeded") => DataVolumePhase::ImportInProgress,
                    // Another Pod will go on.
                    Some("Failed" | "Unknown") => before,
                    other => transfer_phase(other, DataVolumePhase::Pending),
                },
                (false, false) => DataVolumePhase::Pending,
            }
        }
        "Bound" => {
            let since = match before {
                DataVolumePhase::Unset
                | DataVolumePhase::Pending
                | DataVolumePhase::PendingPopulation
                | DataVolumePhase::WaitForFirstConsumer
                | DataVolumePhase::Unknown => DataVolumePhase::PvcBound,
                other => other,
            };
            transfer_phase(pod_phase, since)
        }
        "Lost" => DataVolumePhase::Failed,
        _ => DataVolumePhase::Unknown,
    }
}

fn transfer_phase(pod_phase: Option<&str>, otherwise: DataVolumePhase) -> DataVolumePhase {
    match pod_phase {
        Some("Pending") => DataVolumePhase::ImportScheduled,
        Some("Running") => DataVolumePhase::ImportInProgress,
        Some("Succeeded") => DataVolumePhase::Succeeded,
        _ => otherwise,
    }
}

fn report(
    data_volume: &DataVolume,
    phase: DataVolumePhase,
    claim: Option<&PersistentVolumeClaim>,
) -> Report {
    let restarts = claim.and_then(|claim| annotation(&claim.metadata, annotations::POD_RESTARTS));
    let progress = match phase {
        DataVolumePhase::Succeeded => "100.0%".to_owned(),
        _ => progress(data_volume, claim),
    };
    Report {
        phase,
        claim_name: claim.map(ResourceExt::name_any),
        progress,
        restart_count: restarts
            .and_then(|count| count.parse().ok())
            .unwrap_or_default(),
        findings: conditions::findings(phase, claim),
    }
}

fn progress(data_volume: &DataVolume, claim: Option<&PersistentVolumeClaim>) -> String {
    let read = claim.and_then(|claim| annotation(&claim.metadata, annotations::PROGRESS));
    let before = || data_volume.status.as_ref()?.progress.as_deref();
    // A full reading comes before the worker has made the bytes durable.
    let read = read.filter(|text| !text.starts_with("100"));
    read.or_else(before).unwrap_or("N/A").to_owned()
}

/// The phases that were entered since the last look: a quick import goes through several between two.
fn phases_since(before: DataVolumePhase, now: DataVolumePhase) -> Vec<DataVolumePhase> {
    const IMPORT: [DataVolumePhase; 3] = [
        DataVolumePhase::ImportScheduled,
        DataVolumePhase::ImportInProgress,
        DataVolumePhase::Succeeded,
    ];
    let place = |phase| IMPORT.iter().position(|step| *step == phase);
    let next = place(before).map_or(0, |last| last + 1);
    match place(now) {
        _ if before == now => Vec::new(),
        Some(last) if next <= last => IMPORT[next..=last].to_vec(),
        _ => vec![now],
    }
}

fn phase_notice(phase: DataVolumePhase, claim: &str) -> Option<Notice> {
    let message = match phase {
        DataVolumePhase::PvcBound => format!("PVC {claim} Bound"),
        DataVolumePhase::PendingPopulation => {
            format!(
                "PVC {claim} is filled when a Pod uses it: {}",
                immediate_hint()
            )
        }
        DataVolumePhase::WaitForFirstConsumer => {
            format!(
                "PVC {claim} Pending until a Pod uses it: {}",
                immediate_hint()
            )
        }
        DataVolumePhase::ImportScheduled => format!("Import into {claim} scheduled"),
        DataVolumePhase::ImportInProgress => format!("Import into {claim} in progress"),
        DataVolumePhase::Succeeded => {
            let message = format!("Successfully imported into PVC {claim}");
            return Some(Notice::normal("ImportSucceeded", message));
        }
        DataVolumePhase::Failed => {
            return Some(Notice::warning("ErrClaimLost", format!("PVC {claim} lost")));
        }
        _ => return None,
    };
    Some(Notice::normal(phase.name(), message))
}

fn immediate_hint() -> String {
    format!(
        "start its virtual machine, or set the annotation {}",
        annotations::IMMEDIATE_BIND
    )
}

/// Tells of a failure, each one once.
fn failure_notice(data_volume: &DataVolume, status: &Report) -> Option<Notice> {
    let [bound, running, ready] = &status.findings;
    let stopped = ready.status == Some(false) && running.status == Some(false);
    let counts = bound.status == Some(true) || status.claim_name.is_some();
    if !stopped || !counts || running.message.is_empty() || running.reason != "Error" {
        return None;
    }
    let before = previous(data_volume, "Running");
    if before == Some((running.message.as_str(), running.reason.as_str())) {
        return None;
    }
    Some(Notice::warning(
        running.reason.clone(),
        running.message.clone(),
    ))
}

/// Message and reason of a condition as it stands.
fn previous<'a>(data_volume: &'a DataVolume, type_: &str) -> Option<(&'a str, &'a str)> {
    let conditions = data_volume.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == type_)?;
    let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
    Some((text(&condition.message), text(&condition.reason)))
}

#[cfg(test)]
mod tests;
