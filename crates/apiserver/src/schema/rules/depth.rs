//! How deep the tree of an expression is: a bound from its text alone, and the measure itself.

use kube_cel::cel::common::ast::{EntryExpr, Expr};
use kube_cel::cel::parser::Expression;

/// How much deeper a bracket makes the tree of the parser, compared with an operator.
const BRACKET: usize = 4;

/// The depth of a tree.
pub(super) fn measure(tree: &Expression) -> usize {
    let below = children(tree).into_iter().map(measure).max();
    1 + below.unwrap_or_default()
}

/// What an expression consists of.
pub(super) fn children(tree: &Expression) -> Vec<&Expression> {
    match &tree.expr {
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|e| entry(&e.expr)).collect(),
        Expr::Struct(it) => it.entries.iter().flat_map(|e| entry(&e.expr)).collect(),
        Expr::Comprehension(c) => vec![
            &c.iter_range,
            &c.accu_init,
            &c.loop_cond,
            &c.loop_step,
            &c.result,
        ],
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn entry(entry: &EntryExpr) -> Vec<&Expression> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// A bound for the depth that the parser will go to: brackets that are open, and operators that
/// chain inside each of them. It stops at `limit`; none if a string does not end as it should,
/// because then the parser sees brackets where this does not.
pub(super) fn bound(source: &str, limit: usize) -> Option<usize> {
    let mut levels = vec![BRACKET];
    let (mut total, mut deepest) = (BRACKET, BRACKET);
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let nested = levels.len() > 1;
        let chain = levels.last_mut()?;
        let mut step = first.len_utf8();
        match first {
            '\'' | '"' => step = rest.len() - after_string(rest, false)?.len(),
            '`' => step = escaped_name(rest)?,
            '/' if rest.starts_with("//") => step = rest.find('\n').unwrap_or(rest.len()),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => {
                let (word, after) = word(rest);
                let after = if after.starts_with(['\'', '"']) {
                    // Other words than prefixes cannot stand before a string.
                    match word {
                        "r" | "R" | "br" | "bR" | "Br" | "BR" => after_string(after, true)?,
                        "b" | "B" => after_string(after, false)?,
                        _ => return None,
                    }
                } else {
                    after
                };
                let deeper = usize::from(word == "in");
                *chain += deeper;
                total += deeper;
                step = rest.len() - after.len();
            }
            '(' | '[' | '{' => {
                let indexed = usize::from(first == '[');
                *chain += indexed;
                levels.push(BRACKET);
                total += BRACKET + indexed;
            }
            ')' | ']' | '}' if nested => total -= levels.pop()?,
            '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '?' => {
                *chain += 1;
                total += 1;
            }
            ',' | '&' | '|' if first == ',' || rest[1..].starts_with(first) => {
                total -= *chain - BRACKET;
                *chain = BRACKET;
            }
            _ => {}
        }
        deepest = deepest.max(total);
        if deepest > limit {
            break;
        }
        rest = &rest[step..];
    }
    Some(deepest)
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

/// The length of the name in backquotes at the start.
fn escaped_name(text: &str) -> Option<usize> {
    let (name, _) = text[1..].split_once('`')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
    name.chars().all(fits).then_some(name.len() + 2)
}

/// What comes after the string at the start.
fn after_string(text: &str, raw: bool) -> Option<&str> {
    let one = &text[..1];
    let long = text[1..].starts_with(one) && text[2..].starts_with(one);
    let end = if long { &text[..3] } else { one };
    let mut rest = &text[end.len()..];
    loop {
        if let Some(after) = rest.strip_prefix(end) {
            return Some(after);
        }
        let step = match rest.chars().next()? {
            '\\' if !raw => escape(rest)?,
            '\n' | '\r' if !long => return None,
            c => c.len_utf8(),
        };
        rest = &rest[step..];
    }
}

/// The length of the escape sequence at the start.
fn escape(text: &str) -> Option<usize> {
    let digits = |count: usize, radix: u32| {
        let digits = text.get(2..2 + count)?;
        let fit = digits.chars().all(|c| c.is_digit(radix));
        fit.then_some(2 + count)
    };
    match text.chars().nth(1)? {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => Some(2),
        'x' | 'X' => digits(2, 16),
        'u' => digits(4, 16),
        'U' => digits(8, 16),
        '0'..='3' => digits(2, 8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_and_comments_hide_brackets_only_where_they_do_for_the_parser() {
        let shallow = [
            r"r'((((\'",
            r"b'(((('",
            "'''((\n(('''",
            r#""((((\"((((""#,
            "// ((((",
            r"'\x28\u0028\050'",
        ];
        for text in shallow {
            assert_eq!(bound(text, 1000), Some(BRACKET), "{text}");
        }
        for text in [r"r'\' + ((((1))))", "//'\n((((1))))", "'' + ((((1))))"] {
            assert!(bound(text, 1000) >= Some(5 * BRACKET), "{text}");
        }
        for text in [
            "'", "'a\nb'", r"'\q'", "'''a''", "x'a'", "1r'a'", "`a", "''''",
        ] {
            assert_eq!(bound(text, 1000), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"[rb'"\\/\n`(\[,&|.äx0in]{0,40}"#) {
            let _ = bound(&text, 1000);
        }
    }
}
