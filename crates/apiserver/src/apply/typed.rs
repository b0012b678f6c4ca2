//! Which fields a value has, and which differ between two.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::Layout;
use super::{Element, FieldSet, Shape};

/// The fields that a value sets: its leaves, the elements of its lists and the keys of its maps,
/// but not the objects around them.
pub fn fields(shape: Shape<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (shape.layout(value), value) {
        (Layout::Fields, Value::Object(map)) => {
            for (name, value) in map {
                let mut below = fields(shape.descend(name), value);
                let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                below.member |= is_empty || !shape.is_named(name);
                set.graft(&Element::Field(name.clone()), below);
            }
        }
        (layout @ (Layout::Keyed(_) | Layout::Set), Value::Array(items)) if !items.is_empty() => {
            for item in items {
                let mut below = fields(shape.items(), item);
                below.member = true;
                set.graft(&shape.element(layout, item), below);
            }
        }
        _ => set.member = true,
    }
    set
}

/// Everything that is in a value, and the value.
pub(super) fn everything(shape: Shape<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet {
        member: true,
        ..FieldSet::default()
    };
    match (shape.layout(value), value) {
        (Layout::Fields, Value::Object(map)) => {
            for (name, value) in map {
                let below = everything(shape.descend(name), value);
                set.graft(&Element::Field(name.clone()), below);
            }
        }
        (layout @ (Layout::Keyed(_) | Layout::Set), Value::Array(items)) => {
            for item in items {
                let below = everything(shape.items(), item);
                set.graft(&shape.element(layout, item), below);
            }
        }
        _ => {}
    }
    set
}

/// How one state differs from another. A field that is there in both is changed only if it is a
/// leaf.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// What is new, or has another value.
    pub(super) set: FieldSet,
    /// What is gone.
    pub(super) removed: FieldSet,
}

impl Changes {
    fn graft(&mut self, element: &Element, below: Self) {
        self.set.graft(element, below.set);
        self.removed.graft(element, below.removed);
    }
}

/// The changes that lead from one state to another.
pub(super) fn compare(shape: Shape<'_>, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    if old == new {
        return changes;
    }
    let layout = shape.layout(new);
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if layout == Layout::Fields => {
            for (name, new) in new {
                let below = between(shape.descend(name), old.get(name), Some(new));
                changes.graft(&Element::Field(name.clone()), below);
            }
            for (name, old) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
                let below = between(shape.descend(name), Some(old), None);
                changes.graft(&Element::Field(name.clone()), below);
            }
        }
        (Value::Array(old), Value::Array(new)) if layout != Layout::Leaf => {
            let (old, new) = (index(shape, layout, old), index(shape, layout, new));
            for (element, new) in &new {
                changes.graft(element, elements(shape, old.get(element), Some(new)));
            }
            for (element, old) in old
                .iter()
                .filter(|(element, _)| !new.contains_key(*element))
            {
                changes.graft(element, elements(shape, Some(old), None));
            }
        }
        _ => {
            changes.set = everything(shape, new);
            changes.removed = everything(shape, old);
            changes.removed.subtract(&changes.set);
        }
    }
    changes
}

fn between(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>) -> Changes {
    match (old, new) {
        (Some(old), Some(new)) => compare(shape, old, new),
        (None, Some(new)) => Changes {
            set: everything(shape, new),
            ..Changes::default()
        },
        (Some(old), None) => Changes {
            removed: everything(shape, old),
            ..Changes::default()
        },
        (None, None) => Changes::default(),
    }
}

/// The elements of a list by what tells them apart; stored ones need not be unique.
fn index<'v>(
    shape: Shape<'_>,
    layout: Layout<'_>,
    items: &'v [Value],
) -> BTreeMap<Element, Vec<&'v Value>> {
    let mut index: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        let element = shape.element(layout, item);
        index.entry(element).or_default().push(item);
    }
    index
}

/// Elements that are not unique are compared as a whole.
fn elements(shape: Shape<'_>, old: Option<&Vec<&Value>>, new: Option<&Vec<&Value>>) -> Changes {
    let first =
        |list: Option<&Vec<&'_ Value>>| list.and_then(|list| list.first().copied()).cloned();
    let unique = |list: Option<&Vec<&Value>>| list.is_none_or(|list| list.len() == 1);
    if (unique(old) && unique(new)) || old.is_none() || new.is_none() {
        return between(shape.items(), first(old).as_ref(), first(new).as_ref());
    }
    let mut changes = Changes::default();
    changes.set.member = old != new;
    changes
}

/// Adds the fields of objects that lie on the way to members, but not entries of maps or lists.
pub(super) fn with_parents(shape: Shape<'_>, mut set: FieldSet) -> FieldSet {
    set.children = set
        .children
        .into_iter()
        .map(|(element, below)| {
            let mut below = with_parents(shape.at(&element), below);
            if let Element::Field(name) = &element {
                below.member |= shape.is_named(name);
            }
            (element, below)
        })
        .collect();
    set
}

/// Fits a set to a schema under which some value has become atomic: who owned a part of it owns
/// it whole.
pub(super) fn reconcile(shape: Shape<'_>, set: &mut FieldSet) {
    if shape.is_atomic() && !set.children.is_empty() {
        set.children.clear();
        set.member = true;
        return;
    }
    for (element, below) in &mut set.children {
        reconcile(shape.at(element), below);
    }
}
