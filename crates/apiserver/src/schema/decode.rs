//! What a typed decoder does to a document before anyone looks at its meaning.
//!
//! A Kubernetes API server decodes built-in kinds into Go types, so a value of a wrong type is a
//! broken request (400) and not an invalid object (422), and quantities come back in their
//! canonical form. Of custom resources only `metadata` is typed.

use serde_json::Value;

use super::quantity::{Quantity, QuantityError};
use super::{Definitions, Schema, Type, formats, meta};
use crate::kind::Kind;
use crate::status::Status;

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Checks the types of `object` and brings its quantities into canonical form.
///
/// # Errors
/// 400 `BadRequest` at the first value that cannot be decoded.
pub fn decode(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let decoded = if kind.is_builtin() {
        let mut decoder = Decoder {
            definitions: &kind.definitions,
            fields: Vec::new(),
        };
        decoder.value(&kind.schema, &kind.kind, object)
    } else if let Some(metadata) = object.get_mut("metadata") {
        let (schema, definitions) = meta::object_meta();
        let mut decoder = Decoder {
            definitions,
            fields: vec!["metadata".to_owned()],
        };
        decoder.value(schema, &kind.kind, metadata)
    } else {
        Ok(())
    };
    decoded.map_err(|fault| {
        let (name, version) = (&kind.kind, &kind.version);
        Status::bad_request(format!(
            "{name} in version \"{version}\" cannot be handled as a {name}: {fault}"
        ))
    })
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    #[error("parsing time {0:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0:?} as \"2006\"")]
    Time(String),
    #[error("json: cannot unmarshal {value} into Go struct field {field} of type {expected}")]
    Type {
        value: String,
        field: String,
        expected: String,
    },
    /// That type has a decoder of its own, which knows nothing of the field around it.
    #[error("json: cannot unmarshal {0} into Go value of type int32")]
    IntOrString(String),
}

struct Decoder<'a> {
    definitions: &'a Definitions,
    /// Names of the fields from the root to here; lists and maps add nothing.
    fields: Vec<String>,
}

impl Decoder<'_> {
    /// `owner` is the Go type that has the field.
    fn value(&mut self, schema: &Schema, owner: &str, value: &mut Value) -> Result<(), Fault> {
        if value.is_null() {
            return Ok(());
        }
        if schema.reference.as_deref() == Some(QUANTITY) {
            return quantity(value);
        }
        let owner = schema
            .reference
            .as_deref()
            .map_or(owner, short_name)
            .to_owned();
        let resolved = schema.resolve(self.definitions);
        match (value, resolved.type_) {
            (Value::Object(fields), Some(Type::Object)) => {
                for (name, value) in fields {
                    let Some(schema) = resolved.field(name) else {
                        continue;
                    };
                    let depth = self.fields.len();
                    if resolved.properties.contains_key(name) {
                        self.fields.push(name.clone());
                    }
                    self.value(schema, &owner, value)?;
                    self.fields.truncate(depth);
                }
                Ok(())
            }
            (Value::Array(items), Some(Type::Array)) => {
                let Some(schema) = &resolved.items else {
                    return Ok(());
                };
                items
                    .iter_mut()
                    .try_for_each(|item| self.value(schema, &owner, item))
            }
            (value, _) => self.leaf(schema, resolved, &owner, value),
        }
    }

    fn leaf(
        &self,
        schema: &Schema,
        resolved: &Schema,
        owner: &str,
        value: &Value,
    ) -> Result<(), Fault> {
        let format = resolved.format.as_deref().unwrap_or_default();
        let fits = match (resolved.type_, value) {
            (Some(Type::String), Value::String(text)) => return text_format(format, text),
            (Some(Type::Boolean), Value::Bool(_))
            | (Some(Type::Number), Value::Number(_))
            | (None, Value::String(_)) => true,
            (Some(Type::Integer), Value::Number(_)) if format == "int32" => is_int32(value),
            (Some(Type::Integer), Value::Number(_)) => value.is_i64(),
            (None, _) if resolved.int_or_string && !is_int32(value) => {
                return Err(Fault::IntOrString(go_value(value, Some(Type::Integer))));
            }
            (None, _) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Fault::Type {
            value: go_value(value, resolved.type_),
            field: format!("{owner}.{}", self.fields.join(".")),
            expected: go_type(schema, resolved),
        })
    }
}

fn quantity(value: &mut Value) -> Result<(), Fault> {
    let text = match &*value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    *value = Value::from(text.parse::<Quantity>()?.to_string());
    Ok(())
}

fn text_format(format: &str, text: &str) -> Result<(), Fault> {
    match format {
        "byte" => match formats::illegal_base64(text) {
            Some(offset) => Err(Fault::Base64(offset)),
            None => Ok(()),
        },
        "date-time" if !formats::matches(format, text) => Err(Fault::Time(text.to_owned())),
        _ => Ok(()),
    }
}

