//! The value of an expression, with every step charged to a meter.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, MapExpr, SelectExpr,
};
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use kube_cel::cel::parser::Expression;

use super::check::TYPES;
use super::cost::{self, Exhausted, Meter};
use super::functions::qualified;
use super::library::{self, inside, optional};
use super::regexp::{Patterns, takes_pattern};
use super::weight::{extent, likeness, search, weight};

/// Why an expression has no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The meter stopped it; nothing absorbs this.
    #[error("operation cancelled: actual cost limit exceeded")]
    Exhausted,
    /// An operand has a type that the operation does not take.
    #[error("no such overload")]
    NoOverload,
    /// Anything else, such as a missing key.
    #[error("{0}")]
    Other(String),
}

impl From<Exhausted> for Fault {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// Computes an expression with the given variables.
pub(super) fn evaluate<'a>(
    tree: &'a Expression,
    variables: Vec<(&'a str, Value)>,
    meter: &'a mut Meter,
) -> Result<Value> {
    let patterns = Patterns::default();
    let mut evaluator = Evaluator {
        variables,
        meter,
        patterns,
    };
    evaluator.expression(tree)
}

struct Evaluator<'a> {
    /// Innermost last.
    variables: Vec<(&'a str, Value)>,
    meter: &'a mut Meter,
    patterns: Patterns,
}

impl<'a> Evaluator<'a> {
    fn expression(&mut self, tree: &'a Expression) -> Result<Value> {
        match &tree.expr {
            Expr::Literal(literal) => {
                let value = constant(literal);
                // Each time it is a copy of its own.
                self.meter.charge(extent(&value) / 10)?;
                Ok(value)
            }
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                self.meter.charge(cost::LIST + list.elements.len() as u64)?;
                let mut items = Vec::with_capacity(list.elements.len());
                for (index, element) in list.elements.iter().enumerate() {
                    let value = self.expression(element)?;
                    if !list.optional_indices.contains(&index) {
                        items.push(value);
                    } else if let Some(found) = inside(&value).ok_or(Fault::NoOverload)?.value() {
                        items.push(found.clone());
                    }
                }
                Ok(Value::List(Arc::new(items)))
            }
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(loop_) => self.comprehension(loop_),
            Expr::Struct(_) | Expr::Unspecified => Err(Fault::NoOverload),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Value> {
        self.meter.charge(cost::READ)?;
        let found = self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name);
        match found {
            Some((_, value)) => Ok(value.clone()),
            None if TYPES.contains(&name) => Ok(Value::Function(Arc::new(name.to_owned()), None)),
            None => Err(format!("no such attribute: {name}").into()),
        }
    }

    fn select(&mut self, select: &'a SelectExpr) -> Result<Value> {
        let operand = self.expression(&select.operand)?;
        if !select.test {
            self.meter.charge(cost::READ)?;
            return field(&operand, &select.field);
        }
        let found = match inside(&operand).map(OptionalValue::value) {
            Some(None) => return Ok(Value::Bool(false)),
            Some(Some(value)) => lookup(value, &Key::from(select.field.as_str())),
            None => lookup(&operand, &Key::from(select.field.as_str())),
        };
        Ok(Value::Bool(found?.is_some()))
    }

