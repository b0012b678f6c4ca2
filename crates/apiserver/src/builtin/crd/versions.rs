//! The versions of a definition: their schemas, subresources, columns and selectable fields.

use serde_json::Value;

use crate::builtin::access::{list, text};
use crate::schema::{self, Schema, Type, cause};
use crate::status::Cause;
use crate::table;

/// Most fields of a version that objects can be selected by.
const MAX_SELECTABLE: u64 = 8;

pub(super) fn faults(crd: &Value, old: Option<&Value>) -> Vec<Cause> {
    let versions = list(crd, "/spec/versions");
    let mut causes = Vec::new();
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        let shown = Value::from(stored);
        causes.push(cause::invalid("spec.versions", &shown, detail));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let repeated = versions[..index]
            .iter()
            .any(|other| other["name"] == version["name"]);
        if repeated {
            causes.push(cause::duplicate(format!("{path}.name"), &version["name"]));
        }
        causes.extend(schema_faults(&path, version, old));
        causes.extend(scale_faults(&path, version));
        causes.extend(column_faults(&path, version));
        causes.extend(selectable_faults(&path, version));
        causes.extend(deprecation_fault(&path, version));
    }
    if old.is_some() {
        causes.extend(stored_faults(crd, versions));
    }
    causes
}

/// The schema of a version; one that is stored already was checked then.
fn schema_faults(path: &str, version: &Value, old: Option<&Value>) -> Vec<Cause> {
    let pointer = "/schema/openAPIV3Schema";
    let Some(document) = version.pointer(pointer) else {
        let path = format!("{path}{}", pointer.replace('/', "."));
        return vec![cause::required(path, "schemas are required")];
    };
    let before = old
        .map(|old| list(old, "/spec/versions"))
        .unwrap_or_default();
    if before
        .iter()
        .any(|old| old.pointer(pointer) == Some(document))
    {
        return Vec::new();
    }
    let faults = schema::faults(document).into_iter().map(|fault| Cause {
        field: format!("{path}.schema.{}", fault.field),
        ..fault
    });
    faults.collect()
}

fn scale_faults(path: &str, version: &Value) -> Vec<Cause> {
    let scale = &version["subresources"]["scale"];
    if !scale.is_object() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for (name, roots) in [
        ("specReplicasPath", &["spec"][..]),
        ("statusReplicasPath", &["status"]),
        ("labelSelectorPath", &["spec", "status"]),
    ] {
        let field = format!("{path}.subresources.scale.{name}");
        let given = scale[name].as_str().unwrap_or_default();
        if given.is_empty() {
            if name != "labelSelectorPath" {
                causes.push(cause::required(field, ""));
            }
            continue;
        }
        let shown = Value::from(given);
        match steps(given) {
            Err(detail) => causes.push(cause::invalid(field, &shown, detail)),
            Ok(steps) if !roots.contains(&steps[0]) => {
                let roots: Vec<_> = roots.iter().map(|root| format!(".{root}")).collect();
                let detail = format!("should be a json path under {}", roots.join(" or "));
                causes.push(cause::invalid(field, &shown, &detail));
            }
            Ok(_) => {}
        }
    }
    causes
}

/// The names of a path such as `.spec.replicas`.
fn steps(path: &str) -> Result<Vec<&str>, &'static str> {
    let Some(rest) = path.strip_prefix('.') else {
        return Err("is an invalid path: does not start with .");
    };
    if path.contains(['[', ']', '*']) {
        return Err("is an invalid path: does not support array notation");
    }
    let steps: Vec<_> = rest.split('.').collect();
    if steps.iter().any(|step| step.is_empty()) {
        return Err("is an invalid path: must not contain empty names");
    }
    Ok(steps)
}