/// `io.k8s.api.core.v1.PodSpec` → `PodSpec`.
fn short_name(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

fn is_int32(value: &Value) -> bool {
    value.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
}

/// What Go's decoder calls a value that does not fit. It shows a number where the wanted type is
/// a number too.
pub(crate) fn go_value(value: &Value, wanted: Option<Type>) -> String {
    let name = match value {
        Value::Number(number) if matches!(wanted, Some(Type::Integer | Type::Number)) => {
            return format!("number {number}");
        }
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    name.to_owned()
}

fn go_type(schema: &Schema, resolved: &Schema) -> String {
    if let Some(name) = &schema.reference {
        let mut parts = name.rsplit('.');
        let (name, package) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        return format!("{package}.{name}");
    }
    let inner = |schema: Option<&Schema>| schema.map(|s| go_type(s, s)).unwrap_or_default();
    match resolved.type_ {
        Some(Type::String) => "string".to_owned(),
        Some(Type::Boolean) => "bool".to_owned(),
        Some(Type::Integer) => resolved
            .format
            .clone()
            .unwrap_or_else(|| "int64".to_owned()),
        Some(Type::Number) => "float64".to_owned(),
        Some(Type::Array) => format!("[]{}", inner(resolved.items.as_deref())),
        Some(Type::Object) => {
            format!(
                "map[string]{}",
                inner(resolved.additional_properties.as_deref())
            )
        }
        None => "intstr.IntOrString".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(name: &str) -> Kind {
        crate::builtin::kinds()
            .into_iter()
            .find(|kind| kind.kind == name)
            .unwrap()
    }

    fn fault(kind_name: &str, mut object: Value) -> String {
        let status = decode(&kind(kind_name), &mut object).unwrap_err();
        assert_eq!((status.code.as_u16(), status.reason), (400, "BadRequest"));
        let prefix = format!("{kind_name} in version \"v1\" cannot be handled as a {kind_name}: ");
        status.message.strip_prefix(&prefix).unwrap().to_owned()
    }

    #[test]
    fn quantities_get_their_canonical_form() {
        let mut claim = json!({"spec": {"resources": {"requests": {"storage": "1024Mi", "x": 1}}}});
        decode(&kind("PersistentVolumeClaim"), &mut claim).unwrap();
        assert_eq!(
            claim["spec"]["resources"]["requests"],
            json!({"storage": "1Gi", "x": "1"})
        );
    }

    #[test]
    fn values_of_wrong_types_are_bad_requests() {
        let cases = [
            (
                "PersistentVolumeClaim",
                json!({"spec": {"resources": {"requests": {"storage": "1Gb"}}}}),
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                "Pod",
                json!({"spec": {"containers": "hello"}}),
                "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of \
                 type []v1.Container",
            ),
            (
                "Pod",
                json!({"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}}),
                "json: cannot unmarshal string into Go struct field \
                 ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
            (
                "ConfigMap",
                json!({"data": {"a": 1}}),
                "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
            ),
            (
                "Pod",
                json!({"spec": {"activeDeadlineSeconds": u64::MAX}}),
                "json: cannot unmarshal number 18446744073709551615 into Go struct field \
                 PodSpec.spec.activeDeadlineSeconds of type int64",
            ),
            (
                "Pod",
                json!({"spec": {"priority": 1.5}}),
                "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of \
                 type int32",
            ),
            (
                "Pod",
                json!({"spec": {"containers": [
                    {"livenessProbe": {"httpGet": {"port": 3_000_000_000_u64}}}]}}),
                "json: cannot unmarshal number 3000000000 into Go value of type int32",
            ),
            (
                "Secret",
                json!({"data": {"a": "!"}}),
                "illegal base64 data at input byte 0",
            ),
        ];
        for (kind, object, expected) in cases {
            assert_eq!(fault(kind, object), expected);
        }
    }

    #[test]
    fn what_is_decoded_fits_the_types_of_its_readers() {
        let mut pod = json!({"spec": {
            "activeDeadlineSeconds": i64::MAX, "priority": i32::MIN,
            "containers": [{"name": "a",
                "livenessProbe": {"httpGet": {"port": i32::MAX}},
                "readinessProbe": {"httpGet": {"port": "web"}}}],
        }});
        decode(&kind("Pod"), &mut pod).unwrap();
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).unwrap();
        let spec = pod.spec.unwrap();
        assert_eq!(spec.active_deadline_seconds, Some(i64::MAX));
        assert_eq!(spec.priority, Some(i32::MIN));
    }

    #[test]
    fn of_custom_resources_only_the_metadata_is_typed() {
        let definitions = std::sync::Arc::new(Definitions::new());
        let custom = Kind {
            definitions,
            kind: "Disk".to_owned(),
            ..kind("Pod")
        };
        assert!(decode(&custom, &mut json!({"spec": {"containers": 1}})).is_ok());
        let status = decode(&custom, &mut json!({"metadata": {"labels": {"a": 1}}})).unwrap_err();
        assert!(
            status
                .message
                .contains("ObjectMeta.metadata.labels of type string"),
            "{}",
            status.message
        );
    }
}