    fn map(&mut self, map: &'a MapExpr) -> Result<Value> {
        self.meter.charge(cost::MAP + map.entries.len() as u64)?;
        let mut entries = HashMap::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Fault::NoOverload);
            };
            let key = self.expression(&entry.key)?;
            self.meter.charge(extent(&key) / 10)?;
            let key = key
                .try_into()
                .map_err(|_| Fault::from("unsupported key type"))?;
            let value = self.expression(&entry.value)?;
            if !entry.optional {
                entries.insert(key, value);
            } else if let Some(found) = inside(&value).ok_or(Fault::NoOverload)?.value() {
                entries.insert(key, found.clone());
            }
        }
        let map = Arc::new(entries);
        Ok(Value::Map(Map { map }))
    }

    fn comprehension(&mut self, loop_: &'a ComprehensionExpr) -> Result<Value> {
        let range = self.expression(&loop_.iter_range)?;
        let start = self.expression(&loop_.accu_init)?;
        let items = match &range {
            Value::List(items) => Arc::clone(items),
            Value::Map(map) => {
                self.meter.charge(map.map.len() as u64)?;
                let mut keys: Vec<_> = map.map.keys().collect();
                keys.sort_unstable();
                Arc::new(keys.into_iter().map(Value::from).collect())
            }
            _ => return Err(Fault::NoOverload),
        };
        let depth = self.variables.len();
        self.variables.push((&loop_.accu_var, start));
        self.variables.push((&loop_.iter_var, Value::Null));
        let result = self.iterate(loop_, &items, depth);
        self.variables.truncate(depth);
        result
    }

    fn iterate(
        &mut self,
        loop_: &'a ComprehensionExpr,
        items: &[Value],
        depth: usize,
    ) -> Result<Value> {
        for item in items {
            if truth(&self.expression(&loop_.loop_cond)?)? {
                self.variables[depth + 1].1 = item.clone();
                self.variables[depth].1 = match self.expression(&loop_.loop_step) {
                    // A later element may still decide: the fault is kept as what came out.
                    Err(fault) if !matches!(fault, Fault::Exhausted) && is_logical(loop_) => {
                        Value::Function(Arc::new(fault.to_string()), Some(Box::new(Value::Null)))
                    }
                    step => step?,
                };
            } else {
                break;
            }
        }
        self.variables.truncate(depth + 1);
        match self.expression(&loop_.result)? {
            Value::Function(fault, Some(_)) => Err(fault.as_str().into()),
            result => Ok(result),
        }
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Value> {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            return self.member(call, target);
        }
        match (name, call.args.as_slice()) {
            ("_&&_", [a, b]) => self.logical(a, b, false),
            ("_||_", [a, b]) => self.logical(a, b, true),
            ("_?_:_", [condition, yes, no]) => {
                let branch = if truth(&self.expression(condition)?)? {
                    yes
                } else {
                    no
                };
                self.expression(branch)
            }
            ("@not_strictly_false", [a]) => match self.expression(a) {
                Ok(value) => Ok(Value::Bool(truth(&value).unwrap_or(true))),
                Err(Fault::Exhausted) => Err(Fault::Exhausted),
                Err(_) => Ok(Value::Bool(true)),
            },
            (
                "_+_",
                [
                    Expression {
                        expr: Expr::Ident(accumulator),
                        ..
                    },
                    b,
                ],
            ) if accumulator == "@result" => {
                let b = self.expression(b)?;
                self.meter.charge(2 * cost::READ)?;
                let held = self
                    .variables
                    .iter_mut()
                    .rev()
                    .find(|(n, _)| n == accumulator);
                // Taken, not copied: the list grows in place.
                let a = held.map(|(_, value)| std::mem::replace(value, Value::Null));
                arithmetic("_+_", a.ok_or(Fault::NoOverload)?, b)
            }
            (_, [a, b]) if name.starts_with('_') || name == "@in" => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                self.meter.charge(self.cost(name, &a, &b))?;
                binary(name, a, b)
            }
            ("!_", [a]) => {
                self.meter.charge(1)?;
                Ok(Value::Bool(!truth(&self.expression(a)?)?))
            }
            ("-_", [a]) => {
                self.meter.charge(1)?;
                negate(&self.expression(a)?)
            }
            (name, arguments) => self.function(name, None, arguments),
        }
    }

    /// What an operator with two operands costs.
    fn cost(&self, name: &str, a: &Value, b: &Value) -> u64 {
        let (x, y) = (extent(a), extent(b));
        match (name, b) {
            // The elements are copied.
            ("_+_", Value::List(_)) => x.saturating_add(y).max(1),
            ("_==_" | "_!=_", _) => {
                let seen = likeness(a, b, self.meter.reach());
                cost::call(name, &[seen, seen])
            }
            ("@in", Value::List(items)) => search(a, items, self.meter.reach()).max(1),
            // Keys are hashed.
            ("@in", _) => cost::scan(x).max(1),
            ("_[_]" | "_[?_]" | "_?._", _) => cost::scan(y).max(1),
            _ => cost::call(name, &[x, y]),
        }
    }

    /// `a && b` and `a || b`: a side that decides makes up for a fault of the other.
    fn logical(&mut self, a: &'a Expression, b: &'a Expression, decisive: bool) -> Result<Value> {
        let first = self.expression(a).and_then(|value| truth(&value));
        if matches!(first, Err(Fault::Exhausted)) || first.as_ref().is_ok_and(|v| *v == decisive) {
            return first.map(Value::Bool);
        }
        let second = self.expression(b).and_then(|value| truth(&value));
        match (first, second) {
            (_, Ok(second)) if second == decisive => Ok(Value::Bool(decisive)),
            (_, Err(Fault::Exhausted)) => Err(Fault::Exhausted),
            (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(_), Ok(second)) => Ok(Value::Bool(second)),
        }
    }

    fn member(&mut self, call: &'a CallExpr, target: &'a Expression) -> Result<Value> {
        let name = call.func_name.as_str();
        if let Expr::Ident(prefix) = &target.expr
            && !self.variables.iter().any(|(known, _)| known == prefix)
            && let Some(name) = qualified(prefix, name)
        {
            return self.function(name, None, &call.args);
        }
        let target = self.expression(target)?;
        if matches!(name, "optMap" | "optFlatMap")
            && let [
                Expression {
                    expr: Expr::Ident(variable),
                    ..
                },
                result,
            ] = call.args.as_slice()
        {
            let Some(found) = inside(&target).ok_or(Fault::NoOverload)?.value() else {
                return Ok(target);
            };
            self.variables.push((variable, found.clone()));
            let result = self.expression(result);
            self.variables.pop();
            return match name {
                "optMap" => result.map(|value| optional(Some(value))),
                _ => result,
            };
        }
        self.function(name, Some(target), &call.args)
    }

    fn function(
        &mut self,
        name: &str,
        target: Option<Value>,
        arguments: &'a [Expression],
    ) -> Result<Value> {
        let pattern = arguments.get(usize::from(target.is_none()));
        let constant = pattern.is_some_and(|tree| matches!(tree.expr, Expr::Literal(_)));
        let arguments = arguments.iter().map(|tree| self.expression(tree));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let mut sizes: Vec<_> = target.iter().chain(&arguments).map(extent).collect();
        let reach = self.meter.reach();
        match (name, &target) {
            ("join", Some(Value::List(items))) => {
                let separator = sizes.get(1).copied().unwrap_or_default();
                let longest = items.iter().map(extent).max().unwrap_or_default();
                sizes = vec![sizes[0], longest.saturating_add(separator)];
            }
            ("format", _) => {
                if let Some(items @ Value::List(_)) = arguments.first() {
                    sizes = vec![sizes[0].saturating_add(weight(items, reach))];
                }
            }
            ("indexOf" | "lastIndexOf" | "min" | "max" | "sum" | "isSorted", Some(list)) => {
                sizes[0] = weight(list, reach);
            }
            ("sets.contains" | "sets.equivalent" | "sets.intersects", _) => {
                sizes = arguments.iter().map(|set| weight(set, reach)).collect();
            }
            // Its characters are counted.
            ("size", _)
                if matches!(
                    target.iter().chain(&arguments).next(),
                    Some(Value::String(_))
                ) =>
            {
                self.meter.charge(sizes[0] / 100)?;
            }
            _ => {}
        }
        self.meter.charge(cost::call(name, &sizes))?;
        if takes_pattern(name) {
            let operands: Vec<_> = target.iter().chain(&arguments).collect();
            return self.patterns.call(name, &operands, constant, self.meter);
        }
        library::call(name, target.as_ref(), &arguments)
    }
}

