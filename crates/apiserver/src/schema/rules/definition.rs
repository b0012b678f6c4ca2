//! What the rules of a definition are held to when it is written.

use serde_json::Value;

use super::check::{Checked, check as check_expression};
use super::cost::{self, excess};
use super::program::Program;
use super::shape::{Kind, Shape, cardinality};
use super::{Reason, Rule, path};
use crate::schema::{ListType, Schema, Type, cause};
use crate::status::Cause;

/// Every fault of the rules of a structural schema; the paths start at `openAPIV3Schema`.
pub(crate) fn check(schema: &Schema) -> Vec<Cause> {
    if !schema.has_rules {
        return Vec::new();
    }
    let mut checker = Checker {
        causes: Vec::new(),
        total: 0,
        largest: Vec::new(),
    };
    let root = Node {
        path: "openAPIV3Schema",
        count: 1,
        uncorrelatable: None,
        resource: true,
    };
    checker.node(schema, &root);
    checker.total();
    checker.causes
}

/// Where a schema stands.
#[derive(Clone, Copy)]
struct Node<'a> {
    path: &'a str,
    /// How often values of it can occur in one object.
    count: u64,
    /// The list above it whose elements have no old state.
    uncorrelatable: Option<&'a str>,
    resource: bool,
}

struct Checker {
    causes: Vec<Cause>,
    total: u64,
    /// The most expensive rules.
    largest: Vec<(u64, String)>,
}

impl Checker {
    fn node(&mut self, schema: &Schema, at: &Node<'_>) {
        if !schema.has_rules {
            return;
        }
        for (index, rule) in schema.rules.iter().enumerate() {
            let path = format!("{}.x-kubernetes-validations[{index}]", at.path);
            self.rule(schema, rule, &path, at);
        }
        for (name, field) in &schema.properties {
            let path = format!("{}.properties[{name}]", at.path);
            let resource = false;
            self.node(
                field,
                &Node {
                    path: &path,
                    resource,
                    ..*at
                },
            );
        }
        let count = match schema.type_ {
            Some(Type::Array | Type::Object) => cardinality(schema, at.count),
            _ => at.count,
        };
        let below = Node {
            count,
            resource: false,
            ..*at
        };
        if let Some(values) = &schema.additional_properties {
            let path = format!("{}.additionalProperties", at.path);
            self.node(
                values,
                &Node {
                    path: &path,
                    ..below
                },
            );
        }
        if let Some(items) = &schema.items {
            let path = format!("{}.items", at.path);
            let lost = (schema.list_type != Some(ListType::Map)).then_some(at.path);
            let uncorrelatable = at.uncorrelatable.or(lost);
            self.node(
                items,
                &Node {
                    path: &path,
                    uncorrelatable,
                    ..below
                },
            );
        }
    }

