//! Whether a configuration can be applied at all.

use std::collections::BTreeSet;

use serde_json::Value;

use super::shape::Layout;
use super::{Element, Shape};

/// Every fault of a configuration, in the words of the reference: unknown fields, and elements of
/// lists that cannot be told apart.
pub fn check(shape: Shape<'_>, config: &Value) -> Vec<String> {
    let mut checker = Checker {
        path: String::new(),
        faults: Vec::new(),
    };
    checker.value(shape, config);
    checker.faults
}

struct Checker {
    path: String,
    faults: Vec<String>,
}

impl Checker {
    fn value(&mut self, shape: Shape<'_>, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let element = Element::Field(name.clone());
                    match shape.field(name) {
                        Some(shape) => self.below(&element, shape, value),
                        None => self.faults.push(format!(
                            "{}{element}: field not declared in schema",
                            self.path
                        )),
                    }
                }
            }
            Value::Array(items) => self.list(shape, shape.layout(value), items),
            _ => {}
        }
    }

    fn below(&mut self, element: &Element, shape: Shape<'_>, value: &Value) {
        let mark = self.path.len();
        self.path.push_str(&element.to_string());
        self.value(shape, value);
        self.path.truncate(mark);
    }

    fn list(&mut self, shape: Shape<'_>, layout: Layout<'_>, items: &[Value]) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let element = match layout {
                Layout::Keyed(keys) => match shape.keys(keys, item) {
                    _ if !item.is_object() => {
                        let fault = "associative list with keys may not have non-map elements";
                        self.fault(&format!("element {index}: {fault}"));
                        continue;
                    }
                    Ok(keys) => Element::key(keys),
                    Err(missing) => {
                        self.fault(&format!(
                            "element {index}: associative list with keys has an element that \
                             omits key field {missing:?} (and doesn't have default value)"
                        ));
                        continue;
                    }
                },
                Layout::Set => Element::value(item),
                Layout::Leaf | Layout::Fields => {
                    let position = u64::try_from(index).unwrap_or(u64::MAX);
                    self.below(&Element::Index(position), shape.items(), item);
                    continue;
                }
            };
            self.below(&element, shape.items(), item);
            if let Some(twice) = seen.replace(element) {
                self.fault(&format!("duplicate entries for key {twice}"));
            }
        }
    }

    fn fault(&mut self, what: &str) {
        self.faults.push(format!("{}: {what}", self.path));
    }
}