/// Whether the loop is `all` or `exists`, in which a fault waits for what the others say.
fn is_logical(loop_: &ComprehensionExpr) -> bool {
    matches!(&loop_.loop_step.expr, Expr::Call(call)
        if matches!(call.func_name.as_str(), "_&&_" | "_||_"))
}

fn constant(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Value::Bytes(Arc::new(value.inner().to_vec())),
        LiteralValue::Double(value) => Value::Float(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(value) => Value::String(Arc::new(value.inner().to_owned())),
        LiteralValue::UInt(value) => Value::UInt(*value.inner()),
    }
}

fn truth(value: &Value) -> Result<bool> {
    match value {
        Value::Bool(bool) => Ok(*bool),
        Value::Function(fault, Some(_)) => Err(fault.as_str().into()),
        _ => Err(Fault::NoOverload),
    }
}

fn lookup(value: &Value, key: &Key) -> Result<Option<Value>> {
    match value {
        Value::Map(map) => Ok(map.get(key).cloned()),
        _ => Err(Fault::NoOverload),
    }
}

fn field(operand: &Value, name: &str) -> Result<Value> {
    let key = Key::from(name);
    match inside(operand).map(OptionalValue::value) {
        Some(None) => Ok(optional(None)),
        Some(Some(value)) => Ok(optional(lookup(value, &key)?)),
        None => lookup(operand, &key)?.ok_or_else(|| format!("no such key: {name}").into()),
    }
}

