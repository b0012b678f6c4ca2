//! `metadata.name=a,status.phase!=Running`

use serde_json::Value;

use super::{MOST, SelectorError};
use crate::kind::Kind;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// A conjunction of tests on the few fields that a kind can be selected by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads the text form, in which `\` takes the meaning from a following `,`, `=` or `\`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let at = part.find(['=', '!']).ok_or_else(|| {
                SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            })?;
            let (field, rest) = part.split_at(at);
            let (equal, value) = match (rest.strip_prefix("!="), rest.strip_prefix("==")) {
                (Some(value), _) => (false, value),
                (_, Some(value)) => (true, value),
                _ => (true, rest.strip_prefix('=').unwrap_or_default()),
            };
            terms.push(Term {
                field: field.trim().into(),
                value: unescape(value)?,
                equal,
            });
            if terms.len() > MOST {
                return Err(SelectorError::too_many());
            }
        }
        Ok(Self { terms })
    }

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether it asks for nothing but name and namespace.
    pub fn is_of_place(&self) -> bool {
        self.terms
            .iter()
            .all(|term| term.field == NAME || term.field == NAMESPACE)
    }

    /// Whether a name and a namespace fulfil every term that asks for them.
    pub fn matches_place(&self, namespace: &str, name: &str) -> bool {
        self.terms.iter().all(|term| match term.field.as_str() {
            NAME => (name == term.value) == term.equal,
            NAMESPACE => (namespace == term.value) == term.equal,
            _ => true,
        })
    }

    /// Also asks for a name.
    #[must_use]
    pub fn and_name(mut self, name: &str) -> Self {
        self.terms.push(Term {
            field: NAME.into(),
            value: name.into(),
            equal: true,
        });
        self
    }

    /// Refuses fields that the kind cannot be selected by.
    pub fn check(&self, kind: &Kind) -> Result<(), SelectorError> {
        let known = fields(kind, &serde_json::json!({"metadata": {}}));
        let unknown = self
            .terms
            .iter()
            .find(|term| !known.iter().any(|(name, _)| *name == term.field));
        match unknown {
            None => Ok(()),
            Some(term) => Err(SelectorError(format!(
                "field label not supported: {}",
                term.field
            ))),
        }
    }

    /// Whether an object of the kind fulfils every term.
    pub fn matches(&self, kind: &Kind, object: &Value) -> bool {
        if self.is_empty() {
            return true;
        }
        let fields = fields(kind, object);
        self.terms.iter().all(|term| {
            let found = fields.iter().find(|(name, _)| *name == term.field);
            let value = found.map_or("", |(_, value)| value.as_str());
            (value == term.value) == term.equal
        })
    }
}

fn fields<'a>(kind: &'a Kind, object: &Value) -> Vec<(&'a str, String)> {
    let text = |path| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut fields = kind
        .hooks
        .fields
        .map(|fields| fields(object))
        .unwrap_or_default();
    fields.extend(kind.selectable.iter().map(|path| {
        let steps = path.trim_start_matches('.').split('.');
        let found = steps.fold(object, |value, step| &value[step]);
        let value = match found {
            Value::Null | Value::Object(_) | Value::Array(_) => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (path.trim_start_matches('.'), value)
    }));
    fields.push((NAME, text("/metadata/name")));
    if kind.namespaced {
        fields.push((NAMESPACE, text("/metadata/namespace")));
    }
    fields
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                _ => {
                    return Err(SelectorError(format!(
                        "invalid field selector value '{value}'"
                    )));
                }
            },
            '=' | '!' => {
                return Err(SelectorError(format!(
                    "invalid field selector value '{value}'"
                )));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terms_are_split_and_unescaped() {
        let selector = FieldSelector::parse("metadata.name=a,status.phase!=x\\,y,b==c").unwrap();
        let terms: Vec<_> = selector
            .terms
            .iter()
            .map(|t| (t.field.as_str(), t.value.as_str(), t.equal))
            .collect();
        assert_eq!(
            terms,
            [
                ("metadata.name", "a", true),
                ("status.phase", "x,y", false),
                ("b", "c", true)
            ]
        );
        assert!(FieldSelector::parse("nothing").is_err());
        assert!(FieldSelector::parse("").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
