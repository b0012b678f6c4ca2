//! The path of a value while a tree is walked: `spec.ports[0].name`.

use std::fmt::Write as _;

/// A path that grows and shrinks with the walk, so that valid objects cost no allocation per node.
#[derive(Debug, Default)]
pub(super) struct Path(String);

impl Path {
    /// Descends to the field `name`; returns what [`Path::leave`] needs.
    pub(super) fn enter(&mut self, name: &str) -> usize {
        let mark = self.0.len();
        if mark > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        mark
    }

    /// Descends to the element `index`; returns what [`Path::leave`] needs.
    pub(super) fn enter_index(&mut self, index: usize) -> usize {
        let mark = self.0.len();
        // Writing to a `String` cannot fail.
        let _ = write!(self.0, "[{index}]");
        mark
    }

    /// Descends to the value of the key `key` of a map, as rules name it; returns what
    /// [`Path::leave`] needs.
    pub(super) fn enter_key(&mut self, key: &str) -> usize {
        let mark = self.0.len();
        let _ = write!(self.0, "[{key}]");
        mark
    }

    /// Goes back to where the path was before the matching `enter`.
    pub(super) fn leave(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    /// The path as text; empty at the root.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the field `name` below this one.
    pub(super) fn child(&self, name: &str) -> String {
        if self.0.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.0)
        }
    }
}
