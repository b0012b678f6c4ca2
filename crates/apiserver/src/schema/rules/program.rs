//! The text of an expression → its tree.

use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::parser::{Expression, Parser};

use super::depth;

/// Longest expression, in bytes. Rules in use are a tenth of it.
const MAX_LENGTH: usize = 16 * 1024;

/// Deepest tree. The tree is walked recursively, on stacks of 2 MiB.
const MAX_DEPTH: usize = 128;

/// Stack of the parser, in bytes; only what is used becomes memory.
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) source: String,
    pub(super) tree: Expression,
}

impl Program {
    /// Reads an expression, [on a large stack](on_large_stack); the error is in the words of the
    /// language's own compiler.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_LENGTH {
            let size = source.len();
            return Err(format!(
                "ERROR: <input>:-1:0: expression code point size exceeds limit: size: {size}, \
                 limit {MAX_LENGTH}"
            ));
        }
        let too_deep =
            || format!("ERROR: <input>:-1:0: expression recursion limit exceeded: {MAX_DEPTH}");
        match depth::bound(source, MAX_DEPTH) {
            None => return Err("ERROR: <input>:-1:0: Syntax error: unfinished string".to_owned()),
            Some(depth) if depth > MAX_DEPTH => return Err(too_deep()),
            Some(_) => {}
        }
        let parser = Parser::new().enable_optional_syntax(true);
        let tree = parser.parse(source).map_err(|errors| errors.to_string())?;
        // The text tells the depth only roughly. A tree that is too deep must not leave this stack.
        if depth::measure(&tree) > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(Self {
            source: source.to_owned(),
            tree,
        })
    }

    /// Whether the expression refers to a variable.
    pub(super) fn mentions(&self, variable: &str) -> bool {
        mentions(&self.tree, variable)
    }
}

/// Does some work on a stack of its own: the parser takes many large frames for each level. When
/// there is no thread for it, or it panics, the work is left undone.
pub(super) fn on_large_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK);
        let thread = thread.spawn_scoped(scope, work);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the parser of validation rules panicked"),
            Err(error) => tracing::error!(%error, "no thread for the parser of validation rules"),
        }
    });
}

fn mentions(tree: &Expression, variable: &str) -> bool {
    matches!(&tree.expr, Expr::Ident(name) if name == variable)
        || depth::children(tree)
            .into_iter()
            .any(|tree| mentions(tree, variable))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(source: &str) -> Result<Program, String> {
        let mut parsed = Err("not parsed".to_owned());
        on_large_stack(|| parsed = Program::parse(source));
        parsed
    }

    #[test]
    fn syntax_errors_are_told_in_the_words_of_the_compiler() {
        let error = parse("self = 42").unwrap_err();
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
            format!("1{}", " in 1".repeat(3000)),
            format!("self{}", "[0]".repeat(5000)),
            format!("//'\n1{}", "+1".repeat(5000)),
            format!("r'\\' + {}", "(".repeat(5000)),
        ] {
            assert!(parse(&text).unwrap_err().contains("limit"));
        }
        let ternaries = format!("{}1", "1==1&&true?1:".repeat(1000));
        assert!(parse(&ternaries).is_err());
        let wide = format!("true{}", " && self.a.b == 1".repeat(500));
        assert!(parse(&wide).is_ok());
        let deep = format!("{}1{}", "(".repeat(30), ")".repeat(30));
        assert!(parse(&deep).is_ok());
        let long = format!("1{}", " + 1".repeat(120));
        assert!(parse(&long).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"[a-c.()\[\]{}?:'"\\+*/&|!<>=, 0-9-]{0,40}"#) {
            let _ = parse(&text);
        }
    }
}
