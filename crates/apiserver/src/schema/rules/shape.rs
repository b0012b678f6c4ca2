//! What a rule can know of a value before there is one: its type, and how large it can get.

use std::fmt;

use crate::schema::{Schema, Type};

use super::value::escape;

/// Largest request that the server reads, which bounds every value in it.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// Type and greatest size of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape<'a> {
    pub(super) kind: Kind<'a>,
    /// Most bytes of a string, or entries of a list or map; 1 for everything else.
    pub(super) size: u64,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind<'a> {
    /// Known at run time only.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Type,
    List(Box<Shape<'a>>),
    Map(Box<Shape<'a>>, Box<Shape<'a>>),
    /// An object with known fields; the flag says that it has an `apiVersion` and so on as well.
    Object(&'a Schema, bool),
    /// `metadata`, of which a rule sees two fields.
    Metadata,
    /// A value of a library, such as a quantity.
    Opaque(&'static str),
    Optional(Box<Shape<'a>>),
}

impl<'a> Shape<'a> {
    /// A value whose size does not matter.
    pub(super) fn of(kind: Kind<'a>) -> Self {
        Self { kind, size: 1 }
    }

    /// A string of at most `size` bytes.
    pub(super) fn string(size: u64) -> Self {
        let kind = Kind::String;
        Self { kind, size }
    }

    /// A list of at most `size` elements.
    pub(super) fn list(item: Self, size: u64) -> Self {
        let kind = Kind::List(Box::new(item));
        Self { kind, size }
    }

    /// The values that a schema describes; none where rules cannot see them.
    pub(super) fn of_schema(schema: &'a Schema, resource: bool) -> Option<Self> {
        if schema.int_or_string {
            let (kind, size) = (Kind::Dyn, MAX_REQUEST - 2);
            return Some(Self { kind, size });
        }
        let bounds = schema.bounds.as_deref();
        Some(match schema.type_? {
            Type::Boolean => Self::of(Kind::Bool),
            Type::Integer => Self::of(Kind::Int),
            Type::Number => Self::of(Kind::Double),
            Type::String => string(schema),
            Type::Array => {
                let items = schema.items.as_deref()?;
                let size = bounds.and_then(|bounds| bounds.max_items);
                let most = (MAX_REQUEST - 2) / (least_bytes(items) + 1);
                Self::list(Self::of_schema(items, false)?, size.unwrap_or(most))
            }
            Type::Object => match schema.additional_properties.as_deref() {
                Some(values) => {
                    let size = bounds.and_then(|bounds| bounds.max_properties);
                    let most = (MAX_REQUEST - 2) / (least_bytes(values) + 6);
                    let key = Box::new(Self::string(MAX_REQUEST - 2));
                    let value = Box::new(Self::of_schema(values, false)?);
                    let kind = Kind::Map(key, value);
                    let size = size.unwrap_or(most);
                    Self { kind, size }
                }
                None => Self::of(Kind::Object(schema, resource || schema.embedded_resource)),
            },
        })
    }

    /// The shape of a field, by the name that it has in a rule.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match &self.kind {
            Kind::Dyn => Some(self.clone()),
            Kind::Map(_, value) => Some((**value).clone()),
            Kind::Optional(inner) => Some(Self::of(Kind::Optional(Box::new(inner.field(name)?)))),
            Kind::Metadata => matches!(name, "name" | "generateName").then(|| Self::string(253)),
            Kind::Object(_, true) if matches!(name, "apiVersion" | "kind") => {
                Some(Self::string(317))
            }
            Kind::Object(_, true) if name == "metadata" => Some(Self::of(Kind::Metadata)),
            Kind::Object(schema, _) => {
                let mut fields = schema.properties.iter();
                let (_, field) =
                    fields.find(|(field, _)| escape(field).is_some_and(|f| f == name))?;
                Self::of_schema(field, false)
            }
            _ => None,
        }
    }

    /// What a loop over the value goes through: elements of a list, keys of a map.
    pub(super) fn element(&self) -> Option<Self> {
        match &self.kind {
            Kind::Dyn => Some(self.clone()),
            Kind::List(item) => Some((**item).clone()),
            Kind::Map(key, _) => Some((**key).clone()),
            _ => None,
        }
    }

    pub(super) fn is_dyn(&self) -> bool {
        self.kind == Kind::Dyn
    }

    /// Whether a value of one shape can stand where the other is wanted.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Dyn, _) | (_, Kind::Dyn) => true,
            (Kind::List(a), Kind::List(b)) | (Kind::Optional(a), Kind::Optional(b)) => a.fits(b),
            (Kind::Map(a, x), Kind::Map(b, y)) => a.fits(b) && x.fits(y),
            // `x == null` asks whether there is anything at all.
            (Kind::Null, other) | (other, Kind::Null) => matches!(
                other,
                Kind::Null
                    | Kind::Timestamp
                    | Kind::Duration
                    | Kind::Object(..)
                    | Kind::Opaque(_)
                    | Kind::Optional(_)
            ),
            (a, b) => a == b,
        }
    }

    /// A shape for values of either shape.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        if !self.fits(&other) {
            return None;
        }
        let size = self.size.max(other.size);
        let kind = match (self.kind, other.kind) {
            (Kind::List(a), Kind::List(b)) => {
                Kind::List(Box::new(if a.is_dyn() { *b } else { *a }))
            }
            (Kind::Dyn | Kind::Null, kind) | (kind, _) => kind,
        };
        Some(Self { kind, size })
    }
}

