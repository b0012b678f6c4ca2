//! The part of JSONPath that CRD columns use: `.a.b`, `['x']`, `[0]`, `[-1]`, `[*]`, `.*` and
//! filters such as `[?(@.type=="Ready")]`.

use serde_json::Value;

/// Longest path, in bytes.
const MAX_LENGTH: usize = 4 * 1024;

/// Most filters inside one another.
const MAX_DEPTH: usize = 16;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// Elements for which the comparison holds, or the path exists.
    Filter(Path, Option<(Operator, Value)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
}

impl Path {
    /// Parses `.status.phase`, with or without the braces of a template; `None` if it is no path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        Self::within(text, MAX_DEPTH)
    }

    /// Parses a path in which filters may be so many levels deep.
    fn within(text: &str, depth: usize) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = if rest.starts_with('[') {
                bracket(rest, depth)?
            } else {
                field(rest, depth)?
            };
            steps.push(step);
            rest = after;
        }
        Some(Self(steps))
    }

    /// Every value at the path, in order.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| step.apply(value))
                .collect();
        }
        found
    }
}

/// `.name` or `.*`; a backslash makes the next character part of the name.
fn field(text: &str, depth: usize) -> Option<(Step, &str)> {
    let text = text.strip_prefix('.').unwrap_or(text);
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            c => name.push(c),
        }
    }
    let rest = &text[end..];
    match name.as_str() {
        // A lone `.` is the object itself: `.` and `.[0]`.
        "" if rest.starts_with('[') => bracket(rest, depth),
        "" => None,
        "*" => Some((Step::All, rest)),
        _ => Some((Step::Field(name), rest)),
    }
}

/// `[…]`.
fn bracket(text: &str, depth: usize) -> Option<(Step, &str)> {
    let end = closing(text)?;
    let (inner, rest) = (text[1..end].trim(), &text[end + 1..]);
    if inner == "*" {
        return Some((Step::All, rest));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return Some((filter_step(filter, depth.checked_sub(1)?)?, rest));
    }
    if let Some(name) = unquoted(inner) {
        return Some((Step::Field(name.to_owned()), rest));
    }
    Some((Step::Index(inner.parse().ok()?), rest))
}

/// Offset of the bracket that closes the one at the start; quotes hide brackets.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) => quote = (c != open).then_some(open),
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn filter_step(text: &str, depth: usize) -> Option<Step> {
    for (symbol, operator) in [("==", Operator::Equal), ("!=", Operator::NotEqual)] {
        if let Some((left, right)) = text.split_once(symbol) {
            let path = Path::within(left.trim().strip_prefix('@')?, depth)?;
            let right = right.trim();
            let value = match unquoted(right) {
                Some(text) => Value::from(text),
                None => serde_json::from_str(right).ok()?,
            };
            return Some(Step::Filter(path, Some((operator, value))));
        }
    }
    Some(Step::Filter(
        Path::within(text.trim().strip_prefix('@')?, depth)?,
        None,
    ))
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"']
        .iter()
        .find_map(|&q| text.strip_prefix(q)?.strip_suffix(q))
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                let index = usize::try_from(*index).ok().or_else(|| {
                    items
                        .len()
                        .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
                });
                index
                    .and_then(|index| items.get(index))
                    .into_iter()
                    .collect()
            }
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            (Self::Filter(path, comparison), Value::Array(items)) => items
                .iter()
                .filter(|item| {
                    let found = path.find(item);
                    match comparison {
                        None => !found.is_empty(),
                        Some((Operator::Equal, value)) => found.contains(&value),
                        Some((Operator::NotEqual, value)) => found.iter().any(|f| *f != value),
                    }
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let object = json!({"metadata": {"annotations": {"a.b/c": "dotted"}},
            "spec": {"list": [1, 2, 3], "map": {"x": {"y": "deep"}}},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Bound", "status": "False"}]}});
        let cases = [
            (".spec.map.x.y", json!(["deep"])),
            ("{.spec.map.x.y}", json!(["deep"])),
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([3])),
            (".spec.list[9]", json!([])),
            (".spec.list[-9]", json!([])),
            (".spec.list[*]", json!([1, 2, 3])),
            (".metadata.annotations['a.b/c']", json!(["dotted"])),
            (r".metadata.annotations.a\.b/c", json!(["dotted"])),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type=='Bound')].status",
                json!(["False"]),
            ),
            (
                r#".status.conditions[?(@.type!="Ready")].type"#,
                json!(["Bound"]),
            ),
            (".status.conditions[?(@.reason)].type", json!([])),
            (".missing.path", json!([])),
        ];
        for (path, expected) in cases {
            let found: Vec<_> = Path::parse(path)
                .unwrap()
                .find(&object)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(Value::from(found), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path() {
        for text in [".a[", ".a[x]", ".a..b", ".a[?(type)]"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }

    #[test]
    fn filters_inside_one_another_end() {
        let nested = |depth: usize| format!(".a{}{}", "[?(@.b".repeat(depth), ")]".repeat(depth));
        assert!(Path::parse(&nested(16)).is_some());
        assert_eq!(Path::parse(&nested(17)), None);
        assert_eq!(Path::parse(&nested(20_000)), None);
        assert_eq!(Path::parse(&".a".repeat(3000)), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"[.\[\]a*@?()='"\\0-9-]{0,20}"#) {
            let _ = Path::parse(&text);
        }
    }
}
