//! Admission in process: the same rules that a cluster reaches through webhooks.

use api::{
    DataVolume, VolumeImportSource,
    validate::{self, Fault},
};
use apiserver::{
    extend::{Admission, AdmissionRequest, Operation},
    status::Status,
};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The names that clients see in a refusal.
const DATA_VOLUME_WEBHOOK: &str = "datavolume-validate.cdi.kubevirt.io";
/// See [`DATA_VOLUME_WEBHOOK`].
const POPULATOR_WEBHOOK: &str = "populator-validate.cdi.kubevirt.io";

/// The rules for `cdi.kubevirt.io`.
pub(crate) struct Rules;

impl Admission for Rules {
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<Vec<String>, Status> {
        if !request.subresource.is_empty() || request.kind.group != DataVolume::group(&()) {
            return Ok(Vec::new());
        }
        let result = if request.kind.kind == DataVolume::kind(&()) {
            check(
                request,
                |new| validate::create(request.name, new),
                validate::update,
            )?
        } else if request.kind.kind == VolumeImportSource::kind(&()) {
            check(
                request,
                validate::create_import_source,
                validate::update_import_source,
            )?
        } else {
            Ok(())
        };
        result
            .map(|()| Vec::new())
            .map_err(|fault| refusal(request, &fault))
    }
}

/// Checks the `spec` of a new object, or its change.
fn check<S: DeserializeOwned>(
    request: &AdmissionRequest<'_>,
    create: impl FnOnce(&S) -> Result<(), Fault>,
    update: impl FnOnce(&S, &S) -> Result<(), Fault>,
) -> Result<Result<(), Fault>, Status> {
    Ok(
        match (request.operation, request.object, request.old_object) {
            (Operation::Create, Some(new), _) => create(&spec(request, new)?),
            (Operation::Update, Some(new), Some(old)) => {
                update(&spec(request, old)?, &spec(request, new)?)
            }
            _ => Ok(()),
        },
    )
}

fn spec<S: DeserializeOwned>(request: &AdmissionRequest<'_>, object: &Value) -> Result<S, Status> {
    S::deserialize(&object["spec"]).map_err(|error| {
        let kind = &request.kind.kind;
        Status::bad_request(format!("spec cannot be read as that of a {kind}: {error}"))
    })
}

fn refusal(request: &AdmissionRequest<'_>, fault: &Fault) -> Status {
    let is_data_volume = request.kind.kind == DataVolume::kind(&());
    let webhook = if is_data_volume {
        DATA_VOLUME_WEBHOOK
    } else {
        POPULATOR_WEBHOOK
    };
    let message = format!("admission webhook \"{webhook}\" denied the request: {fault}");
    Status {
        details: json!({
            "name": request.name,
            "group": request.kind.group,
            "kind": request.kind.plural,
            "causes": [{
                "reason": fault.reason, "message": fault.message, "field": fault.field,
            }],
        }),
        ..Status::unprocessable(message)
    }
}