    fn rule(&mut self, schema: &Schema, rule: &Rule, path: &str, at: &Node<'_>) {
        self.words(schema, rule, path);
        let shown = Value::from(rule.text());
        let field = format!("{path}.rule");
        if rule.text().is_empty() {
            self.causes
                .push(cause::required(field, "rule is not specified"));
            return;
        }
        if let (true, Some(list)) = (rule.is_transition(), at.uncorrelatable) {
            let detail = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
            );
            self.causes.push(cause::invalid(&field, &shown, &detail));
            return;
        }
        let wanted = (Kind::Bool, "cel expression must evaluate to a bool");
        match compile(schema, rule, rule.program.as_ref(), wanted, at) {
            Ok(checked) => {
                let cost = checked.cost.saturating_mul(at.count);
                self.total = self.total.saturating_add(cost);
                self.largest.push((cost, field.clone()));
                if let Some(detail) = excess("estimated rule cost", cost, cost::PER_RULE) {
                    self.causes.push(cause::forbidden(field, &detail));
                }
            }
            Err(error) => self.causes.push(cause::invalid(field, &shown, &error)),
        }
        let Some(program) = &rule.message_expression else {
            return;
        };
        let field = format!("{path}.messageExpression");
        let wanted = (Kind::String, "messageExpression must evaluate to a string");
        match compile(schema, rule, program.as_ref(), wanted, at) {
            Ok(checked) => {
                let cost = checked.cost.saturating_mul(at.count);
                let detail = excess("estimated messageExpression cost", cost, cost::PER_RULE);
                let fault = detail.map(|detail| cause::forbidden(field, &detail));
                self.causes.extend(fault);
            }
            Err(error) => {
                let shown = &rule.document["messageExpression"];
                self.causes.push(cause::invalid(field, shown, &error));
            }
        }
    }

    /// The parts of a rule that are no expressions.
    fn words(&mut self, schema: &Schema, rule: &Rule, path: &str) {
        let text = |name: &str| rule.document.get(name).and_then(Value::as_str);
        let shown = |name: &str| &rule.document[name];
        let mut fault = |cause| self.causes.push(cause);
        let message = format!("{path}.message");
        match text("message") {
            Some(given) if !given.is_empty() && given.trim().is_empty() => fault(cause::invalid(
                message,
                shown("message"),
                "message must be non-empty if specified",
            )),
            Some(given) if given.trim().contains('\n') => fault(cause::invalid(
                message,
                shown("message"),
                "message must not contain line breaks",
            )),
            None | Some("") if rule.text().contains('\n') => fault(cause::required(
                message,
                "message must be specified if rule contains line breaks",
            )),
            _ => {}
        }
        if text("messageExpression").is_some_and(|given| given.trim().is_empty()) {
            let detail = "messageExpression must be non-empty if specified";
            fault(cause::required(format!("{path}.messageExpression"), detail));
        }
        if let Some(reason) = text("reason")
            && Reason::from_name(reason).is_none()
        {
            let field = format!("{path}.reason");
            fault(cause::unsupported(field, shown("reason"), Reason::NAMES));
        }
        if let Some(given) = text("fieldPath").filter(|given| !given.is_empty())
            && let Err(error) = path::resolve(schema, given)
        {
            let detail = format!("fieldPath must be a valid path: {error}");
            let field = format!("{path}.fieldPath");
            fault(cause::invalid(field, shown("fieldPath"), &detail));
        }
    }

    /// Says which rules make the whole too expensive.
    fn total(&mut self) {
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let Some(detail) = excess(what, self.total, cost::PER_SCHEMA) else {
            return;
        };
        self.largest
            .sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (cost, path) in self.largest.iter().take(4).filter(|(cost, _)| *cost > 0) {
            let detail = format!(
                "contributed to estimated rule cost total exceeding cost limit for entire \
                 OpenAPIv3 schema: estimated cost {cost}"
            );
            self.causes.push(cause::forbidden(path, &detail));
        }
        self.causes
            .push(cause::forbidden("openAPIV3Schema", &detail));
    }
}

fn compile<'a>(
    schema: &'a Schema,
    rule: &Rule,
    program: Result<&'a Program, &String>,
    (wanted, otherwise): (Kind<'a>, &str),
    at: &Node<'_>,
) -> Result<Checked<'a>, String> {
    let failed = |error: &str| format!("compilation failed: {error}");
    let program = program.map_err(|error| failed(error))?;
    let Some(shape) = Shape::of_schema(schema, at.resource) else {
        return Err(failed(
            "rules cannot be used where the type of the value is unknown",
        ));
    };
    let old = if rule.optional_old_self {
        Shape::of(Kind::Optional(Box::new(shape.clone())))
    } else {
        shape.clone()
    };
    let variables = vec![("self", shape), ("oldSelf", old)];
    let checked = check_expression(program, variables).map_err(|error| failed(&error))?;
    if checked.shape.fits(&Shape::of(wanted)) {
        Ok(checked)
    } else {
        Err(otherwise.to_owned())
    }
}
