//! Admission in process: the same rules that a cluster reaches through webhooks.

use api::{DataVolume, DataVolumeSpec, validate};
use apiserver::{
    extend::{Admission, AdmissionRequest, Operation},
    status::Status,
};
use http::StatusCode;
use kube::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

/// The name that clients see in a refusal.
const WEBHOOK: &str = "datavolume-validate.cdi.kubevirt.io";

/// The rules for `cdi.kubevirt.io`.
pub(crate) struct Rules;

impl Admission for Rules {
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<Vec<String>, Status> {
        let kind = request.kind;
        let is_data_volume =
            kind.group == DataVolume::group(&()) && kind.kind == DataVolume::kind(&());
        if !is_data_volume || !request.subresource.is_empty() {
            return Ok(Vec::new());
        }
        let result = match (request.operation, request.object, request.old_object) {
            (Operation::Create, Some(new), _) => validate::create(request.name, &spec(new)?),
            (Operation::Update, Some(new), Some(old)) => validate::update(&spec(old)?, &spec(new)?),
            _ => Ok(()),
        };
        result
            .map(|()| Vec::new())
            .map_err(|fault| refusal(request, &fault))
    }
}

fn spec(object: &Value) -> Result<DataVolumeSpec, Status> {
    DataVolumeSpec::deserialize(&object["spec"]).map_err(|error| Status {
        code: StatusCode::BAD_REQUEST,
        reason: "BadRequest",
        message: format!("spec cannot be read as a DataVolume's: {error}"),
        details: Value::Null,
    })
}

fn refusal(request: &AdmissionRequest<'_>, fault: &validate::Fault) -> Status {
    Status {
        code: StatusCode::UNPROCESSABLE_ENTITY,
        reason: "Invalid",
        message: format!("admission webhook \"{WEBHOOK}\" denied the request: {fault}"),
        details: json!({
            "name": request.name,
            "group": request.kind.group,
            "kind": request.kind.plural,
            "causes": [{
                "reason": fault.reason, "message": fault.message, "field": fault.field,
            }],
        }),
    }
}
