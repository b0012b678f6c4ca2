//! Structural schemas: what an object of a kind must look like.
//!
//! The dialect is that of a CRD's `openAPIV3Schema` (OpenAPI 3.0 with the `x-kubernetes-*`
//! extensions), plus references by name, which only the built-in kinds use.
//!
//! A write passes through these steps, in this order:
//!
//! 1. [`decode`]: what a typed decoder refuses with 400, and the canonical form of quantities;
//! 2. [`prune`]: unknown fields go away, and are named;
//! 3. [`apply_defaults`];
//! 4. [`validate`]: every remaining fault, and the [rules](Rule) of a definition, as the causes of one
//!    422 answer.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kind::Kind;
use crate::status::Cause;

#[cfg(test)]
mod agreement;
pub(crate) mod cause;
mod correlate;
mod decode;
mod defaults;
mod definition;
mod formats;
pub mod meta;
mod path;
mod pattern;
mod prune;
pub mod quantity;
mod read;
pub(crate) mod rules;
mod structural;
mod validate;

pub use decode::decode;
pub(crate) use decode::go_value;
pub use defaults::apply_defaults;
pub(crate) use definition::faults;
pub use pattern::Pattern;
pub use prune::prune;
use prune::prune_part;
pub(crate) use read::read;
pub use rules::Rule;
pub use validate::validate;

/// Named schemas, such as `io.k8s.api.core.v1.PodSpec`.
pub type Definitions = BTreeMap<String, Schema>;

/// One node of a schema.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of the dialect"
)]
pub struct Schema {
    /// Name of a definition that stands here instead; only `description`, `default` and the merge
    /// facts may stand beside it.
    pub reference: Option<String>,
    /// For people; `kubectl explain` shows it.
    pub description: Option<String>,
    /// JSON type; none means anything.
    pub type_: Option<Type>,
    /// OpenAPI format, such as `int32`, `date-time` or `byte`.
    pub format: Option<String>,
    /// Known fields of an object.
    pub properties: BTreeMap<String, Schema>,
    /// Fields that must be present.
    pub required: Vec<String>,
    /// Schema of the values of a map.
    pub additional_properties: Option<Box<Schema>>,
    /// Schema of an array's elements.
    pub items: Option<Box<Schema>>,
    /// The only values allowed; empty for no limit.
    pub enumeration: Vec<Value>,
    /// Value to use where the field is missing.
    pub default: Option<Value>,
    /// Whether null is kept rather than dropped.
    pub nullable: bool,
    /// Regular expression that a string must contain a match of.
    pub pattern: Option<Pattern>,
    /// Numeric and length limits.
    pub bounds: Option<Box<Bounds>>,
    /// `allOf`, `anyOf`, `oneOf` and `not`.
    pub logic: Option<Box<Logic>>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded_resource: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: Option<ListType>,
    /// `x-kubernetes-list-map-keys`.
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type`: whether the object is replaced as a whole. Beside a reference it
    /// overrules what the definition says.
    pub atomic_map: Option<bool>,
    /// How a strategic merge patch treats the field, where that is not plain replacement.
    pub merge: Option<Merge>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    /// Whether there are rules here or anywhere below.
    pub has_rules: bool,
}

/// JSON type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A map with string keys.
    Object,
    /// A list.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Type {
    /// The name in a schema document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }
}

/// How the elements of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// They are not: the list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By the values of [`Schema::list_map_keys`].
    Map,
}

impl ListType {
    /// The name in a schema document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Set => "set",
            Self::Map => "map",
        }
    }
}

/// Strategic merge of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The key by which elements are matched (`x-kubernetes-patch-merge-key`); none for a list of
    /// plain values.
    pub key: Option<&'static str>,
    /// Whether the elements are unions, of which a patch names the members to keep.
    pub retain_keys: bool,
}

/// Numeric and length limits of a [`Schema`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// Smallest number.
    pub minimum: Option<f64>,
    /// Largest number.
    pub maximum: Option<f64>,
    /// Whether `minimum` itself is too small.
    pub exclusive_minimum: bool,
    /// Whether `maximum` itself is too large.
    pub exclusive_maximum: bool,
    /// What a number must be a multiple of.
    pub multiple_of: Option<f64>,
    /// Shortest string, in characters.
    pub min_length: Option<u64>,
    /// Longest string, in characters.
    pub max_length: Option<u64>,
    /// Fewest elements of an array.
    pub min_items: Option<u64>,
    /// Most elements of an array.
    pub max_items: Option<u64>,
    /// Fewest fields of an object.
    pub min_properties: Option<u64>,
    /// Most fields of an object.
    pub max_properties: Option<u64>,
}

/// Schemas that a value must match besides the one that they stand in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logic {
    /// Every one of them.
    pub all_of: Vec<Schema>,
    /// At least one of them, where there are any.
    pub any_of: Vec<Schema>,
    /// Exactly one of them, where there are any.
    pub one_of: Vec<Schema>,
    /// Not this one.
    pub not: Option<Schema>,
}

/// A document that is no structural schema.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the schema is not structural: {}", first(.causes))]
pub struct SchemaError {
    /// Every fault; the paths start at `openAPIV3Schema`.
    pub causes: Vec<Cause>,
}

fn first(causes: &[Cause]) -> String {
    causes
        .first()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .unwrap_or_default()
}

/// Faults that keep rules from running: what they would look at is not what they expect.
const BLOCKING: [&str; 4] = [
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

/// Every fault of an object under its kind's schema and rules, or of its change from `old`.
pub(crate) fn check(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let old_of_custom = old.filter(|_| !kind.is_builtin());
    let mut causes = validate(&kind.schema, &kind.definitions, object, old_of_custom);
    if !kind.schema.has_rules {
        return causes;
    }
    if causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
        let detail = "some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation";
        causes.push(cause::invalid("<nil>", &Value::Null, detail));
    } else {
        causes.extend(rules::violations(&kind.schema, object, old));
    }
    causes
}

impl Schema {
    /// Reads a CRD's `openAPIV3Schema`.
    ///
    /// # Errors
    /// [`SchemaError`] with every place where the document is not structural.
    pub fn from_openapi(document: &Value) -> Result<Self, SchemaError> {
        let causes = structural::check(document);
        if causes.is_empty() {
            Ok(read(document.clone()))
        } else {
            Err(SchemaError { causes })
        }
    }

    /// The definition that this node refers to, or the node itself.
    pub fn resolve<'a>(&'a self, definitions: &'a Definitions) -> &'a Self {
        match &self.reference {
            Some(name) => definitions
                .get(name)
                .map_or(self, |found| found.resolve(definitions)),
            None => self,
        }
    }

    /// The schema of the field `name`: a known field, or a value of the map.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties
            .get(name)
            .or(self.additional_properties.as_deref())
    }
}
