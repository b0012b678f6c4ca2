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
/// it go too, unless they are to be `kept`; returns whether the value itself did.
pub(super) fn remove(
    shape: Shape<'_>,
    value: &mut Value,
    gone: &FieldSet,
    kept: Option<&FieldSet>,
) -> bool {
    let emptied = match (shape.layout(value), value) {
        (Layout::Fields, Value::Object(map)) => remove_fields(shape, map, gone, kept),
        (layout @ (Layout::Keyed(_) | Layout::Set), Value::Array(items)) => {
            remove_items(shape, layout, items, gone, kept)
        }
        _ => false,
    };
    emptied && kept.is_none_or(|kept| !kept.member)
}

fn remove_fields(
    shape: Shape<'_>,
    map: &mut Map<String, Value>,
    gone: &FieldSet,
    kept: Option<&FieldSet>,
) -> bool {
    let before = map.len();
    for (element, below) in &gone.children {
        let Element::Field(name) = element else {
            continue;
        };
        let kept = kept.and_then(|kept| kept.children.get(element));
        let goes = below.member
            || map
                .get_mut(name)
                .is_some_and(|value| remove(shape.descend(name), value, below, kept));
        if goes {
            map.remove(name);
        }
    }
    map.is_empty() && before > 0
}

fn remove_items(
    shape: Shape<'_>,
    layout: Layout<'_>,
    items: &mut Vec<Value>,
    gone: &FieldSet,
    kept: Option<&FieldSet>,
) -> bool {
    let before = items.len();
    items.retain_mut(|item| {
        let element = shape.element(layout, item);
        let Some(below) = gone.children.get(&element) else {
            return true;
        };
        if !below.member {
            // An element that stays keeps the keys that tell it apart.
            let mut below = below.clone();
            if let Layout::Keyed(keys) = layout {
                let is_key = |element: &Element| matches!(element, Element::Field(name) if keys.contains(name));
                below.children.retain(|element, _| !is_key(element));
            }
            let kept = kept.and_then(|kept| kept.children.get(&element));
            remove(shape.items(), item, &below, kept);
        }
        !below.member
    });
    items.is_empty() && before > 0
}
