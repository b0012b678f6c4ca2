//! Functions of rules that take a regular expression.

use std::sync::Arc;

use kube_cel::cel::Value;

use super::cost::{self, Meter};
use super::eval::Fault;
use crate::schema::Pattern;

/// Whether a function is one of them.
pub(super) fn takes_pattern(name: &str) -> bool {
    matches!(name, "matches" | "find" | "findAll")
}

/// The pattern that an evaluation used last, so that a loop compiles it once.
#[derive(Default)]
pub(super) struct Patterns(Option<Pattern>);

impl Patterns {
    /// Calls a function on a text, a pattern, and for `findAll` a limit. `constant` says that the
    /// pattern stands in the rule.
    pub(super) fn call(
        &mut self,
        name: &str,
        operands: &[&Value],
        constant: bool,
        meter: &mut Meter,
    ) -> Result<Value, Fault> {
        let (text, source, most) = match operands {
            [Value::String(text), Value::String(source)] => (text, source, usize::MAX),
            [Value::String(text), Value::String(source), Value::Int(most)] => {
                // Fewer than none means all.
                (text, source, usize::try_from(*most).unwrap_or(usize::MAX))
            }
            _ => return Err(Fault::NoOverload),
        };
        let pattern = self.pattern(source, constant, meter)?;
        Ok(match name {
            "matches" => Value::Bool(pattern.is_match(text)),
            "find" => string(pattern.find_all(text).next().unwrap_or_default()),
            _ => {
                let mut found = Vec::new();
                for part in pattern.find_all(text).take(most) {
                    meter.charge(1)?;
                    found.push(string(part));
                }
                Value::List(Arc::new(found))
            }
        })
    }

    fn pattern(
        &mut self,
        source: &str,
        constant: bool,
        meter: &mut Meter,
    ) -> Result<&Pattern, Fault> {
        let known = self.0.take().filter(|pattern| pattern.as_str() == source);
        let pattern = match known {
            Some(pattern) => pattern,
            None if constant => Pattern::new(source).map_err(fault)?,
            None => {
                meter.charge(cost::compile(source))?;
                Pattern::transient(source).map_err(fault)?
            }
        };
        Ok(self.0.insert(pattern))
    }
}

fn fault(error: regex::Error) -> Fault {
    Fault::from(format!("error parsing regexp: {error}"))
}

fn string(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}
