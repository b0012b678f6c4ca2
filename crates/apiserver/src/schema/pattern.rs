//! Regular expressions of schemas and rules, compiled once however often they occur.

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};

/// Most patterns that are remembered. When there are more, remembering begins anew: rules can make
/// patterns of what objects hold, of which there is no end.
const REMEMBERED: usize = 64;

/// Most bytes of a compiled pattern.
const SIZE_MAX: usize = 2 * 1024 * 1024;

/// Patterns seen lately. CRDs repeat a few (that of quantities above all) hundreds of times.
static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// A compiled regular expression, equal to others of the same text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles `source`, in the syntax that Go's `regexp` and Rust's `regex` share.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        let mut compiled = COMPILED.lock();
        if let Some(regex) = compiled.get(source) {
            return Ok(Self(regex.clone()));
        }
        let regex = RegexBuilder::new(source).size_limit(SIZE_MAX).build()?;
        if compiled.len() >= REMEMBERED {
            compiled.clear();
        }
        compiled.insert(source.to_owned(), regex.clone());
        Ok(Self(regex))
    }

    /// Whether `text` contains a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The text it was made from.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
