//! One step of a path into an object.

use std::fmt;

use serde_json::{Map, Value};

/// What leads from a value to one of its parts.
///
/// Keys and values are kept as compact JSON text with sorted fields, so that equal ones are equal
/// text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of an object, or a key of a map.
    Field(String),
    /// The element of a list that has these keys, such as `{"name":"web"}`.
    Key(String),
    /// The element of a list that is this value.
    Value(String),
    /// A position in a list.
    Index(u64),
}

impl Element {
    /// The element of a list with these keys.
    pub fn key(keys: Map<String, Value>) -> Self {
        Self::Key(Value::Object(keys).to_string())
    }

    /// The element of a list that is this value.
    pub fn value(value: &Value) -> Self {
        Self::Value(value.to_string())
    }

    /// Reads the form of `fieldsV1`, such as `f:spec` or `k:{"name":"web"}`.
    pub fn parse(text: &str) -> Option<Self> {
        let (form, rest) = text.split_once(':')?;
        let json = || serde_json::from_str::<Value>(rest).ok();
        Some(match form {
            "f" => Self::Field(rest.to_owned()),
            "k" => match json()? {
                Value::Object(keys) if !keys.is_empty() => Self::key(keys),
                _ => return None,
            },
            "v" => Self::value(&json()?),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    /// The form of `fieldsV1`.
    pub fn wire(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As in messages: `.spec`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<_> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}