fn binary(name: &str, a: Value, b: Value) -> Result<Value> {
    let order = || a.partial_cmp(&b).ok_or(Fault::NoOverload);
    Ok(Value::Bool(match name {
        "_==_" => a == b,
        "_!=_" => a != b,
        "_<_" => order()?.is_lt(),
        "_<=_" => order()?.is_le(),
        "_>_" => order()?.is_gt(),
        "_>=_" => order()?.is_ge(),
        "@in" => match &b {
            Value::List(items) => items.contains(&a),
            Value::Map(_) => match a.try_into() {
                Ok(key) => lookup(&b, &key)?.is_some(),
                Err(_) => false,
            },
            _ => return Err(Fault::NoOverload),
        },
        "_[_]" => return index(&a, b)?.map_err(Fault::from),
        "_[?_]" | "_?._" => {
            let value = match inside(&a).map(OptionalValue::value) {
                Some(None) => return Ok(a),
                Some(Some(value)) => value,
                None => &a,
            };
            return Ok(optional(index(value, b)?.ok()));
        }
        _ => return arithmetic(name, a, b),
    }))
}

/// The element at a place, or why there is none.
fn index(collection: &Value, place: Value) -> Result<std::result::Result<Value, String>> {
    match (collection, place) {
        (Value::List(items), Value::Int(at)) => {
            let found = usize::try_from(at).ok().and_then(|at| items.get(at));
            Ok(found
                .cloned()
                .ok_or_else(|| format!("index out of bounds: {at}")))
        }
        (Value::List(items), Value::UInt(at)) => {
            let found = usize::try_from(at).ok().and_then(|at| items.get(at));
            Ok(found
                .cloned()
                .ok_or_else(|| format!("index out of bounds: {at}")))
        }
        (Value::Map(map), place) => {
            let key: Key = place.try_into().map_err(|_| Fault::NoOverload)?;
            Ok(map
                .get(&key)
                .cloned()
                .ok_or_else(|| format!("no such key: {key}")))
        }
        _ => Err(Fault::NoOverload),
    }
}

fn arithmetic(name: &str, a: Value, b: Value) -> Result<Value> {
    use kube_cel::cel::ExecutionError as Error;
    let bytes = match (name, &a, &b) {
        ("_+_", Value::Bytes(a), Value::Bytes(b)) => Some([a.as_slice(), b.as_slice()].concat()),
        _ => None,
    };
    if let Some(bytes) = bytes {
        return Ok(Value::Bytes(Arc::new(bytes)));
    }
    let result = match name {
        "_+_" => a + b,
        "_-_" => a - b,
        "_*_" => a * b,
        "_/_" => a / b,
        "_%_" => a % b,
        _ => return Err(Fault::NoOverload),
    };
    result.map_err(|error| match error {
        Error::DivisionByZero(_) => "division by zero".into(),
        Error::RemainderByZero(_) => "modulus by zero".into(),
        Error::Overflow(..) => "integer overflow".into(),
        _ => Fault::NoOverload,
    })
}

fn negate(value: &Value) -> Result<Value> {
    match value {
        Value::Int(int) => int
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| "integer overflow".into()),
        Value::Float(float) => Ok(Value::Float(-float)),
        Value::Duration(duration) => Ok(Value::Duration(-*duration)),
        _ => Err(Fault::NoOverload),
    }
}
