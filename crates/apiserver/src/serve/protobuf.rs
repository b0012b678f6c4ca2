//! Bodies in the Kubernetes protobuf encoding, for the few kinds that clients send in nothing else:
//! `kubectl create configmap`, `secret`, `token`, `role`, `deployment` and their like, and `kubectl auth`, since
//! release 1.33.
//!
//! A body is the magic number `k8s\0` and an envelope with the type and the encoded object
//! (Kubernetes API concepts, "Kubernetes Protobuf encoding"). Answers are always JSON, which these
//! clients accept.

mod access;
mod workloads;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};

use crate::wire::{Content, Malformed, Reader};

/// The media type of such bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    /// The bytes do not follow the encoding.
    #[error("the body is not a well-formed Kubernetes protobuf message")]
    Malformed(#[from] Malformed),
    /// The kind is served in JSON only.
    #[error("this kind can only be sent as application/json")]
    Unsupported,
}

/// How the bytes of a field become JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Text,
    Integer,
    /// A number that means nothing when it is zero.
    Count,
    IntOrText,
    Boolean,
    TextMap,
    /// A map to messages that hold nothing but a text.
    Quantities,
    BytesMap,
    Message(&'static [Field]),
    Messages(&'static [Field]),
    Texts,
    /// No field: others than those of the table must be empty.
    Closed,
}

/// Ends a table that must not be added to unnoticed. No field has its number.
const CLOSED: Field = (0, "", Shape::Closed);

/// A field: its number, its JSON name, and its shape.
type Field = (u64, &'static str, Shape);

const META: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "generateName", Shape::Text),
    (3, "namespace", Shape::Text),
    (11, "labels", Shape::TextMap),
    (12, "annotations", Shape::TextMap),
    (14, "finalizers", Shape::Texts),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "data", Shape::TextMap),
    (3, "binaryData", Shape::BytesMap),
    (4, "immutable", Shape::Boolean),
];
const SECRET: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "data", Shape::BytesMap),
    (3, "type", Shape::Text),
    (4, "stringData", Shape::TextMap),
    (5, "immutable", Shape::Boolean),
];
const NAMESPACE: &[Field] = &[(1, "metadata", Shape::Message(META))];
const LOCAL_REFERENCE: &[Field] = &[(1, "name", Shape::Text)];
const SERVICE_ACCOUNT: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (3, "imagePullSecrets", Shape::Messages(LOCAL_REFERENCE)),
    (4, "automountServiceAccountToken", Shape::Boolean),
];
const TYPE: &[Field] = &[(1, "apiVersion", Shape::Text), (2, "kind", Shape::Text)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Shape::Integer),
    (2, "preconditions", Shape::Message(PRECONDITIONS)),
    (3, "orphanDependents", Shape::Boolean),
    (4, "propagationPolicy", Shape::Text),
    (5, "dryRun", Shape::Texts),
];
const PRECONDITIONS: &[Field] = &[(1, "uid", Shape::Text), (2, "resourceVersion", Shape::Text)];

