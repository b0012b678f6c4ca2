//! Combining values: a configuration laid over the live state, and fields taken out of a state.

use serde_json::{Map, Value};

use super::shape::Layout;
use super::{Element, FieldSet, Shape};

/// The live state with a configuration laid over it.
pub(super) fn merge(shape: Shape<'_>, live: Option<&Value>, applied: &Value) -> Value {
    match (shape.layout(applied), applied) {
        (Layout::Fields, Value::Object(applied)) => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in applied {
                let value = merge(shape.descend(name), merged.get(name), value);
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (layout @ (Layout::Keyed(_) | Layout::Set), Value::Array(applied)) => {
            let live = live.and_then(Value::as_array);
            merge_lists(shape, layout, live.map_or(&[], Vec::as_slice), applied)
        }
        _ => applied.clone(),
    }
}

/// The applied elements come in their order. What only the live list has stays behind what it was
/// behind.
fn merge_lists(shape: Shape<'_>, layout: Layout<'_>, live: &[Value], applied: &[Value]) -> Value {
    let named = |items: &[Value]| -> Vec<Element> {
        items
            .iter()
            .map(|item| shape.element(layout, item))
            .collect()
    };
    let (live_names, applied_names) = (named(live), named(applied));
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let mut next = 0;
    let mut take_until = |end: usize, merged: &mut Vec<Value>| {
        while next < end {
            let position = live_names
                .iter()
                .position(|name| *name == applied_names[next]);
            let live = position.map(|position| &live[position]);
            merged.push(merge(shape.items(), live, &applied[next]));
            next += 1;
        }
    };
    for (item, name) in live.iter().zip(&live_names) {
        match applied_names.iter().position(|applied| applied == name) {
            // Of several live elements of one name, the first stands for all.
            Some(position) => take_until(position + 1, &mut merged),
            None => merged.push(item.clone()),
        }
    }
    take_until(applied.len(), &mut merged);
    Value::Array(merged)
}

/// Takes fields out of a value, with what is below them. Objects and lists that become empty by
/// it go too; returns whether the value itself did.
pub(super) fn remove(shape: Shape<'_>, value: &mut Value, gone: &FieldSet) -> bool {
    match (shape.layout(value), value) {
        (Layout::Fields, Value::Object(map)) => remove_fields(shape, map, gone),
        (layout @ (Layout::Keyed(_) | Layout::Set), Value::Array(items)) => {
            let before = items.len();
            items.retain_mut(
                |item| match gone.children.get(&shape.element(layout, item)) {
                    None => true,
                    Some(below) if below.member => false,
                    Some(below) => {
                        remove_below(shape.items(), layout, item, below);
                        true
                    }
                },
            );
            items.is_empty() && before > 0
        }
        _ => false,
    }
}

fn remove_fields(shape: Shape<'_>, map: &mut Map<String, Value>, gone: &FieldSet) -> bool {
    let before = map.len();
    for (element, below) in &gone.children {
        let Element::Field(name) = element else {
            continue;
        };
        let goes = below.member
            || map
                .get_mut(name)
                .is_some_and(|value| remove(shape.descend(name), value, below));
        if goes {
            map.remove(name);
        }
    }
    map.is_empty() && before > 0
}

/// An element that stays keeps the keys that tell it apart.
fn remove_below(shape: Shape<'_>, layout: Layout<'_>, item: &mut Value, gone: &FieldSet) {
    let mut gone = gone.clone();
    if let Layout::Keyed(keys) = layout {
        gone.children
            .retain(|element, _| !matches!(element, Element::Field(name) if keys.contains(name)));
    }
    remove(shape, item, &gone);
}
