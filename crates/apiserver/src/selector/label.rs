//! `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`

use serde_json::Value;

use super::{MOST, SelectorError};
use crate::meta::names;
use crate::schema::cause;

/// A conjunction of requirements on labels. The default matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl LabelSelector {
    /// Reads the text form. Empty text matches everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: text.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            if requirements.len() > MOST {
                return Err(SelectorError::too_many());
            }
            if !parser.take(",") && !parser.rest.is_empty() {
                return Err(parser.unexpected("',' or the end"));
            }
        }
        Ok(Self { requirements })
    }

    /// Reads the form that objects carry: `matchLabels` and `matchExpressions`. None where it is
    /// malformed.
    pub fn from_value(selector: &Value) -> Option<Self> {
        let mut requirements = Vec::new();
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            requirements.push(Requirement {
                key: key.clone(),
                test: Test::In(vec![value.as_str()?.into()]),
            });
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten();
            let values: Vec<String> = values
                .map(|value| value.as_str().map(Into::into))
                .collect::<Option<_>>()?;
            let test = match expression["operator"].as_str()? {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Missing,
                _ => return None,
            };
            requirements.push(Requirement {
                key: expression["key"].as_str()?.into(),
                test,
            });
        }
        Some(Self { requirements })
    }

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object's labels fulfil every requirement.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.accepts(|key| labels?.get(key)?.as_str())
    }

    /// Whether the labels that `label` finds by their keys fulfil every requirement.
    pub fn accepts<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(label(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        let listed = |values: &[String]| value.is_some_and(|v| values.iter().any(|w| w == v));
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(values) => listed(values),
            Test::NotIn(values) => !listed(values),
            Test::Above(bound) => number().is_some_and(|n| n > *bound),
            Test::Below(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

/// A text that has no faults; they are told as those of an object would be.
fn accepted(text: &str, place: &str, faults: &[String]) -> Result<String, SelectorError> {
    if faults.is_empty() {
        return Ok(text.into());
    }
    let cause = cause::invalid(place, &text.into(), &faults.join("; "));
    Err(SelectorError(format!("{place}: {}", cause.message)))
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.take("!") {
            return Ok(Requirement {
                key: self.key()?,
                test: Test::Missing,
            });
        }
        let key = self.key()?;
        let test = if self.take("==") || self.take("=") {
            Test::In(vec![self.value(&key, 0)?])
        } else if self.take("!=") {
            Test::NotIn(vec![self.value(&key, 0)?])
        } else if self.take(">") {
            Test::Above(self.number()?)
        } else if self.take("<") {
            Test::Below(self.number()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else {
            match self.word() {
                "in" => Test::In(self.values(&key)?),
                "notin" => Test::NotIn(self.values(&key)?),
                _ => return Err(self.unexpected("an operator: =, ==, !=, in, notin, > or <")),
            }
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.word();
        if key.is_empty() {
            return Err(self.unexpected("a label key"));
        }
        accepted(key, "<nil>", &names::qualified_name(key))
    }

    /// A value of a key: the only one, or one of several.
    fn value(&mut self, key: &str, index: usize) -> Result<String, SelectorError> {
        let value = self.word();
        let place = format!("values[{index}][{key}]");
        accepted(value, &place, &names::label_value(value))
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let word = self.word();
        word.parse()
            .map_err(|_| SelectorError(format!("\"{word}\" is not an integer")))
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        if !self.take("(") {
            return Err(self.unexpected("'('"));
        }
        let mut values = vec![self.value(key, 0)?];
        while self.take(",") {
            values.push(self.value(key, values.len())?);
            if values.len() > MOST {
                return Err(SelectorError::too_many());
            }
        }
        if self.take(")") {
            Ok(values)
        } else {
            Err(self.unexpected("',' or ')'"))
        }
    }

    /// Takes the characters up to white space or punctuation.
    fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || "=!<>(),".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn unexpected(&self, wanted: &str) -> SelectorError {
        let found = if self.rest.is_empty() {
            "the end"
        } else {
            self.rest
        };
        SelectorError(format!("found '{found}', expected: {wanted}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn matches(selector: &str, labels: &Value) -> bool {
        let object = json!({"metadata": {"labels": labels}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn each_operator_selects() {
        let labels = json!({"app": "web", "tier": "a", "n": "5"});
        for selector in [
            "",
            "app",
            "app=web",
            "app == web",
            "app!=db",
            "other!=x",
            "app in (db, web)",
            "app notin (db)",
            "!other",
            "n>4,n<6",
            " app = web , tier in (a) ",
        ] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in [
            "!app",
            "app=db",
            "app!=web",
            "other",
            "app in (db)",
            "n>5",
            "app>1",
        ] {
            assert!(!matches(selector, &labels), "{selector}");
        }
        assert!(matches("a=", &json!({"a": ""})));
        assert!(!matches("app", &Value::Null));
    }

    #[test]
    fn nonsense_is_refused() {
        for selector in [
            "=a", "a in", "a in (", "a in (b", "a b", "a=b c", "a=b)", "a>b", "-=b",
        ] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn equality_selects_exactly_its_value(
            key in "[a-z]([a-z0-9.]{0,8}[a-z0-9])?",
            value in "[a-z0-9]{1,9}",
            other in "[a-z0-9]{1,9}",
        ) {
            let labels = json!({ key.clone(): other.clone() });
            prop_assert_eq!(matches(&format!("{key}={value}"), &labels), value == other);
            prop_assert_eq!(matches(&format!("{key} notin ({value})"), &labels), value != other);
        }
    }
}
