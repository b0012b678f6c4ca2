//! Every rule of an object.

use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::Key;
use serde_json::Value;

use super::cost::Meter;
use super::eval::{Fault, evaluate};
use super::value::{convert, escape};
use super::{Reason, Rule, library, path};
use crate::schema::correlate::Old;
use crate::schema::path::Path;
use crate::schema::{Schema, cause};
use crate::status::Cause;

/// Longest message that an expression may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// The violations of the rules of a schema by a whole object, or by its change from `old`.
pub(crate) fn violations(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    if !schema.has_rules {
        return Vec::new();
    }
    let mut walk = Walk {
        path: Path::default(),
        causes: Vec::new(),
        meter: Meter::new(),
        stopped: false,
    };
    let new = Place {
        json: object,
        cel: convert(schema, true, object),
    };
    let old = old.map(|old| Before {
        old: Old::of(object, old),
        cel: convert(schema, true, old),
    });
    walk.node(schema, &new, old.as_ref());
    walk.causes
}

/// A value in both forms.
struct Place<'a> {
    json: &'a Value,
    cel: Cel,
}

/// What a value was before.
struct Before<'a> {
    old: Old<'a>,
    cel: Cel,
}

struct Walk {
    path: Path,
    causes: Vec<Cause>,
    meter: Meter,
    /// No further rule runs.
    stopped: bool,
}

impl Walk {
    fn node(&mut self, schema: &Schema, new: &Place<'_>, before: Option<&Before<'_>>) {
        if !schema.has_rules || new.json.is_null() {
            return;
        }
        for rule in &schema.rules {
            if self.stopped {
                return;
            }
            self.rule(schema, rule, new, before);
        }
        match (new.json, &new.cel) {
            (Value::Object(fields), Cel::Map(map)) => {
                for (name, json) in fields {
                    let is_map = schema.additional_properties.is_some();
                    let Some(field) = schema.field(name).filter(|field| field.has_rules) else {
                        continue;
                    };
                    let known = if is_map {
                        Some(name.into())
                    } else {
                        escape(name)
                    };
                    let cel = known
                        .and_then(|name| map.get(&Key::from(name.as_ref())).cloned())
                        // What rules above cannot name is not in the parent's value.
                        .unwrap_or_else(|| convert(field, false, json));
                    let old = before.and_then(|before| before.old.field(schema, name, json));
                    let before = old.map(|old| Before::of(field, old));
                    let mark = if is_map {
                        self.path.enter_key(name)
                    } else {
                        self.path.enter(name)
                    };
                    self.node(field, &Place { json, cel }, before.as_ref());
                    self.path.leave(mark);
                }
            }
            (Value::Array(items), Cel::List(values)) => {
                let Some(schema_of_items) = schema.items.as_deref() else {
                    return;
                };
                let olds = before.map(|before| before.old.items(schema, items));
                for (index, (json, cel)) in items.iter().zip(values.iter()).enumerate() {
                    let old = olds.as_ref().and_then(|olds| olds[index]);
                    let before = old.map(|old| Before::of(schema_of_items, old));
                    let mark = self.path.enter_index(index);
                    let cel = cel.clone();
                    self.node(schema_of_items, &Place { json, cel }, before.as_ref());
                    self.path.leave(mark);
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, schema: &Schema, rule: &Rule, new: &Place<'_>, before: Option<&Before<'_>>) {
        let program = match &rule.program {
            Ok(program) => program,
            // Nobody can say that the object obeys it.
            Err(error) => return self.invalid(schema, &format!("rule compile error: {error}")),
        };
        let mut variables = vec![("self", new.cel.clone())];
        match (rule.is_transition(), rule.optional_old_self, before) {
            // What was so before may stay so.
            (false, _, Some(before)) if before.old.unchanged => return,
            (false, ..) => {}
            (true, true, before) => {
                let old = before.map(|before| before.cel.clone());
                variables.push(("oldSelf", library::optional(old)));
            }
            (true, false, Some(before)) => variables.push(("oldSelf", before.cel.clone())),
            (true, false, None) => return,
        }
        if !self.meter.next_call() {
            self.stopped = true;
            self.invalid(
                schema,
                "validation failed due to running out of cost budget, no further validation \
                 rules will be run",
            );
            return;
        }
        match evaluate(&program.tree, variables.clone(), &mut self.meter) {
            Ok(Cel::Bool(true)) => {}
            Ok(_) => self.violated(schema, rule, variables),
            Err(fault) => self.fault(schema, rule, &fault),
        }
    }

    fn violated(&mut self, schema: &Schema, rule: &Rule, variables: Vec<(&str, Cel)>) {
        let message = self.message(rule, variables);
        let suffix = path::resolve(schema, &rule.field_path).unwrap_or_default();
        let field = match self.path.as_str() {
            "" => suffix.trim_start_matches('.').to_owned(),
            place => format!("{place}{suffix}"),
        };
        let field = if field.is_empty() {
            "<nil>".to_owned()
        } else {
            field
        };
        let value = Value::from(type_of(schema));
        self.causes.push(match rule.reason {
            Reason::Invalid => cause::invalid(field, &value, &message),
            Reason::Forbidden => cause::forbidden(field, &message),
            Reason::Required => cause::required(field, &message),
            Reason::Duplicate => cause::duplicate(field, &value),
        });
    }

    /// What the rule says of its violation; its own text where it cannot be asked.
    fn message(&mut self, rule: &Rule, variables: Vec<(&str, Cel)>) -> String {
        let Some(Ok(program)) = &rule.message_expression else {
            return rule.fallback();
        };
        if !self.meter.next_call() {
            return rule.fallback();
        }
        match evaluate(&program.tree, variables, &mut self.meter) {
            Ok(Cel::String(text)) => {
                let text = text.trim();
                let fit = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
                if fit {
                    text.to_owned()
                } else {
                    rule.fallback()
                }
            }
            _ => rule.fallback(),
        }
    }

    fn fault(&mut self, schema: &Schema, rule: &Rule, fault: &Fault) {
        let told = rule.fallback();
        let text = match fault {
            Fault::Exhausted => {
                self.stopped = true;
                format!(
                    "'{fault}': no further validation rules will be run due to call cost exceeds \
                     limit for rule: {told}"
                )
            }
            Fault::NoOverload => format!(
                "'{fault}': call arguments did not match a supported operator, function or macro \
                 signature for rule: {told}"
            ),
            Fault::Other(_) => format!("{fault} evaluating rule: {told}"),
        };
        self.invalid(schema, &text);
    }

    fn invalid(&mut self, schema: &Schema, detail: &str) {
        let field = match self.path.as_str() {
            "" => "<nil>",
            place => place,
        };
        let value = Value::from(type_of(schema));
        self.causes.push(cause::invalid(field, &value, detail));
    }
}

impl<'a> Before<'a> {
    fn of(schema: &Schema, old: Old<'a>) -> Self {
        let cel = convert(schema, false, old.value);
        Self { old, cel }
    }
}

fn type_of(schema: &Schema) -> &'static str {
    match schema.type_ {
        Some(type_) => type_.as_str(),
        None if schema.int_or_string => "integer or string",
        None => "",
    }
}
