//! ConfigMaps, Secrets and ServiceAccounts.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{count, fill, is_true, map, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::meta::names;
use crate::schema::cause;
use crate::status::Cause;

pub(super) const CONFIG_MAP_COLUMNS: &[Col] = &[
    Col::new("Data", "Number of entries.", |object| {
        (count(object, "/data") + count(object, "/binaryData")).into()
    }),
    AGE,
];

pub(super) const CONFIG_MAP_HOOKS: Hooks = Hooks {
    validate: Some(|object, old| {
        let mut causes = keys(object, &["data", "binaryData"]);
        causes.extend(immutable(object, old, &["data", "binaryData"]));
        causes
    }),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const SECRET_COLUMNS: &[Col] = &[
    Col::new(
        "Type",
        "Used to facilitate programmatic handling of secret data.",
        |object| text(object, "/type").into(),
    ),
    Col::new("Data", "Number of entries.", |object| {
        count(object, "/data").into()
    }),
    AGE,
];

pub(super) const SECRET_HOOKS: Hooks = Hooks {
    default: Some(secret_default),
    validate: Some(secret_validate),
    fields: Some(|object| vec![("type", text(object, "/type").to_owned())]),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const SERVICE_ACCOUNT_COLUMNS: &[Col] = &[
    Col::new(
        "Secrets",
        "Number of secrets that Pods may use.",
        |object| count(object, "/secrets").into(),
    ),
    AGE,
];

pub(super) const SERVICE_ACCOUNT_HOOKS: Hooks = Hooks {
    no_generation: true,
    ..NO_HOOKS
};

/// `stringData` is for writing only: its entries replace those of `data`, encoded.
fn secret_default(object: &mut Value) {
    if !object.is_object() {
        return;
    }
    if let Some(Value::Object(texts)) = object.as_object_mut().and_then(|o| o.remove("stringData"))
    {
        let data = map(object, "data");
        for (name, text) in texts {
            let text = text.as_str().unwrap_or_default();
            data.insert(name, Value::from(BASE64_STANDARD.encode(text)));
        }
    }
    if let Some(object) = object.as_object_mut() {
        fill(object, "type", "Opaque");
    }
}

fn secret_validate(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = keys(object, &["data"]);
    if let Some(old) = old
        && old.get("type") != object.get("type")
    {
        let type_ = object.get("type").unwrap_or(&Value::Null);
        causes.push(cause::invalid("type", type_, "field is immutable"));
    }
    causes.extend(immutable(object, old, &["data"]));
    if causes.is_empty() && text(object, "/type") == "kubernetes.io/tls" {
        for name in ["tls.crt", "tls.key"] {
            if object.pointer(&format!("/data/{name}")).is_none() {
                causes.push(cause::required(format!("data[{name}]"), ""));
            }
        }
    }
    causes
}

/// Keys become file names.
fn keys(object: &Value, fields: &[&str]) -> Vec<Cause> {
    let mut causes = Vec::new();
    for &field in fields {
        for key in object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|m| m.keys())
        {
            causes.extend(names::config_key(key).iter().map(|fault| {
                cause::invalid(format!("{field}[{key}]"), &key.as_str().into(), fault)
            }));
        }
    }
    causes
}

/// With `immutable: true` neither that nor the contents may change any more.
fn immutable(object: &Value, old: Option<&Value>, fields: &[&str]) -> Vec<Cause> {
    let Some(old) = old.filter(|old| is_true(old, "/immutable")) else {
        return Vec::new();
    };
    let mut causes = Vec::new();
    if !is_true(object, "/immutable") {
        causes.push(cause::forbidden(
            "immutable",
            "field is immutable when `immutable` is set",
        ));
    }
    for &field in fields {
        let (new, old) = (object.get(field), old.get(field));
        if new.unwrap_or(&json!({})) != old.unwrap_or(&json!({})) {
            causes.push(cause::forbidden(
                field,
                "field is immutable when `immutable` is set",
            ));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_is_encoded() {
        let mut secret =
            json!({"data": {"a": "AA=="}, "stringData": {"a": "hello", "b": "hi", "c": ""}});
        secret_default(&mut secret);
        assert_eq!(
            secret,
            json!({"type": "Opaque", "data": {"a": "aGVsbG8=", "b": "aGk=", "c": ""}})
        );
    }

    #[test]
    fn immutable_contents_stay() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        let new = json!({"data": {"a": "2"}});
        let fields: Vec<_> = immutable(&new, Some(&old), &["data"])
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(fields, ["immutable", "data"]);
        assert_eq!(
            immutable(&new, Some(&json!({"data": {}})), &["data"]),
            Vec::new()
        );
    }

    #[test]
    fn keys_are_file_names() {
        let object = json!({"data": {"..data": "", "a/b": "", "ok.txt": ""}});
        let fields: Vec<_> = keys(&object, &["data"])
            .into_iter()
            .map(|cause| cause.field)
            .collect();
        assert_eq!(fields, ["data[..data]", "data[a/b]"]);
    }
}
