//! The functions behind the names: our own where the language is strict, those of `kube-cel`
//! everywhere else.

use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{CallExpr, Expr};
use kube_cel::cel::objects::{OptionalValue, Value};
use kube_cel::cel::parser::Expression;
use kube_cel::cel::{Context, ExecutionError};

use super::eval::Fault;

static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// Calls a function by its full name, on a target where it has one.
pub(super) fn call(
    name: &str,
    target: Option<&Value>,
    arguments: &[Value],
) -> Result<Value, Fault> {
    match own(name, target, arguments) {
        Some(result) => result,
        None => foreign(name, target, arguments),
    }
}

/// The functions that are decided here.
fn own(name: &str, target: Option<&Value>, arguments: &[Value]) -> Option<Result<Value, Fault>> {
    let operands: Vec<_> = target.into_iter().chain(arguments).collect();
    Some(Ok(match (name, operands.as_slice()) {
        ("size", [value]) => return Some(size(value)),
        ("type", [value]) => Value::Function(Arc::new(type_name(value)), None),
        ("bool", [Value::Bool(bool)]) => Value::Bool(*bool),
        ("bool", [Value::String(text)]) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Value::Bool(true),
            "false" | "False" | "FALSE" | "f" | "0" => Value::Bool(false),
            _ => {
                return Some(Err(Fault::from(
                    "type conversion error from string to bool",
                )));
            }
        },
        ("string", [Value::Bool(bool)]) => Value::from(bool.to_string()),
        ("bytes", [Value::Bytes(bytes)]) => Value::Bytes(Arc::clone(bytes)),
        ("dyn", [value])
        | ("duration", [value @ Value::Duration(_)])
        | ("timestamp", [value @ Value::Timestamp(_)])
        | ("int", [value @ Value::Int(_)]) => (*value).clone(),
        ("int", [Value::Timestamp(at)]) => Value::Int(at.timestamp()),
        ("contains", [Value::String(text), Value::String(part)]) => {
            Value::Bool(text.contains(part.as_str()))
        }
        ("startsWith", [Value::String(text), Value::String(part)]) => {
            Value::Bool(text.starts_with(part.as_str()))
        }
        ("endsWith", [Value::String(text), Value::String(part)]) => {
            Value::Bool(text.ends_with(part.as_str()))
        }
        ("format", [Value::String(text), _]) if has_wide_precision(text) => {
            return Some(Err(Fault::from("precision is too large")));
        }
        ("optional.of", [value]) => optional(Some((*value).clone())),
        ("optional.none", []) => optional(None),
        ("optional.ofNonZeroValue", [value]) => {
            optional((!value.is_zero()).then(|| (*value).clone()))
        }
        ("hasValue" | "value" | "orValue" | "or", [inside, rest @ ..]) => {
            return Some(of_optional(name, inside, rest.first().copied()));
        }
        _ => return None,
    }))
}

/// The number of characters, bytes or entries.
fn size(value: &Value) -> Result<Value, Fault> {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        _ => return Err(Fault::NoOverload),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

/// An optional value.
pub(super) fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(match value {
        Some(value) => OptionalValue::of(value),
        None => OptionalValue::none(),
    }))
}

/// A value as the optional that it is.
pub(super) fn inside(value: &Value) -> Option<&OptionalValue> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref(),
        _ => None,
    }
}

fn of_optional(name: &str, value: &Value, other: Option<&Value>) -> Result<Value, Fault> {
    let found = inside(value).ok_or(Fault::NoOverload)?.value();
    match (name, found, other) {
        ("hasValue", found, _) => Ok(Value::Bool(found.is_some())),
        ("or", Some(_), _) => Ok(value.clone()),
        (_, Some(found), _) => Ok(found.clone()),
        ("orValue" | "or", None, Some(other)) => Ok(other.clone()),
        _ => Err(Fault::from("optional.none() dereference")),
    }
}

/// The name of a value's type.
fn type_name(value: &Value) -> String {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Function(..) => "type",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Opaque(opaque) => opaque.runtime_type_name(),
        Value::Null => "null_type",
    }
    .to_owned()
}

/// Whether a format asks for more digits than anyone reads, each of which takes memory.
fn has_wide_precision(format: &str) -> bool {
    let mut parts = format.split("%.").skip(1);
    parts.any(|part| part.chars().take_while(char::is_ascii_digit).count() > 2)
}

/// Calls what `kube-cel` has under a name.
fn foreign(name: &str, target: Option<&Value>, arguments: &[Value]) -> Result<Value, Fault> {
    const NAMES: [&str; 4] = ["@0", "@1", "@2", "@3"];
    let mut scope = LIBRARY.new_inner_scope();
    let ident = |name: &str| Expression {
        id: 0,
        expr: Expr::Ident(name.to_owned()),
    };
    if let Some(target) = target {
        scope.add_variable_from_value("@target", target.clone());
    }
    for (name, argument) in NAMES.into_iter().zip(arguments) {
        scope.add_variable_from_value(name, argument.clone());
    }
    let call = Expression {
        id: 0,
        expr: Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: target.map(|_| Box::new(ident("@target"))),
            args: NAMES[..arguments.len().min(NAMES.len())]
                .iter()
                .map(|name| ident(name))
                .collect(),
        }),
    };
    Value::resolve(&call, &scope).map_err(|error| match error {
        ExecutionError::NoSuchOverload
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. } => Fault::NoOverload,
        ExecutionError::FunctionError { message, .. } => Fault::from(message),
        other => Fault::from(other.to_string()),
    })
}
