//! What a DataVolume's conditions say, from its claim.

use api::{DataVolumePhase, annotations, conditions::Finding};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;

use super::annotation;

/// `Bound`, `Running` and `Ready`, in this order.
pub fn findings(phase: DataVolumePhase, claim: Option<&PersistentVolumeClaim>) -> [Finding; 3] {
    let bound = bound(claim);
    let running = claim.map_or_else(
        || Finding::new("Running", Some(false), "", ""),
        |claim| running(phase, claim),
    );
    let ready = match phase {
        DataVolumePhase::Succeeded => Finding::new("Ready", Some(true), "", ""),
        DataVolumePhase::Unknown => Finding::new("Ready", None, "", ""),
        _ if running.status == Some(true) => {
            Finding::new("Ready", Some(false), "TransferRunning", "")
        }
        _ => Finding::new("Ready", Some(false), "", ""),
    };
    [bound, running, ready]
}

/// The conditions of a DataVolume that has no claim, and why it has none.
pub fn without_claim(reason: &str, message: &str) -> [Finding; 3] {
    [
        Finding::new("Bound", Some(false), reason, message),
        Finding::new("Running", Some(false), "", ""),
        Finding::new("Ready", Some(false), "", ""),
    ]
}

fn bound(claim: Option<&PersistentVolumeClaim>) -> Finding {
    let finding = |status, reason: &str, message: String| {
        Finding::new("Bound", Some(status), reason, message)
    };
    let Some(claim) = claim else {
        return finding(false, "NotFound", "No PVC found".to_owned());
    };
    let (name, metadata) = (claim.name_any(), &claim.metadata);
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let obstacle = annotation(metadata, annotations::BOUND).filter(|bound| *bound != "true");
    let reason = annotation(metadata, annotations::BOUND_REASON).unwrap_or_default();
    let message = annotation(metadata, annotations::BOUND_MESSAGE).unwrap_or_default();
    match (phase.unwrap_or("Pending"), obstacle) {
        ("Bound", None) => finding(true, "Bound", format!("PVC {name} Bound")),
        ("Bound", Some(_)) => finding(false, reason, message.to_owned()),
        ("Pending", None) => finding(false, "Pending", format!("PVC {name} Pending")),
        ("Pending", Some(_)) => finding(
            false,
            reason,
            format!("target PVC {name} Pending and {message}"),
        ),
        ("Lost", _) => finding(false, "ClaimLost", "Claim Lost".to_owned()),
        (other, _) => finding(false, "Unknown", format!("PVC {name} is in phase {other}")),
    }
}

fn running(phase: DataVolumePhase, claim: &PersistentVolumeClaim) -> Finding {
    let metadata = &claim.metadata;
    if phase == DataVolumePhase::Succeeded {
        return Finding::new("Running", Some(false), "Completed", "Import Complete");
    }
    if annotation(metadata, annotations::POD_SCHEDULABLE) == Some("false") {
        let message = annotation(metadata, annotations::RUNNING_MESSAGE)
            .filter(|message| !message.is_empty())
            .unwrap_or("Importer pod cannot be scheduled");
        return Finding::new("Running", Some(false), "Unschedulable", message);
    }
    let status = match annotation(metadata, annotations::RUNNING) {
        Some("true") => Some(true),
        Some("false") | None => Some(false),
        Some(_) => None,
    };
    let text = |key| annotation(metadata, key).unwrap_or_default();
    Finding::new(
        "Running",
        status,
        text(annotations::RUNNING_REASON),
        text(annotations::RUNNING_MESSAGE),
    )
}
