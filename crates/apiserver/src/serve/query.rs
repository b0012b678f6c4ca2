//! Parameters behind the `?` of a request.

use std::borrow::Cow;
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use crate::status::Status;

/// The parameters of a request, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text behind the `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |part: &str| percent_decode(&part.replace('+', " ")).into_owned();
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter; empty ones count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> + Clone {
        let found = self.0.iter().filter(move |(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there and does not say no.
    pub fn flag(&self, name: &str) -> bool {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.is_some_and(|(_, value)| value != "false" && value != "0")
    }

    /// A parameter that is a whole number in the range of `N`.
    pub fn number<N>(&self, name: &str) -> Result<Option<N>, Status>
    where
        N: FromStr<Err = ParseIntError>,
    {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse().map(Some);
        number.map_err(|error| Status::bad_request(number_fault("ParseInt", text, &error)))
    }
}

/// Why a text is not a number, in the words of Go's `strconv`, which clients are used to.
pub(super) fn number_fault(parser: &str, text: &str, error: &ParseIntError) -> String {
    let why = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{parser}: parsing {text:?}: {why}")
}

/// Replaces `%XX`; what does not decode to UTF-8 becomes U+FFFD.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|&b| char::from(b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&watch=true&limit=5&x=a+b&empty=&flag");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert_eq!(query.get("x"), Some("a b"));
        assert_eq!(query.get("empty"), None);
        assert!(query.flag("watch") && query.flag("flag") && !query.flag("absent"));
        assert!(!Query::parse("watch=0").flag("watch"));
        assert_eq!(query.number("limit").unwrap(), Some(5_u64));
        assert!(Query::parse("limit=x").number::<u64>("limit").is_err());
        assert_eq!(percent_decode("%e2%82%ac%zz%"), "€%zz%");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = Query::parse(&text);
        }
    }
}