fn string(schema: &Schema) -> Shape<'_> {
    let most = schema.bounds.as_deref().and_then(|b| b.max_length);
    let format = schema.format.as_deref().unwrap_or_default();
    let kind = match format {
        "byte" => Kind::Bytes,
        "date" | "date-time" | "datetime" => return Shape::of(Kind::Timestamp),
        "duration" => return Shape::of(Kind::Duration),
        _ => Kind::String,
    };
    let size = match most {
        Some(most) if kind == Kind::Bytes => most,
        // A character can take four bytes.
        Some(most) => most.saturating_mul(4),
        None if !schema.enumeration.is_empty() => {
            let lengths = schema
                .enumeration
                .iter()
                .map(|v| v.to_string().len() as u64);
            lengths.max().unwrap_or_default()
        }
        None => MAX_REQUEST - 2,
    };
    Shape { kind, size }
}

/// The fewest bytes that a value takes in a request.
fn least_bytes(schema: &Schema) -> u64 {
    if schema.int_or_string {
        return 1;
    }
    match schema.type_ {
        Some(Type::Boolean) => 4,
        Some(Type::String | Type::Array) => 2,
        Some(Type::Object) => {
            let required = schema.required.iter().filter_map(|name| {
                let field = schema.properties.get(name)?;
                // Quotes, colon, and a comma or brace.
                Some(name.len() as u64 + 4 + least_bytes(field))
            });
            2 + required.sum::<u64>()
        }
        Some(Type::Integer | Type::Number) | None => 1,
    }
}

/// How often a node can occur in one object, below a node that can occur `count` times.
pub(super) fn cardinality(schema: &Schema, count: u64) -> u64 {
    let most = Shape::of_schema(schema, false).map_or_else(
        // What rules cannot see can still contain what they can.
        || (MAX_REQUEST - 2) / 3,
        |shape| shape.size,
    );
    count.saturating_mul(most)
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Dyn => "dyn",
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Double => "double",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Timestamp => "timestamp",
            Kind::Duration => "duration",
            Kind::Type => "type",
            Kind::List(item) => return write!(f, "list({item})"),
            Kind::Map(key, value) => return write!(f, "map({key}, {value})"),
            Kind::Object(..) | Kind::Metadata => "object",
            Kind::Opaque(name) => name,
            Kind::Optional(inner) => return write!(f, "optional_type({inner})"),
        })
    }
}
