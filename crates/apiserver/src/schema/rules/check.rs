//! Types and the greatest cost of an expression, before it ever runs.

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use kube_cel::cel::parser::Expression;

use super::cost;
use super::functions::{Class, FUNCTIONS, Function, qualified};
use super::program::Program;
use super::shape::{Kind, Shape};

/// What is known of an expression.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    pub(super) shape: Shape<'a>,
    pub(super) cost: u64,
}

/// Checks an expression with the given variables; the error is in the words of the language's own
/// compiler.
pub(super) fn check<'a>(
    program: &'a Program,
    variables: Vec<(&'a str, Shape<'a>)>,
) -> Result<Checked<'a>> {
    let mut checker = Checker {
        source: &program.source,
        variables,
        cost: 0,
    };
    let shape = checker.expression(&program.tree)?;
    let cost = checker.cost;
    Ok(Checked { shape, cost })
}

struct Checker<'a> {
    source: &'a str,
    variables: Vec<(&'a str, Shape<'a>)>,
    cost: u64,
}

type Result<T> = std::result::Result<T, String>;

impl<'a> Checker<'a> {
    fn expression(&mut self, tree: &'a Expression) -> Result<Shape<'a>> {
        match &tree.expr {
            Expr::Literal(literal) => Ok(self.literal(literal)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                let operand = self.expression(&select.operand)?;
                if select.test {
                    self.field(&operand, &select.field)?;
                    return Ok(Shape::of(Kind::Bool));
                }
                self.charge(cost::READ);
                self.field(&operand, &select.field)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                self.charge(cost::LIST);
                let mut item = Shape::of(Kind::Dyn);
                for element in &list.elements {
                    let element = self.expression(element)?;
                    item = item.clone().join(element).unwrap_or(Shape::of(Kind::Dyn));
                }
                Ok(Shape::list(item, list.elements.len() as u64))
            }
            Expr::Map(map) => {
                self.charge(cost::MAP);
                let dynamic = || Shape::of(Kind::Dyn);
                let (mut key, mut value) = (dynamic(), dynamic());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(self.error("{", "unsupported entry"));
                    };
                    let (k, v) = (self.expression(&entry.key)?, self.expression(&entry.value)?);
                    key = key.join(k).unwrap_or_else(dynamic);
                    value = value.join(v).unwrap_or_else(dynamic);
                }
                let kind = Kind::Map(Box::new(key), Box::new(value));
                let size = map.entries.len() as u64;
                Ok(Shape { kind, size })
            }
            Expr::Comprehension(loop_) => self.comprehension(loop_),
            Expr::Struct(_) | Expr::Unspecified => Err(self.error("{", "undeclared type")),
        }
    }

    fn literal(&self, literal: &LiteralValue) -> Shape<'a> {
        match literal {
            LiteralValue::String(text) => Shape::string(text.inner().len() as u64),
            LiteralValue::Bytes(_) => Shape {
                kind: Kind::Bytes,
                size: self.source.len() as u64,
            },
            LiteralValue::Boolean(_) => Shape::of(Kind::Bool),
            LiteralValue::Double(_) => Shape::of(Kind::Double),
            LiteralValue::Int(_) => Shape::of(Kind::Int),
            LiteralValue::UInt(_) => Shape::of(Kind::Uint),
            LiteralValue::Null => Shape::of(Kind::Null),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Shape<'a>> {
        self.charge(cost::READ);
        let known = self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name);
        match known {
            Some((_, shape)) => Ok(shape.clone()),
            None if TYPES.contains(&name) => Ok(Shape::of(Kind::Type)),
            None => Err(self.undeclared(name)),
        }
    }

    fn field(&self, operand: &Shape<'a>, field: &str) -> Result<Shape<'a>> {
        let found = operand.field(field);
        found.ok_or_else(|| match operand.kind {
            Kind::Object(..) | Kind::Metadata | Kind::Optional(_) => {
                self.error(field, &format!("undefined field '{field}'"))
            }
            _ => {
                let why = format!("type '{operand}' does not support field selection");
                self.error(field, &why)
            }
        })
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Shape<'a>> {
        if let Some(Expr::Ident(prefix)) = call.target.as_ref().map(|target| &target.expr)
            && !self.variables.iter().any(|(name, _)| name == prefix)
            && let Some(name) = qualified(prefix, &call.func_name)
        {
            let arguments = self.all(&call.args)?;
            return self.function(name, None, &arguments);
        }
        if matches!(call.func_name.as_str(), "optMap" | "optFlatMap")
            && let (Some(target), [variable, result]) = (&call.target, call.args.as_slice())
        {
            return self.opt_map(target, variable, result, &call.func_name);
        }
        if call.func_name == "_?_:_" {
            return self.conditional(&call.args);
        }
        let target = match &call.target {
            Some(target) => Some(self.expression(target)?),
            None => None,
        };
        let arguments = self.all(&call.args)?;
        match (target, arguments.as_slice()) {
            (None, [a, b]) if is_operator(&call.func_name) => {
                self.charge(cost::call(&call.func_name, &[a.size, b.size]));
                self.binary(&call.func_name, a, b, &call.args)
            }
            (None, [a]) if is_operator(&call.func_name) => {
                self.charge(cost::call(&call.func_name, &[a.size]));
                self.unary(&call.func_name, a)
            }
            (target, _) => self.function(&call.func_name, target, &arguments),
        }
    }

    fn all(&mut self, trees: &'a [Expression]) -> Result<Vec<Shape<'a>>> {
        trees.iter().map(|tree| self.expression(tree)).collect()
    }

    fn conditional(&mut self, arguments: &'a [Expression]) -> Result<Shape<'a>> {
        let [condition, yes, no] = arguments else {
            return Err(self.mismatch("_?_:_", &[]));
        };
        let condition = self.expression(condition)?;
        let before = self.cost;
        let yes = self.expression(yes)?;
        let first = std::mem::replace(&mut self.cost, before);
        let no = self.expression(no)?;
        self.cost = self.cost.max(first);
        let shapes = [condition, yes, no];
        let error = self.mismatch("_?_:_", &shapes);
        let [condition, yes, no] = shapes;
        if !condition.fits(&Shape::of(Kind::Bool)) {
            return Err(error);
        }
        yes.join(no).ok_or(error)
    }

    fn unary(&self, name: &str, a: &Shape<'a>) -> Result<Shape<'a>> {
        let fits = match name {
            "-_" => matches!(
                a.kind,
                Kind::Int | Kind::Double | Kind::Duration | Kind::Dyn
            ),
            _ => matches!(a.kind, Kind::Bool | Kind::Dyn),
        };
        match (fits, name) {
            (false, _) => Err(self.mismatch(name, std::slice::from_ref(a))),
            (true, "-_") => Ok(a.clone()),
            (true, _) => Ok(Shape::of(Kind::Bool)),
        }
    }

    fn binary(
        &self,
        name: &str,
        a: &Shape<'a>,
        b: &Shape<'a>,
        arguments: &'a [Expression],
    ) -> Result<Shape<'a>> {
        let (fits, result) = match name {
            "_&&_" | "_||_" => {
                let bool = Shape::of(Kind::Bool);
                (a.fits(&bool) && b.fits(&bool), bool)
            }
            "_==_" | "_!=_" => (a.fits(b), Shape::of(Kind::Bool)),
            "_<_" | "_<=_" | "_>_" | "_>=_" => (comparable(a, b), Shape::of(Kind::Bool)),
            "@in" => {
                let found = b.element().is_some_and(|element| element.fits(a));
                (found, Shape::of(Kind::Bool))
            }
            "_[_]" => match index(a, b) {
                Some(element) => (true, element),
                None => (false, Shape::of(Kind::Dyn)),
            },
            "_[?_]" | "_?._" => {
                let element = match (&arguments[1].expr, name) {
                    (Expr::Literal(LiteralValue::String(field)), "_?._") => {
                        Some(self.field(a, field.inner())?)
                    }
                    _ => index(a, b),
                };
                let flat = match element {
                    Some(Shape {
                        kind: Kind::Optional(inner),
                        ..
                    }) => Some(*inner),
                    other => other,
                };
                match flat {
                    Some(element) => (true, Shape::of(Kind::Optional(Box::new(element)))),
                    None => (false, Shape::of(Kind::Dyn)),
                }
            }
            _ => match arithmetic(name, a, b) {
                Some(result) => (true, result),
                None => (false, Shape::of(Kind::Dyn)),
            },
        };
        if fits {
            Ok(result)
        } else {
            Err(self.mismatch(name, &[a.clone(), b.clone()]))
        }
    }

    fn function(
        &mut self,
        name: &str,
        target: Option<Shape<'a>>,
        arguments: &[Shape<'a>],
    ) -> Result<Shape<'a>> {
        let mut forms = FUNCTIONS
            .iter()
            .filter(|function| function.name == name)
            .peekable();
        if forms.peek().is_none() {
            return Err(self.undeclared(name));
        }
        let Some(form) = forms.find(|form| fits(form, target.as_ref(), arguments)) else {
            let list: Vec<_> = arguments.iter().map(ToString::to_string).collect();
            let on = target
                .map(|target| format!("{target}."))
                .unwrap_or_default();
            let why = format!(
                "found no matching overload for '{name}' applied to '{on}({})'",
                list.join(", ")
            );
            return Err(self.error(name, &why));
        };
        let operands: Vec<_> = target.iter().chain(arguments).collect();
        let mut sizes: Vec<_> = operands.iter().map(|shape| shape.size).collect();
        if name == "join"
            && let Some(item) = operands[0].element()
        {
            let separator = sizes.get(1).copied().unwrap_or_default();
            sizes = vec![sizes[0], item.size.saturating_add(separator)];
        }
        self.charge(cost::call(name, &sizes));
        Ok(result(form, &operands))
    }

    fn opt_map(
        &mut self,
        target: &'a Expression,
        variable: &'a Expression,
        result: &'a Expression,
        name: &str,
    ) -> Result<Shape<'a>> {
        let target = self.expression(target)?;
        let Expr::Ident(variable) = &variable.expr else {
            return Err(self.error(name, "argument must be a simple name"));
        };
        let inner = match target.kind {
            Kind::Optional(inner) => *inner,
            Kind::Dyn => target,
            _ => return Err(self.mismatch(name, &[target])),
        };
        self.variables.push((variable, inner));
        let result = self.expression(result);
        self.variables.pop();
        let result = result?;
        Ok(match result.kind {
            Kind::Optional(_) if name == "optFlatMap" => result,
            _ => Shape::of(Kind::Optional(Box::new(result))),
        })
    }

    fn comprehension(&mut self, loop_: &'a ComprehensionExpr) -> Result<Shape<'a>> {
        let range = self.expression(&loop_.iter_range)?;
        let Some(element) = range.element() else {
            let why = format!(
                "expression of type '{range}' cannot be range of a comprehension (must be list, \
                 map, or dynamic)"
            );
            return Err(self.error(&loop_.iter_var, &why));
        };
        let start = self.expression(&loop_.accu_init)?;
        self.variables.push((&loop_.accu_var, start));
        self.variables.push((&loop_.iter_var, element));
        let before = std::mem::take(&mut self.cost);
        let step = self
            .expression(&loop_.loop_cond)
            .and_then(|_| self.expression(&loop_.loop_step));
        let once = std::mem::replace(&mut self.cost, before);
        self.variables.pop();
        self.variables.pop();
        let step = step?;
        self.charge(once.saturating_mul(range.size));
        let outcome = match step.kind {
            kind @ Kind::List(_) => Shape {
                kind,
                size: range.size,
            },
            _ => step,
        };
        self.variables.push((&loop_.accu_var, outcome));
        let result = self.expression(&loop_.result);
        self.variables.pop();
        result
    }

    fn charge(&mut self, cost: u64) {
        self.cost = self.cost.saturating_add(cost);
    }

    fn undeclared(&self, name: &str) -> String {
        let why = format!("undeclared reference to '{name}' (in container '')");
        self.error(name, &why)
    }

    fn mismatch(&self, name: &str, arguments: &[Shape<'a>]) -> String {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let arguments = arguments.join(", ");
        let why = format!("found no matching overload for '{name}' applied to '({arguments})'");
        self.error(name.trim_matches('_').trim_start_matches('@'), &why)
    }

    /// An error at the first place where `token` stands.
    fn error(&self, token: &str, why: &str) -> String {
        let (mut line, mut column) = (1, 0);
        let offset = self.source.find(token).unwrap_or_default();
        for c in self.source[..offset].chars() {
            (line, column) = if c == '\n' {
                (line + 1, 0)
            } else {
                (line, column + 1)
            };
        }
        let text = self.source.lines().nth(line - 1).unwrap_or_default();
        let dots = ".".repeat(column);
        format!(
            "ERROR: <input>:{line}:{}: {why}\n | {text}\n | {dots}^",
            column + 1
        )
    }
}

/// Names that stand for types.
pub(super) const TYPES: [&str; 13] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "net.IP",
];

fn is_operator(name: &str) -> bool {
    name.contains('_') && name != "null_type" || name.starts_with('@')
}

fn comparable(a: &Shape<'_>, b: &Shape<'_>) -> bool {
    let numeric = |shape: &Shape<'_>| matches!(shape.kind, Kind::Int | Kind::Uint | Kind::Double);
    let ordered = |shape: &Shape<'_>| {
        numeric(shape)
            || matches!(
                shape.kind,
                Kind::Bool
                    | Kind::String
                    | Kind::Bytes
                    | Kind::Timestamp
                    | Kind::Duration
                    | Kind::Dyn
            )
    };
    ordered(a) && ordered(b) && (a.fits(b) || numeric(a) && numeric(b))
}

fn index<'a>(a: &Shape<'a>, b: &Shape<'a>) -> Option<Shape<'a>> {
    match &a.kind {
        Kind::Dyn => Some(a.clone()),
        Kind::List(item) => {
            let whole = matches!(b.kind, Kind::Int | Kind::Uint | Kind::Dyn);
            whole.then(|| (**item).clone())
        }
        Kind::Map(key, value) => key.fits(b).then(|| (**value).clone()),
        Kind::Optional(inner) => {
            index(inner, b).map(|inner| Shape::of(Kind::Optional(Box::new(inner))))
        }
        _ => None,
    }
}

fn arithmetic<'a>(name: &str, a: &Shape<'a>, b: &Shape<'a>) -> Option<Shape<'a>> {
    let size = a.size.saturating_add(b.size);
    let kind = match (name, &a.kind, &b.kind) {
        (_, Kind::Int, Kind::Int) => Kind::Int,
        (_, Kind::Uint, Kind::Uint) => Kind::Uint,
        ("_+_" | "_-_" | "_*_" | "_/_", Kind::Double, Kind::Double) => Kind::Double,
        ("_+_", Kind::String, Kind::String) => return Some(Shape::string(size)),
        ("_+_", Kind::Bytes, Kind::Bytes) => {
            let kind = Kind::Bytes;
            return Some(Shape { kind, size });
        }
        ("_+_", Kind::List(x), Kind::List(y)) => {
            let item = (**x).clone().join((**y).clone())?;
            return Some(Shape::list(item, size));
        }
        ("_+_" | "_-_", Kind::Timestamp, Kind::Duration)
        | ("_+_", Kind::Duration, Kind::Timestamp) => Kind::Timestamp,
        ("_+_" | "_-_", Kind::Duration, Kind::Duration)
        | ("_-_", Kind::Timestamp, Kind::Timestamp) => Kind::Duration,
        (_, Kind::Dyn, _) | (_, _, Kind::Dyn) => {
            let kind = Kind::Dyn;
            return Some(Shape { kind, size });
        }
        _ => return None,
    };
    Some(Shape::of(kind))
}

fn fits(form: &Function, target: Option<&Shape<'_>>, arguments: &[Shape<'_>]) -> bool {
    let on = match (form.target, target) {
        (None, None) => true,
        (Some(class), Some(shape)) => is(class, shape),
        _ => false,
    };
    let mut pairs = form.arguments.iter().zip(arguments);
    on && form.arguments.len() == arguments.len() && pairs.all(|(class, shape)| is(*class, shape))
}