fn column_faults(path: &str, version: &Value) -> Vec<Cause> {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 9] = [
        "",
        "byte",
        "date",
        "date-time",
        "double",
        "float",
        "int32",
        "int64",
        "password",
    ];
    let mut causes = Vec::new();
    let columns = version["additionalPrinterColumns"].as_array();
    for (index, column) in columns.into_iter().flatten().enumerate() {
        let path = format!("{path}.additionalPrinterColumns[{index}]");
        let given = |name: &str| column[name].as_str().unwrap_or_default();
        for name in ["name", "type", "jsonPath"] {
            if given(name).is_empty() {
                causes.push(cause::required(format!("{path}.{name}"), ""));
            }
        }
        let type_ = given("type");
        if !type_.is_empty() && !TYPES.contains(&type_) {
            let detail = format!("must be one of {}", TYPES.join(","));
            causes.push(cause::invalid(
                format!("{path}.type"),
                &column["type"],
                &detail,
            ));
        }
        if !FORMATS.contains(&given("format")) {
            let detail = format!("must be one of {}", FORMATS[1..].join(","));
            causes.push(cause::invalid(
                format!("{path}.format"),
                &column["format"],
                &detail,
            ));
        }
        let json_path = given("jsonPath");
        let sound = json_path.starts_with('.') && table::is_path(json_path);
        if !(json_path.is_empty() || sound) {
            let detail = "is an invalid path: not a JSONPath that starts with .";
            let field = format!("{path}.jsonPath");
            causes.push(cause::invalid(field, &column["jsonPath"], detail));
        }
    }
    causes
}

fn selectable_faults(path: &str, version: &Value) -> Vec<Cause> {
    let fields = version["selectableFields"].as_array();
    let fields = fields.map(Vec::as_slice).unwrap_or_default();
    let path = format!("{path}.selectableFields");
    let mut causes = Vec::new();
    if fields.len() as u64 > MAX_SELECTABLE {
        causes.push(cause::too_many(&path, fields.len(), MAX_SELECTABLE));
    }
    let document = version.pointer("/schema/openAPIV3Schema");
    let schema = document.and_then(|document| Schema::from_openapi(document).ok());
    for (index, field) in fields.iter().enumerate() {
        let path = format!("{path}[{index}].jsonPath");
        let given = &field["jsonPath"];
        let text = given.as_str().unwrap_or_default();
        if text.is_empty() {
            causes.push(cause::required(path, ""));
        } else if fields[..index]
            .iter()
            .any(|other| other["jsonPath"] == *given)
        {
            causes.push(cause::duplicate(path, given));
        } else if let Some(detail) = schema.as_ref().and_then(|s| selectable_fault(s, text)) {
            causes.push(cause::invalid(path, given, detail));
        }
    }
    causes
}

/// Why objects cannot be selected by a field.
fn selectable_fault(schema: &Schema, path: &str) -> Option<&'static str> {
    let steps = match steps(path) {
        Ok(steps) => steps,
        Err(detail) => return Some(detail),
    };
    if steps[0] == "metadata" {
        return Some("must not point to fields in metadata");
    }
    let mut schema = schema;
    for step in steps {
        match schema.properties.get(step) {
            Some(field) => schema = field,
            None => return Some("is an invalid path: does not refer to a valid field"),
        }
    }
    let scalar = matches!(
        schema.type_,
        Some(Type::String | Type::Integer | Type::Boolean)
    );
    (!scalar).then_some("must point to a field of type string, boolean or integer")
}

fn deprecation_fault(path: &str, version: &Value) -> Option<Cause> {
    let warning = version.get("deprecationWarning")?.as_str()?;
    let field = format!("{path}.deprecationWarning");
    let shown = Value::from(warning);
    if version["deprecated"] != true {
        let detail = "can only be set for deprecated versions";
        Some(cause::invalid(field, &shown, detail))
    } else if warning.is_empty() {
        Some(cause::invalid(field, &shown, "must not be empty"))
    } else if warning.len() > 256 {
        Some(cause::too_long(field, 256))
    } else if warning.chars().any(char::is_control) {
        Some(cause::invalid(
            field,
            &shown,
            "must only contain printable UTF-8 characters",
        ))
    } else {
        None
    }
}

/// A version may go only after objects stored in it are known to be gone.
fn stored_faults(crd: &Value, versions: &[Value]) -> Vec<Cause> {
    let field = "status.storedVersions";
    let stored = list(crd, "/status/storedVersions");
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        return vec![cause::invalid(field, &Value::Array(Vec::new()), detail)];
    }
    let mut causes = Vec::new();
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let shown = name.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {shown} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {shown} and removes {shown} from status.storedVersions"
            );
            causes.push(cause::invalid(format!("{field}[{index}]"), name, &detail));
        }
    }
    let storage = versions.iter().find(|version| version["storage"] == true);
    let name = storage.map_or("", |version| text(version, "/name"));
    if storage.is_some() && !stored.iter().any(|stored| stored == name) {
        let detail = format!("must have the storage version {name}");
        causes.push(cause::invalid(field, &stored.into(), &detail));
    }
    causes
}
