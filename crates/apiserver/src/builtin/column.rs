//! Columns of built-in kinds, as constants.

use serde_json::Value;

use super::access::text;
use crate::kind::{Cell, Column};
use crate::table::age;

/// A column of a built-in kind.
pub(super) struct Col {
    name: &'static str,
    type_: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
    cell: fn(&Value) -> Value,
}

impl Col {
    /// A column of text.
    pub(super) const fn new(
        name: &'static str,
        description: &'static str,
        cell: fn(&Value) -> Value,
    ) -> Self {
        Self {
            name,
            type_: "string",
            format: "",
            description,
            priority: 0,
            cell,
        }
    }

    /// The same, only in the wide view.
    pub(super) const fn wide(self) -> Self {
        Self {
            priority: 1,
            ..self
        }
    }

    /// The same with numbers or flags as cells.
    pub(super) const fn of(self, type_: &'static str) -> Self {
        Self { type_, ..self }
    }

    /// The same with a format: `name` makes clients print it as the object's name.
    pub(super) const fn format(self, format: &'static str) -> Self {
        Self { format, ..self }
    }

    pub(super) fn column(&self) -> Column {
        Column {
            name: self.name.to_owned(),
            type_: self.type_.to_owned(),
            format: self.format.to_owned(),
            description: self.description.to_owned(),
            priority: self.priority,
            cell: Cell::Compute(self.cell),
        }
    }
}

/// Time since the object was created.
pub(super) const AGE: Col = Col::new("Age", "Time since the object was created.", |object| {
    age::since(text(object, "/metadata/creationTimestamp")).into()
});

/// For kinds without columns of their own.
pub(super) const AGE_ONLY: &[Col] = &[AGE];
