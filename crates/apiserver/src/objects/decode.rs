//! From the bytes of a request to an object that has the shape of its kind.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::kind::Kind;
use crate::schema;
use crate::status::Status;

/// What becomes of fields that a kind does not have, or that come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and the client is told.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

/// A JSON document, and the paths of the fields that it gives more than once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) duplicates: Vec<String>,
}

impl Document {
    /// Reads a document; the last of several equal fields counts.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut duplicates = Vec::new();
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let node = Node {
            path: String::new(),
            duplicates: &mut duplicates,
        };
        let value = node.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self { value, duplicates })
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self {
            value,
            duplicates: Vec::new(),
        }
    }
}

/// Makes a document an object of `kind`: right types, known fields only, defaults filled in.
pub(crate) fn conform(
    kind: &Kind,
    document: Document,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Document {
        value: mut object,
        duplicates,
    } = document;
    check_type(kind, &mut object)?;
    let unknown = schema::prune(&kind.schema, &kind.definitions, &mut object);
    let faults = unknown
        .into_iter()
        .map(|path| format!("unknown field \"{path}\""))
        .chain(
            duplicates
                .into_iter()
                .map(|path| format!("duplicate field \"{path}\"")),
        );
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(faults),
        FieldValidation::Strict => {
            let faults: Vec<_> = faults.collect();
            if !faults.is_empty() {
                let (name, version) = (&kind.kind, &kind.version);
                return Err(Status::bad_request(format!(
                    "{name} in version \"{version}\" cannot be handled as a {name}: strict \
                     decoding error: {}",
                    faults.join(", ")
                )));
            }
        }
    }
    schema::decode(kind, &mut object)?;
    schema::apply_defaults(&kind.schema, &kind.definitions, &mut object);
    Ok(object)
}

/// Checks that the object says it is of the kind, where it says anything.
fn check_type(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let Some(fields) = object.as_object_mut() else {
        return Err(Status::bad_request(
            "the body of the request must be a JSON object",
        ));
    };
    let api_version = kind.api_version();
    for (field, what, expected) in [
        ("apiVersion", "API version", &api_version),
        ("kind", "kind", &kind.kind),
    ] {
        match fields
            .get(field)
            .and_then(Value::as_str)
            .filter(|found| !found.is_empty())
        {
            None => {
                fields.insert(field.into(), expected.as_str().into());
            }
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(Status::bad_request(format!(
                    "the {what} in the data ({found}) does not match the expected {what} \
                     ({expected})"
                )));
            }
        }
    }
    Ok(())
}

/// Reads one value at a path.
struct Node<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, values.len());
            let node = Node {
                path,
                duplicates: &mut *self.duplicates,
            };
            match list.next_element_seed(node)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = match self.path.as_str() {
                "" => name.clone(),
                parent => format!("{parent}.{name}"),
            };
            if object.contains_key(&name) {
                self.duplicates.push(path.clone());
            }
            let node = Node {
                path,
                duplicates: &mut *self.duplicates,
            };
            let value = fields.next_value_seed(node).map_err(A::Error::custom)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_found_at_their_paths() {
        let text = br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"d": null, "d": 1.5}}"#;
        let document = Document::parse(text).unwrap();
        assert_eq!(document.value, json!({"a": {"d": 1.5}, "b": [{"c": 2}]}));
        assert_eq!(document.duplicates, ["b[0].c", "a", "a.d"]);
        assert!(Document::parse(b"{} x").is_err());
        assert!(Document::parse("[".repeat(10_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in "[\\[\\]{},:\"a1.\\- ]{0,24}") {
            let ours = Document::parse(text.as_bytes()).map(|document| document.value).ok();
            let theirs: Option<Value> = serde_json::from_str(&text).ok();
            prop_assert_eq!(ours, theirs);
        }
    }
}