fn is(class: Class, shape: &Shape<'_>) -> bool {
    match (class, &shape.kind) {
        (Class::Any | Class::Element | Class::Inner, _)
        | (_, Kind::Dyn)
        | (Class::Bool, Kind::Bool)
        | (Class::Int, Kind::Int)
        | (Class::Uint, Kind::Uint)
        | (Class::Double, Kind::Double)
        | (Class::String, Kind::String)
        | (Class::Bytes, Kind::Bytes)
        | (Class::Timestamp, Kind::Timestamp)
        | (Class::Duration, Kind::Duration)
        | (Class::Type, Kind::Type)
        | (Class::List, Kind::List(_))
        | (Class::Map, Kind::Map(..))
        | (Class::Optional, Kind::Optional(_)) => true,
        (Class::Strings, Kind::List(item)) => matches!(item.kind, Kind::String | Kind::Dyn),
        (Class::Opaque(name), Kind::Opaque(found)) => name == *found,
        _ => false,
    }
}

/// What a call gives, for operands that fit.
fn result<'a>(form: &Function, operands: &[&Shape<'a>]) -> Shape<'a> {
    let largest = operands.iter().map(|shape| shape.size).max().unwrap_or(1);
    let first = operands.first();
    let kind = match form.result {
        Class::Bool => Kind::Bool,
        Class::Int => Kind::Int,
        Class::Uint => Kind::Uint,
        Class::Double => Kind::Double,
        Class::Bytes => Kind::Bytes,
        Class::Timestamp => Kind::Timestamp,
        Class::Duration => Kind::Duration,
        Class::Type => Kind::Type,
        Class::String if matches!(form.name, "replace" | "join" | "format") => {
            let sizes = operands.iter().map(|shape| shape.size.max(1));
            return Shape::string(sizes.fold(1, u64::saturating_mul));
        }
        Class::String => return Shape::string(largest),
        Class::Strings => return Shape::list(Shape::string(largest), largest),
        Class::List => return Shape::list(Shape::of(Kind::Dyn), largest),
        Class::Map => {
            let dynamic = || Box::new(Shape::string(largest));
            let values = Box::new(Shape::list(*dynamic(), largest));
            Kind::Map(dynamic(), values)
        }
        Class::Any => match form.name {
            "dyn" => Kind::Dyn,
            _ => return first.map_or(Shape::of(Kind::Dyn), |shape| (*shape).clone()),
        },
        Class::Element => {
            let element = first.and_then(|list| list.element());
            return element.unwrap_or(Shape::of(Kind::Dyn));
        }
        Class::Optional => match first.map(|shape| &shape.kind) {
            Some(kind @ Kind::Optional(_)) => kind.clone(),
            _ => Kind::Optional(Box::new(Shape::of(Kind::Dyn))),
        },
        Class::Inner => match (form.target, first) {
            (None, Some(shape)) => Kind::Optional(Box::new((*shape).clone())),
            (
                Some(_),
                Some(Shape {
                    kind: Kind::Optional(inner),
                    ..
                }),
            ) => {
                return (**inner).clone();
            }
            _ => Kind::Dyn,
        },
        Class::Opaque(name) => Kind::Opaque(name),
    };
    Shape {
        kind,
        size: largest,
    }
}
