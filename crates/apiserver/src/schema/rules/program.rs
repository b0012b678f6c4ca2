//! The text of an expression → its tree.

use kube_cel::cel::common::ast::{EntryExpr, Expr};
use kube_cel::cel::parser::{Expression, Parser};

/// Longest expression, in bytes. Rules in use are a tenth of it.
const MAX_LENGTH: usize = 16 * 1024;

/// Deepest tree. The tree is walked recursively, on stacks of 2 MiB.
const MAX_DEPTH: usize = 128;

/// How much deeper a bracket makes the tree of the parser, compared with an operator.
const BRACKET: usize = 4;

/// Stack of the parser, in bytes; only what is used becomes memory.
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) source: String,
    pub(super) tree: Expression,
}

impl Program {
    /// Reads an expression; the error is in the words of the language's own compiler.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            let size = source.len();
            return Err(format!(
                "ERROR: <input>:-1:0: expression code point size exceeds limit: size: {size}, \
                 limit {MAX_LENGTH}"
            ));
        }
        if depth(source) > MAX_DEPTH {
            return Err(format!(
                "ERROR: <input>:-1:0: expression recursion limit exceeded: {MAX_DEPTH}"
            ));
        }
        Ok(Self {
            source: source.to_owned(),
            tree: parse(source)?,
        })
    }

    /// Whether the expression refers to a variable.
    pub(super) fn mentions(&self, variable: &str) -> bool {
        mentions(&self.tree, variable)
    }
}

/// Parses on a stack of its own: the parser takes many large frames for each level.
fn parse(source: &str) -> Result<Expression, String> {
    let read = || {
        let parser = Parser::new().enable_optional_syntax(true);
        parser.parse(source).map_err(|errors| errors.to_string())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK);
        let parsing = thread.spawn_scoped(scope, read);
        let parsing = parsing.map_err(|error| format!("cannot parse: {error}"))?;
        parsing
            .join()
            .unwrap_or_else(|_| Err("cannot parse".to_owned()))
    })
}

/// An upper bound for the depth of the tree that a text becomes: brackets that are open, and
/// operators that chain inside each of them. The parser itself would recurse too deep to say so.
fn depth(source: &str) -> usize {
    let (mut open, mut deepest) = (vec![BRACKET], 0);
    let mut quote = None;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(end), _) => quote = (c != end).then_some(end),
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => open.push(BRACKET),
            (None, ')' | ']' | '}') if open.len() > 1 => drop(open.pop()),
            (None, ',') => {
                if let Some(chain) = open.last_mut() {
                    *chain = BRACKET;
                }
            }
            (None, '&' | '|') if chars.peek() == Some(&c) => {
                chars.next();
                if let Some(chain) = open.last_mut() {
                    *chain = BRACKET;
                }
            }
            (None, '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '?') => {
                if let Some(chain) = open.last_mut() {
                    *chain += 1;
                }
            }
            _ => {}
        }
        deepest = deepest.max(open.iter().sum());
    }
    deepest
}

fn mentions(tree: &Expression, variable: &str) -> bool {
    let any = |trees: &[Expression]| trees.iter().any(|tree| mentions(tree, variable));
    match &tree.expr {
        Expr::Ident(name) => name == variable,
        Expr::Select(select) => mentions(&select.operand, variable),
        Expr::Call(call) => {
            call.target.as_ref().is_some_and(|t| mentions(t, variable)) || any(&call.args)
        }
        Expr::List(list) => any(&list.elements),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(e) => mentions(&e.key, variable) || mentions(&e.value, variable),
            EntryExpr::StructField(field) => mentions(&field.value, variable),
        }),
        Expr::Comprehension(c) => {
            mentions(&c.iter_range, variable)
                || mentions(&c.loop_step, variable)
                || mentions(&c.result, variable)
        }
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn syntax_errors_are_told_in_the_words_of_the_compiler() {
        let error = Program::parse("self = 42").unwrap_err();
        assert!(
            error.starts_with("ERROR: <input>:1:6: Syntax error: "),
            "{error}"
        );
    }

    #[test]
    fn hostile_texts_are_refused_before_they_are_parsed() {
        for text in [
            "(".repeat(5000),
            format!("1{}", "+1".repeat(5000)),
            format!("self{}", ".a".repeat(5000)),
            format!("{}true", "!".repeat(5000)),
            "'".repeat(20_000),
        ] {
            assert!(Program::parse(&text).unwrap_err().contains("limit"));
        }
        let wide = format!("true{}", " && self.a.b == 1".repeat(500));
        assert!(Program::parse(&wide).is_ok());
        let deep = format!("{}1{}", "(".repeat(30), ")".repeat(30));
        assert!(Program::parse(&deep).is_ok());
        let long = format!("1{}", " + 1".repeat(120));
        assert!(Program::parse(&long).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"[a-c.()\[\]{}?:'"\\+*/&|!<>=, 0-9-]{0,40}"#) {
            let _ = Program::parse(&text);
        }
    }
}
