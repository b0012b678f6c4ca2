//! What of a schema decides how fine a value is owned.

use serde_json::{Map, Value};

use super::Element;
use crate::kind::Kind;
use crate::schema::{Definitions, ListType, Schema, meta};

/// How a value is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout<'a> {
    /// Not at all: it is set as a whole.
    Leaf,
    /// Field by field.
    Fields,
    /// Element by element, told apart by these keys.
    Keyed(&'a [String]),
    /// Element by element, told apart by their values.
    Set,
}

/// A place in a schema.
///
/// Where no schema is known, objects are owned field by field and lists as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The node as it stands there, which may be a reference with facts beside it.
    field: Option<&'a Schema>,
    /// What it refers to.
    node: Option<&'a Schema>,
    definitions: &'a Definitions,
    /// Whether there are `apiVersion`, `kind` and `metadata`, whatever the schema says.
    resource: bool,
}

impl<'a> Shape<'a> {
    /// The objects of a kind.
    pub fn of(kind: &'a Kind) -> Self {
        Self {
            resource: true,
            ..Self::new(&kind.schema, &kind.definitions)
        }
    }

    fn new(schema: &'a Schema, definitions: &'a Definitions) -> Self {
        let node = schema.resolve(definitions);
        Self {
            field: Some(schema),
            node: Some(node),
            definitions,
            resource: node.embedded_resource,
        }
    }

    /// A place that no schema describes.
    fn unknown(self) -> Self {
        Self {
            field: None,
            node: None,
            resource: false,
            ..self
        }
    }

    /// A field of an object here, or nothing if the schema does not allow it.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        if self.resource {
            match name {
                "metadata" => {
                    let (schema, definitions) = meta::object_meta();
                    return Some(Self::new(schema, definitions));
                }
                "apiVersion" | "kind" => return Some(self.unknown()),
                _ => {}
            }
        }
        let Some(node) = self.node else {
            return Some(self);
        };
        match node.field(name) {
            Some(schema) => Some(Self::new(schema, self.definitions)),
            None if node.preserve_unknown || node.type_.is_none() => Some(self.unknown()),
            None => None,
        }
    }

    /// A field of an object here, described as well as it can be.
    pub(super) fn descend(self, name: &str) -> Self {
        self.field(name).unwrap_or(self.unknown())
    }

    /// Whether a field has its name from the schema, rather than being an entry of a map.
    pub(super) fn is_named(self, name: &str) -> bool {
        let envelope = self.resource && matches!(name, "apiVersion" | "kind" | "metadata");
        envelope
            || self
                .node
                .is_some_and(|node| node.properties.contains_key(name))
    }

    /// The elements of a list here.
    pub(super) fn items(self) -> Self {
        match self.node.and_then(|node| node.items.as_deref()) {
            Some(schema) => Self::new(schema, self.definitions),
            None => self.unknown(),
        }
    }

    /// Where a path element leads to.
    pub(super) fn at(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.descend(name),
            _ => self.items(),
        }
    }

    /// How a value here is taken apart.
    pub(super) fn layout(self, value: &Value) -> Layout<'a> {
        match value {
            Value::Object(_) if !self.is_atomic_map() => Layout::Fields,
            Value::Array(_) => match self.node.and_then(|node| Some((node, node.list_type?))) {
                Some((node, ListType::Map)) => Layout::Keyed(&node.list_map_keys),
                Some((_, ListType::Set)) => Layout::Set,
                Some((_, ListType::Atomic)) | None => Layout::Leaf,
            },
            _ => Layout::Leaf,
        }
    }

    fn is_atomic_map(self) -> bool {
        let atomic = |schema: Option<&Schema>| schema.and_then(|schema| schema.atomic_map);
        atomic(self.field).or(atomic(self.node)).unwrap_or(false)
    }

    /// Whether everything below is set as a whole.
    pub(super) fn is_atomic(self) -> bool {
        let list = self.node.is_some_and(|node| {
            node.items.is_some() && !matches!(node.list_type, Some(ListType::Map | ListType::Set))
        });
        list || self.is_atomic_map()
    }

    /// The keys of an element of a list here; the first one that is missing is the error. A key
    /// may have a default.
    pub(super) fn keys<'k>(
        self,
        keys: &'k [String],
        item: &Value,
    ) -> Result<Map<String, Value>, &'k str> {
        let node = self.items().node;
        let default = |key: &str| node?.properties.get(key)?.default.clone();
        keys.iter()
            .map(|key| {
                let value = item.get(key).filter(|value| !value.is_null()).cloned();
                let value = value.or_else(|| default(key)).ok_or(key.as_str())?;
                Ok((key.clone(), value))
            })
            .collect()
    }

    /// The path element of an element of a list here. One without its keys is told by its value.
    pub(super) fn element(self, layout: Layout<'_>, item: &Value) -> Element {
        match layout {
            Layout::Keyed(keys) => match self.keys(keys, item) {
                Ok(keys) => Element::key(keys),
                Err(_) => Element::value(item),
            },
            _ => Element::value(item),
        }
    }
}
