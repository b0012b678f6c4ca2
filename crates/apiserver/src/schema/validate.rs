//! Checks of values against a schema.

use serde_json::{Map, Value};

use super::correlate::{Old, keys};
use super::path::Path;
use super::{Bounds, Definitions, ListType, Logic, Schema, Type, cause, formats};
use crate::status::Cause;

/// Every fault of a whole object, with the texts of a Kubernetes API server.
///
/// Where the old state is given, what is unchanged since then is not held against the object: a
/// definition may have become stricter in between.
pub fn validate(
    schema: &Schema,
    definitions: &Definitions,
    object: &Value,
    old: Option<&Value>,
) -> Vec<Cause> {
    let mut validator = Validator {
        definitions,
        path: Path::default(),
        causes: Vec::new(),
    };
    let old = old.map(|old| Old::of(object, old));
    validator.value(schema, object, old);
    validator.causes
}

struct Validator<'a> {
    definitions: &'a Definitions,
    path: Path,
    causes: Vec<Cause>,
}

impl Validator<'_> {
    fn value(&mut self, schema: &Schema, value: &Value, old: Option<Old<'_>>) {
        let schema = schema.resolve(self.definitions);
        let unchanged = old.is_some_and(|old| old.unchanged);
        if unchanged || value.is_null() && schema.nullable {
            return;
        }
        self.json_type(schema, value);
        if let Some(logic) = &schema.logic {
            self.logic(logic, value);
        }
        let bounds = schema.bounds.as_deref().unwrap_or(&NO_BOUNDS);
        match value {
            Value::String(text) => self.string(schema, bounds, text),
            Value::Number(number) => self.number(schema, bounds, number),
            Value::Array(items) => self.array(schema, bounds, items, old),
            _ => {}
        }
        self.enumeration(schema, value);
        if let Value::Object(fields) = value {
            self.object(schema, bounds, fields, old);
        }
    }

    fn json_type(&mut self, schema: &Schema, value: &Value) {
        let expected = match (schema.type_, schema.int_or_string) {
            (_, true) if !matches!(value, Value::String(_)) && !is_integer(value) => {
                "integer,string"
            }
            (Some(type_), false) if !has_type(type_, value) => type_.as_str(),
            _ => return,
        };
        self.wrong_type(expected, type_name(value));
    }

    fn wrong_type(&mut self, expected: &str, actual: &str) {
        let path = self.path.as_str();
        let actual = Value::from(actual);
        let detail = format!("{path} in body must be of type {expected}: {actual}");
        self.causes
            .push(cause::type_invalid(path, &actual, &detail));
    }

    fn invalid(&mut self, value: &Value, rest: &str) {
        let path = self.path.as_str();
        self.causes.push(cause::invalid(
            path,
            value,
            &format!("{path} in body {rest}"),
        ));
    }

    /// Faults that belong to no single field have the path `<nil>`.
    fn composite(&mut self, rest: &str) {
        let detail = format!("{} {rest}", cause::quote(self.path.as_str()));
        self.causes
            .push(cause::invalid("<nil>", &Value::from(""), &detail));
    }

    fn logic(&mut self, logic: &Logic, value: &Value) {
        if !logic.any_of.is_empty() {
            let mut attempts: Vec<_> = logic
                .any_of
                .iter()
                .map(|schema| self.attempt(schema, value))
                .collect();
            if attempts.iter().all(|causes| !causes.is_empty()) {
                self.composite("must validate at least one schema (anyOf)");
                attempts.sort_by_key(Vec::len);
                self.causes.extend(attempts.swap_remove(0));
            }
        }
        if !logic.one_of.is_empty() {
            let attempts: Vec<_> = logic
                .one_of
                .iter()
                .map(|schema| self.attempt(schema, value))
                .collect();
            match attempts.iter().filter(|causes| causes.is_empty()).count() {
                1 => {}
                0 => self.composite(
                    "must validate one and only one schema (oneOf). Found none valid",
                ),
                found => self.composite(&format!(
                    "must validate one and only one schema (oneOf). Found {found} valid alternatives"
                )),
            }
        }
        for schema in &logic.all_of {
            let causes = self.attempt(schema, value);
            if !causes.is_empty() {
                self.composite("must validate all the schemas (allOf)");
                self.causes.extend(causes);
            }
        }
        if logic
            .not
            .as_ref()
            .is_some_and(|schema| self.attempt(schema, value).is_empty())
        {
            self.composite("must not validate the schema (not)");
        }
    }

    /// The faults of `value` at this place under another schema.
    fn attempt(&mut self, schema: &Schema, value: &Value) -> Vec<Cause> {
        let before = self.causes.len();
        self.value(schema, value, None);
        self.causes.split_off(before)
    }

    fn string(&mut self, schema: &Schema, bounds: &Bounds, text: &str) {
        let length = if bounds.max_length.is_some() || bounds.min_length.is_some() {
            text.chars().count() as u64
        } else {
            0
        };
        if let Some(max) = bounds.max_length.filter(|&max| length > max) {
            self.causes.push(cause::too_long(self.path.as_str(), max));
        }
        if let Some(min) = bounds.min_length.filter(|&min| length < min) {
            self.invalid(
                &text.into(),
                &format!("should be at least {min} chars long"),
            );
        }
        if let Some(pattern) = schema
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_match(text))
        {
            self.invalid(
                &text.into(),
                &format!("should match '{}'", pattern.as_str()),
            );
        }
        let string = schema.type_ == Some(Type::String);
        match &schema.format {
            Some(format) if string && !formats::matches(format, text) => {
                self.wrong_type(format, text);
            }
            _ => {}
        }
    }

    fn number(&mut self, schema: &Schema, bounds: &Bounds, number: &serde_json::Number) {
        let Some(float) = number.as_f64() else { return };
        let small = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&float);
        if schema.format.as_deref() == Some("int32") && !small {
            let path = self.path.as_str();
            let detail =
                format!("Checked value must be of type integer with format int32 in {path}");
            self.causes
                .push(cause::invalid("<nil>", &Value::from(""), &detail));
        }
        let value = Value::Number(number.clone());
        let multiple = |factor: &f64| (float / factor).fract() != 0.0;
        if let Some(factor) = bounds.multiple_of.filter(multiple) {
            self.invalid(&value, &format!("should be a multiple of {factor}"));
        }
        if let Some(max) = bounds.maximum {
            if bounds.exclusive_maximum && float >= max {
                self.invalid(&value, &format!("should be less than {max}"));
            } else if float > max {
                self.invalid(&value, &format!("should be less than or equal to {max}"));
            }
        }
        if let Some(min) = bounds.minimum {
            if bounds.exclusive_minimum && float <= min {
                self.invalid(&value, &format!("should be greater than {min}"));
            } else if float < min {
                self.invalid(&value, &format!("should be greater than or equal to {min}"));
            }
        }
    }

    fn array(&mut self, schema: &Schema, bounds: &Bounds, items: &[Value], old: Option<Old<'_>>) {
        if let Some(element) = &schema.items {
            let olds = old.map(|old| old.items(schema, items));
            for (index, item) in items.iter().enumerate() {
                let old = olds.as_ref().and_then(|olds| olds[index]);
                let mark = self.path.enter_index(index);
                self.value(element, item, old);
                self.path.leave(mark);
            }
        }
        let count = items.len() as u64;
        if let Some(min) = bounds.min_items.filter(|&min| count < min) {
            self.invalid(&count.into(), &format!("should have at least {min} items"));
        }
        if let Some(max) = bounds.max_items.filter(|&max| count > max) {
            self.causes
                .push(cause::too_many(self.path.as_str(), items.len(), max));
        }
        let before = old.and_then(|old| old.value.as_array());
        if before.is_none_or(|before| duplicates(schema, before).is_empty()) {
            for (index, identity) in duplicates(schema, items) {
                let mark = self.path.enter_index(index);
                self.causes
                    .push(cause::duplicate(self.path.as_str(), &identity));
                self.path.leave(mark);
            }
        }
    }

    fn enumeration(&mut self, schema: &Schema, value: &Value) {
        if schema.enumeration.is_empty() || schema.enumeration.contains(value) {
            return;
        }
        let supported = schema.enumeration.iter().map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        self.causes
            .push(cause::unsupported(self.path.as_str(), value, supported));
    }

    fn object(
        &mut self,
        schema: &Schema,
        bounds: &Bounds,
        fields: &Map<String, Value>,
        old: Option<Old<'_>>,
    ) {
        let count = fields.len() as u64;
        if let Some(min) = bounds.min_properties.filter(|&min| count < min) {
            self.invalid(
                &count.into(),
                &format!("should have at least {min} properties"),
            );
        }
        if let Some(max) = bounds.max_properties.filter(|&max| count > max) {
            self.causes
                .push(cause::too_many(self.path.as_str(), fields.len(), max));
        }
        for name in &schema.required {
            if !fields.contains_key(name) {
                self.causes.push(cause::required(self.path.child(name), ""));
            }
        }
        if schema.embedded_resource {
            self.resource(fields);
        }
        for (name, value) in fields {
            if let Some(field) = schema.field(name) {
                let old = old.and_then(|old| old.field(schema, name, value));
                let mark = self.path.enter(name);
                self.value(field, value, old);
                self.path.leave(mark);
            }
        }
    }

    /// An object inside another says what it is.
    fn resource(&mut self, fields: &Map<String, Value>) {
        for name in ["apiVersion", "kind"] {
            let path = self.path.child(name);
            self.causes.extend(match fields.get(name) {
                None => Some(cause::required(path, "must not be empty")),
                Some(Value::String(text)) if text.is_empty() => {
                    Some(cause::invalid(path, &fields[name], "must not be empty"))
                }
                Some(Value::String(_)) => None,
                Some(other) => Some(cause::invalid(path, other, "must be a string")),
            });
        }
    }
}

