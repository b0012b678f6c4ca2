//! Regular expressions of schemas and rules, in the syntax of Go's `regexp`.

mod syntax;

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

/// Most patterns that are remembered. When there are more, remembering begins anew.
const REMEMBERED: usize = 64;

/// Most bytes of a compiled pattern.
const SIZE_MAX: usize = 2 * 1024 * 1024;

/// Most bytes of a compiled pattern that an object brings along.
const TRANSIENT_SIZE_MAX: usize = 128 * 1024;

/// Longest pattern that an object may bring along, in bytes.
const TRANSIENT_MAX: usize = 1024;

/// Patterns seen lately. CRDs repeat a few (that of quantities above all) hundreds of times.
static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// A compiled regular expression, equal to others of the same text.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern of a definition, once however often it occurs.
    ///
    /// # Errors
    /// It is no pattern in Go, or too large.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        let known = COMPILED.lock().get(source).cloned();
        let regex = if let Some(regex) = known {
            regex
        } else {
            let regex = compile(source, SIZE_MAX)?;
            let mut compiled = COMPILED.lock();
            if compiled.len() >= REMEMBERED {
                compiled.clear();
            }
            compiled.insert(source.to_owned(), regex.clone());
            regex
        };
        Ok(Self::of(source, regex))
    }

    /// Compiles a pattern that comes from an object: a small one, and nobody will remember it.
    ///
    /// # Errors
    /// It is no pattern in Go, or too large.
    pub(crate) fn transient(source: &str) -> Result<Self, regex::Error> {
        if source.len() > TRANSIENT_MAX {
            return Err(regex::Error::CompiledTooBig(TRANSIENT_SIZE_MAX));
        }
        Ok(Self::of(source, compile(source, TRANSIENT_SIZE_MAX)?))
    }

    fn of(source: &str, regex: Regex) -> Self {
        let source = source.to_owned();
        Self { source, regex }
    }

    /// Whether `text` contains a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The text it was made from.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The matches in `text`, from left to right.
    pub(crate) fn find_all<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.regex.find_iter(text).map(|found| found.as_str())
    }
}

fn compile(source: &str, size: usize) -> Result<Regex, regex::Error> {
    let translated = syntax::translate(source).map_err(regex::Error::Syntax)?;
    RegexBuilder::new(&translated).size_limit(size).build()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_objects_are_small_and_forgotten() {
        let large = "(?:[a-z]{100}){100}";
        assert!(Pattern::new("[a-z]{500}").is_ok());
        assert!(Pattern::transient(large).is_err());
        assert!(Pattern::transient(&"a".repeat(2000)).is_err());
        let source = "^only in this test$";
        let pattern = Pattern::transient(source).unwrap();
        assert!(pattern.is_match("only in this test"));
        assert_eq!(pattern.as_str(), source);
        assert!(!COMPILED.lock().contains_key(source));
    }
}
