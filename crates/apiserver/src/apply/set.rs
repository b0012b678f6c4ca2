//! Sets of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Element;

/// A set of paths, as a tree of their elements.
///
/// No branch is without a member: what is empty is cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the path to here is in the set. The empty path never is.
    pub(super) member: bool,
    pub(super) children: BTreeMap<Element, FieldSet>,
}

/// A document that is no set of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of fields in the format FieldsV1")]
pub struct MalformedFields;

impl FieldSet {
    /// Reads `fieldsV1`.
    ///
    /// # Errors
    /// [`MalformedFields`] for anything but objects with path elements as keys.
    pub fn parse(fields: &Value) -> Result<Self, MalformedFields> {
        let mut set = Self::node(fields)?;
        set.member = false;
        Ok(set)
    }

    fn node(fields: &Value) -> Result<Self, MalformedFields> {
        let mut set = Self::default();
        for (name, value) in fields.as_object().ok_or(MalformedFields)? {
            if name == "." {
                set.member = true;
            } else {
                let element = Element::parse(name).ok_or(MalformedFields)?;
                // Two spellings of a key are one element.
                set.child(element).unite(Self::node(value)?);
            }
        }
        set.member |= set.children.is_empty();
        Ok(set)
    }

    /// Writes `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            fields.insert(element.wire(), child.to_value());
        }
        Value::Object(fields)
    }

    /// The set of paths that have nothing but names in them.
    pub fn of_names(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path.iter().map(|&name| Element::Field(name.to_owned())));
        }
        set
    }

    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether a path is in the set.
    pub fn has(&self, path: &[Element]) -> bool {
        let mut node = self;
        for element in path {
            let Some(child) = node.children.get(element) else {
                return false;
            };
            node = child;
        }
        node.member
    }

    /// Every path, as in messages: `.spec.containers[name="web"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (element, child) in &self.children {
            let mark = path.len();
            path.push_str(&element.to_string());
            child.collect(path, paths);
            path.truncate(mark);
        }
    }

    /// Adds a path.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let mut node = self;
        for element in path {
            node = node.child(element);
        }
        node.member = true;
    }

    /// Adds every path of another set.
    pub fn unite(&mut self, other: Self) {
        self.member |= other.member;
        for (element, theirs) in other.children {
            self.child(element).unite(theirs);
        }
    }

    /// Takes away every path of another set.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        self.children.retain(|element, ours| {
            if let Some(theirs) = other.children.get(element) {
                ours.subtract(theirs);
            }
            !ours.is_empty()
        });
    }

    /// Takes away every path of another set, and all that is below them.
    pub fn cut(&mut self, other: &Self) {
        self.children.retain(|element, ours| {
            match other.children.get(element) {
                Some(theirs) if theirs.member => return false,
                Some(theirs) => ours.cut(theirs),
                None => {}
            }
            !ours.is_empty()
        });
    }

    /// Keeps only what is in another set too.
    pub fn intersect(&mut self, other: &Self) {
        self.member &= other.member;
        self.children.retain(|element, ours| {
            let Some(theirs) = other.children.get(element) else {
                return false;
            };
            ours.intersect(theirs);
            !ours.is_empty()
        });
    }

    /// The set below an element; the caller puts something into it.
    pub(super) fn child(&mut self, element: Element) -> &mut Self {
        self.children.entry(element).or_default()
    }

    /// Adds a set below an element, unless it is empty.
    pub(super) fn graft(&mut self, element: &Element, below: Self) {
        if !below.is_empty() {
            self.child(element.clone()).unite(below);
        }
    }
}