const NO_BOUNDS: Bounds = Bounds {
    minimum: None,
    maximum: None,
    exclusive_minimum: false,
    exclusive_maximum: false,
    multiple_of: None,
    min_length: None,
    max_length: None,
    min_items: None,
    max_items: None,
    min_properties: None,
    max_properties: None,
};

/// The elements of a set or a list map that were there before, each with its identity.
fn duplicates(schema: &Schema, items: &[Value]) -> Vec<(usize, Value)> {
    let identity: fn(&Schema, &Value) -> Value = match schema.list_type {
        Some(ListType::Set) => |_, item| item.clone(),
        Some(ListType::Map) => keys,
        _ => return Vec::new(),
    };
    let mut seen = std::collections::HashSet::new();
    let identities = items.iter().map(|item| identity(schema, item)).enumerate();
    identities
        .filter(|(_, identity)| !seen.insert(identity.to_string()))
        .collect()
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn has_type(type_: Type, value: &Value) -> bool {
    match type_ {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_integer(value),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(spec: &Value, object: &Value) -> Vec<String> {
        let document = json!({"type": "object", "properties": {"spec": spec}});
        let schema = Schema::from_openapi(&document).unwrap();
        validate(&schema, &Definitions::new(), &json!({"spec": object}), None)
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn types_and_required_fields() {
        let schema = json!({"type": "object", "required": ["x"], "properties": {
            "x": {"type": "integer"}, "b": {"type": "boolean"},
            "q": {"x-kubernetes-int-or-string": true}}});
        assert_eq!(faults(&schema, &json!({})), ["spec.x: Required value"]);
        assert_eq!(
            faults(&schema, &json!({"x": "a", "b": null, "q": true})),
            [
                r#"spec.b: Invalid value: "null": spec.b in body must be of type boolean: "null""#,
                r#"spec.q: Invalid value: "boolean": spec.q in body must be of type integer,string: "boolean""#,
                r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#,
            ]
        );
        assert_eq!(
            faults(&schema, &json!({"x": 3.0, "q": "1Gi"})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn strings() {
        let schema = json!({"type": "object", "properties": {
            "e": {"type": "string", "enum": ["A", "B"]},
            "p": {"type": "string", "pattern": "^a+$", "maxLength": 3, "minLength": 1},
            "t": {"type": "string", "format": "date-time"}}});
        assert_eq!(
            faults(&schema, &json!({"e": "X", "p": "bbbb", "t": "now"})),
            [
                r#"spec.e: Unsupported value: "X": supported values: "A", "B""#,
                "spec.p: Too long: may not be more than 3 bytes",
                r#"spec.p: Invalid value: "bbbb": spec.p in body should match '^a+$'"#,
                r#"spec.t: Invalid value: "now": spec.t in body must be of type date-time: "now""#,
            ]
        );
        assert_eq!(
            faults(&schema, &json!({"p": ""}))[0],
            r#"spec.p: Invalid value: "": spec.p in body should be at least 1 chars long"#
        );
    }

    #[test]
    fn numbers() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1, "maximum": 5, "format": "int32"},
            "m": {"type": "number", "multipleOf": 0.5, "minimum": 0, "exclusiveMinimum": true}}});
        assert_eq!(
            faults(&schema, &json!({"n": 0, "m": 0.25})),
            [
                "spec.m: Invalid value: 0.25: spec.m in body should be a multiple of 0.5",
                "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1",
            ]
        );
        assert_eq!(
            faults(&schema, &json!({"n": 6, "m": 0})),
            [
                "spec.m: Invalid value: 0: spec.m in body should be greater than 0",
                "spec.n: Invalid value: 6: spec.n in body should be less than or equal to 5",
            ]
        );
        assert_eq!(
            faults(&schema, &json!({"n": 4_294_967_296_u64}))[0],
            r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.n"#
        );
    }

    #[test]
    fn lists() {
        let schema = json!({"type": "object", "properties": {
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set",
                "maxItems": 2},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "minItems": 1,
                "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
                    "required": ["name"], "properties": {"name": {"type": "string"}}}}}});
        assert_eq!(
            faults(
                &schema,
                &json!({"set": ["a", "b", "a"], "map": [{"name": "x"}, {"name": "x"}]})
            ),
            [
                r#"spec.map[1]: Duplicate value: map[string]interface {}{"name":"x"}"#,
                "spec.set: Too many: 3: must have at most 2 items",
                r#"spec.set[2]: Duplicate value: "a""#,
            ]
        );
        assert_eq!(
            faults(&schema, &json!({"map": []})),
            ["spec.map: Invalid value: 0: spec.map in body should have at least 1 items"]
        );
        assert_eq!(
            faults(&schema, &json!({"map": [{}]})),
            ["spec.map[0].name: Required value"]
        );
    }

    #[test]
    fn quantities_of_custom_resources() {
        let pattern = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE])?$";
        let schema = json!({"type": "object", "additionalProperties": {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": pattern, "x-kubernetes-int-or-string": true}});
        assert_eq!(
            faults(&schema, &json!({"storage": "abc"})),
            [format!(
                "spec.storage: Invalid value: \"abc\": spec.storage in body should match '{pattern}'"
            )]
        );
        assert_eq!(
            faults(&schema, &json!({"storage": 1, "cpu": "1Gi"})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn unions() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert_eq!(
            faults(&schema, &json!({})),
            [
                r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#
            ]
        );
        assert_eq!(faults(&schema, &json!({"a": "x"})), Vec::<String>::new());
    }
}