/// Reads a body as the object that it would be in JSON.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Malformed)?;
    let (mut type_, mut raw): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader(envelope);
    while let Some((number, content)) = reader.field()? {
        match (number, content) {
            (1, Content::Bytes(bytes)) => type_ = bytes,
            (2, Content::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let type_ = message(type_, TYPE)?;
    let fields = match (type_["apiVersion"].as_str(), type_["kind"].as_str()) {
        (Some("v1"), Some("ConfigMap")) => CONFIG_MAP,
        (Some("v1"), Some("Secret")) => SECRET,
        (Some("v1"), Some("Namespace")) => NAMESPACE,
        (Some("v1"), Some("ServiceAccount")) => SERVICE_ACCOUNT,
        (_, Some("DeleteOptions")) => DELETE_OPTIONS,
        (Some(api_version), Some(kind)) => {
            let fields = access::fields(api_version, kind);
            let fields = fields.or_else(|| workloads::fields(api_version, kind));
            fields.ok_or(ProtobufError::Unsupported)?
        }
        _ => return Err(ProtobufError::Unsupported),
    };
    let mut object = message(raw, fields)?;
    object["apiVersion"] = type_["apiVersion"].clone();
    object["kind"] = type_["kind"].clone();
    Ok(object)
}

/// Reads a message. Empty values are left out, as a Go client's JSON would.
fn message(bytes: &[u8], fields: &[Field]) -> Result<Value, ProtobufError> {
    let mut object = Map::new();
    let mut reader = Reader(bytes);
    while let Some((number, content)) = reader.field()? {
        let Some((_, name, shape)) = fields.iter().find(|(known, ..)| *known == number) else {
            let is_empty = matches!(content, Content::Number(0) | Content::Bytes([]));
            if !is_empty && fields.contains(&CLOSED) {
                return Err(ProtobufError::Unsupported);
            }
            continue;
        };
        let add = |object: &mut Map<String, Value>, item: Value| {
            let list = object.entry(*name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
        };
        match (*shape, content) {
            (Shape::Text, Content::Bytes([])) | (Shape::Count, Content::Number(0)) => {}
            (Shape::Text, Content::Bytes(bytes)) => {
                object.insert((*name).into(), text(bytes)?.into());
            }
            (Shape::Integer | Shape::Count, Content::Number(number)) => {
                object.insert((*name).into(), number.cast_signed().into());
            }
            (Shape::IntOrText, Content::Bytes(bytes)) => {
                object.insert((*name).into(), int_or_text(bytes)?);
            }
            (Shape::Boolean, Content::Number(number)) => {
                object.insert((*name).into(), (number != 0).into());
            }
            (Shape::TextMap | Shape::BytesMap | Shape::Quantities, Content::Bytes(bytes)) => {
                let (key, value) = entry(bytes, *shape)?;
                let map = object.entry(*name).or_insert_with(|| json!({}));
                map[key] = value;
            }
            (Shape::Message(fields), Content::Bytes(bytes)) => {
                object.insert((*name).into(), message(bytes, fields)?);
            }
            (Shape::Messages(fields), Content::Bytes(bytes)) => {
                add(&mut object, message(bytes, fields)?);
            }
            (Shape::Texts, Content::Bytes(bytes)) => add(&mut object, text(bytes)?.into()),
            _ => return Err(Malformed.into()),
        }
    }
    Ok(Value::Object(object))
}

/// Reads one entry of a map: a message of a key and a value.
fn entry(bytes: &[u8], shape: Shape) -> Result<(String, Value), Malformed> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader(bytes);
    while let Some((number, content)) = reader.field()? {
        match (number, content) {
            (1, Content::Bytes(bytes)) => key = bytes,
            (2, Content::Bytes(bytes)) => value = bytes,
            _ => return Err(Malformed),
        }
    }
    let value = match shape {
        Shape::BytesMap => BASE64_STANDARD.encode(value),
        Shape::Quantities => quantity(value)?,
        _ => text(value)?,
    };
    Ok((text(key)?, value.into()))
}

/// A message with one text, which is all that a quantity is.
fn quantity(bytes: &[u8]) -> Result<String, Malformed> {
    match Reader(bytes).field()? {
        Some((1, Content::Bytes(bytes))) => text(bytes),
        _ => Err(Malformed),
    }
}

/// A message of a type (0 for numbers), a number and a text.
fn int_or_text(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    let mut reader = Reader(bytes);
    while let Some(field) = reader.field()? {
        match field {
            (1, Content::Number(kind)) => is_text = kind != 0,
            (2, Content::Number(found)) => number = found.cast_signed(),
            (3, Content::Bytes(bytes)) => string = text(bytes)?,
            _ => return Err(Malformed),
        }
    }
    Ok(if is_text {
        string.into()
    } else {
        number.into()
    })
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [
            &[number << 3 | 2, u8::try_from(content.len()).unwrap()],
            content,
        ]
        .concat()
    }

    #[test]
    fn an_object_is_read() {
        let type_ = [field(1, b"v1"), field(2, b"Secret")].concat();
        let meta = [field(1, b"s"), field(2, b"")].concat();
        let data = [field(1, b"k"), field(2, b"\xff\x00")].concat();
        let raw = [
            field(1, &meta),
            field(2, &data),
            field(3, b"Opaque"),
            vec![5 << 3, 1],
        ]
        .concat();
        let body = [MAGIC, &field(1, &type_), &field(2, &raw)].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"k": "/wA="}, "type": "Opaque", "immutable": true,
        });
        assert_eq!(decode(&body), Ok(expected));
        assert_eq!(decode(b"{}"), Err(Malformed.into()));
        let other = [field(1, b"v1"), field(2, b"Pod")].concat();
        let body = [MAGIC, &field(1, &other)].concat();
        assert_eq!(decode(&body), Err(ProtobufError::Unsupported));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let type_ = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
            let body = [MAGIC, &field(1, &type_), &field(2, &bytes)].concat();
            let _ = decode(&body);
            let _ = decode(&bytes);
        }
    }
}
