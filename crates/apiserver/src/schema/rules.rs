//! Validation rules: `x-kubernetes-validations`, in the Common Expression Language.
//!
//! * `program`, `depth`: the text of an expression becomes a tree, within bounds;
//! * `shape`, `functions`, `cost`, `check`: what a definition is held to when it is written – known
//!   fields, fitting types, and a bound for the work that a rule can ever make;
//! * `value`, `eval`, `library`, `regexp`, `weight`: the value of an expression, metered while it
//!   is computed;
//! * `walk`: every rule of an object, against its old state where there is one.
//!
//! Expressions are parsed, and the Kubernetes libraries come from, `kube-cel`. The evaluation is
//! our own, because the work of a hostile rule has to be bounded while it runs.

mod check;
mod cost;
mod definition;
mod depth;
mod eval;
mod functions;
mod library;
mod path;
mod program;
mod regexp;
mod shape;
#[cfg(test)]
mod tests;
mod value;
mod walk;
mod weight;

use serde_json::Value;

use super::Schema;
use program::{Program, on_large_stack};

pub(crate) use definition::check;
pub(crate) use walk::violations;

/// One entry of `x-kubernetes-validations`, read once for every object it will judge.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The entry as the definition gives it.
    pub document: Value,
    program: Result<Program, String>,
    message: String,
    message_expression: Option<Result<Program, String>>,
    reason: Reason,
    field_path: String,
    optional_old_self: bool,
}

/// Why a rule cannot be evaluated before [`parse`] has been there.
const NOT_PARSED: &str = "the expression could not be parsed";

/// Parses the expressions of all rules of a schema.
pub(super) fn parse(schema: &mut Schema) {
    let mut rules = Vec::new();
    collect(schema, &mut rules);
    if !rules.is_empty() {
        on_large_stack(|| rules.into_iter().for_each(Rule::parse));
    }
}

fn collect<'a>(schema: &'a mut Schema, rules: &mut Vec<&'a mut Rule>) {
    rules.extend(&mut schema.rules);
    let below = schema.properties.values_mut();
    let below = below.chain(schema.additional_properties.as_deref_mut());
    for schema in below.chain(schema.items.as_deref_mut()) {
        collect(schema, rules);
    }
}

/// What a violation is reported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

impl Reason {
    const NAMES: [&str; 4] = [
        "FieldValueRequired",
        "FieldValueForbidden",
        "FieldValueInvalid",
        "FieldValueDuplicate",
    ];

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "" | "FieldValueInvalid" => Self::Invalid,
            "FieldValueForbidden" => Self::Forbidden,
            "FieldValueRequired" => Self::Required,
            "FieldValueDuplicate" => Self::Duplicate,
            _ => return None,
        })
    }
}

impl Rule {
    /// Reads an entry, apart from its expressions; what is wrong with it is told by [`check`].
    pub(super) fn read(document: Value) -> Self {
        let text = |name: &str| document[name].as_str().unwrap_or_default();
        Self {
            program: Err(NOT_PARSED.to_owned()),
            message: text("message").trim().to_owned(),
            message_expression: document["messageExpression"]
                .is_string()
                .then(|| Err(NOT_PARSED.to_owned())),
            reason: Reason::from_name(text("reason")).unwrap_or(Reason::Invalid),
            field_path: text("fieldPath").to_owned(),
            optional_old_self: document["optionalOldSelf"] == true,
            document,
        }
    }

    fn parse(&mut self) {
        let text = |name: &str| self.document[name].as_str().unwrap_or_default();
        self.program = Program::parse(text("rule"));
        if self.message_expression.is_some() {
            self.message_expression = Some(Program::parse(text("messageExpression")));
        }
    }

    /// Whether the rule compares with the old state.
    fn is_transition(&self) -> bool {
        self.program.as_ref().is_ok_and(|p| p.mentions("oldSelf"))
    }

    fn text(&self) -> &str {
        self.document["rule"].as_str().unwrap_or_default().trim()
    }

    /// What is said of a violation that has no message of its own.
    fn fallback(&self) -> String {
        if self.message.is_empty() {
            format!("failed rule: {}", self.text())
        } else {
            self.message.clone()
        }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}
