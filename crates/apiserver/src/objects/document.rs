//! From the bytes of a request to a document: JSON or YAML, with what comes twice noted.
//!
//! Both formats are read by one visitor into one kind of value. YAML is read as Kubernetes' other
//! servers do (anchors, merge keys, `0644` in base 8), within bounds that keep what a body becomes
//! about as large as the body itself.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

/// Most bytes of all texts in a YAML document, with those that aliases repeat.
const YAML_TEXT: usize = 3 * 1024 * 1024;
/// Most lists, maps and scalars of a YAML document, and most of them inside each other; the latter
/// is about what is read of JSON.
const YAML_NODES: usize = 250_000;
const YAML_DEPTH: usize = 100;
/// Stack for reading YAML, which is read by recursion.
const YAML_STACK: usize = 8 * 1024 * 1024;
/// Most nodes that aliases may repeat.
const YAML_REPEATED: usize = 10_000;
/// Most duplicate fields that a client is told of.
const TOLD: usize = 100;

/// A document, and what a strict reader has against it: fields that come more than once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Sentences such as `duplicate field "spec.size"`.
    pub(crate) duplicates: Vec<String>,
}

/// Why a body is no document, in the words of the decoders of a Kubernetes API server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(String);

impl Document {
    /// Reads JSON; the last of several equal fields counts.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut found = Found::default();
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = Node::<String>::root(&mut found).deserialize(&mut deserializer);
        let read = read.and_then(|value| deserializer.end().map(|()| value));
        let value = read.map_err(|error| {
            Malformed(format!(
                "couldn't get version/kind; json parse error: {}",
                in_go_words(&error, bytes)
            ))
        })?;
        let duplicate = |twice: &Twice| format!("duplicate field \"{}\"", twice.path);
        let duplicates = found.twice.iter().map(duplicate).collect();
        Ok(Self { value, duplicates })
    }

    /// Reads one YAML document; the last of several equal fields counts.
    pub(crate) fn parse_yaml(bytes: &[u8]) -> Result<Self, Malformed> {
        // The reader takes some 20 KiB of stack for each level, more than a caller may have left.
        let reader = std::thread::Builder::new().stack_size(YAML_STACK);
        let read = std::thread::scope(|scope| {
            let reader = reader.spawn_scoped(scope, || read_yaml(bytes)).ok()?;
            reader.join().ok()
        });
        let read = read.unwrap_or_else(|| Err("the reader failed".to_owned()));
        read.map_err(|fault| Malformed(format!("error converting YAML to JSON: yaml: {fault}")))
    }
}

fn read_yaml(bytes: &[u8]) -> Result<Document, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: YAML_DEPTH,
            flow_nesting_limit: YAML_DEPTH,
            max_nodes: YAML_NODES,
            max_events: 4 * YAML_NODES,
            max_total_scalar_bytes: YAML_TEXT,
            max_recorded_anchor_events: YAML_NODES,
            max_recorded_anchor_bytes: YAML_TEXT,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: YAML_REPEATED,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let mut found = Found::default();
    let read = |deserializer: serde_saphyr::Deserializer<'_, '_>| {
        Node::<Spanned<String>>::root(&mut found).deserialize(deserializer)
    };
    let value = serde_saphyr::with_deserializer_from_slice_with_options(bytes, options, read)
        .map_err(|error| error.to_string())?;
    let duplicates = found.yaml_fault().into_iter().collect();
    Ok(Document { value, duplicates })
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self {
            value,
            duplicates: Vec::new(),
        }
    }
}

/// What Go's JSON decoder would say of a text, so that clients can show what they are used to.
fn in_go_words(error: &serde_json::Error, bytes: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let text = error.to_string();
    let place = [
        ("expected value", "looking for beginning of value"),
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        ("trailing comma", "looking for beginning of value"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("trailing characters", "after top-level value"),
        ("control character", "in string literal"),
        ("invalid number", "in numeric literal"),
    ];
    let place = place.iter().find(|(ours, _)| text.starts_with(ours));
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let line = lines.nth(error.line().saturating_sub(1));
    let found = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    match (place, found) {
        (Some((_, theirs)), Some(&byte)) => {
            format!("invalid character {:?} {theirs}", char::from(byte))
        }
        _ if text.starts_with("recursion limit") => "exceeded max depth".to_owned(),
        _ => text,
    }
}

/// A field that was there already.
#[derive(Debug)]
struct Twice {
    path: String,
    name: String,
    line: u64,
}

/// What the reader notes on its way.
#[derive(Debug, Default)]
struct Found {
    twice: Vec<Twice>,
    /// Bytes of text so far.
    text: usize,
}

impl Found {
    fn take<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.text += text.len();
        if self.text > YAML_TEXT {
            return Err(E::custom("document contains excessive aliasing"));
        }
        Ok(())
    }

    fn yaml_fault(&self) -> Option<String> {
        if self.twice.is_empty() {
            return None;
        }
        let lines = self.twice.iter().map(|Twice { name, line, .. }| {
            format!("\n  line {line}: key \"{name}\" already set in map")
        });
        Some(format!(
            "yaml: unmarshal errors:{}",
            lines.collect::<String>()
        ))
    }
}

/// A field's name as a format gives it, and the line where it stands, if that is known.
trait Name<'de>: Deserialize<'de> {
    fn split(self) -> (String, u64);
}

impl Name<'_> for String {
    fn split(self) -> (String, u64) {
        (self, 0)
    }
}

impl Name<'_> for Spanned<String> {
    fn split(self) -> (String, u64) {
        (self.value, self.referenced.line())
    }
}

/// Where a value stands. Spelled out only when someone asks, because long names with many values
/// below them would make long work.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reads one value at a place.
struct Node<'p, 'f, N> {
    place: Place<'p>,
    found: &'f mut Found,
    name: PhantomData<N>,
}

impl<'p, 'f, N> Node<'p, 'f, N> {
    fn root(found: &'f mut Found) -> Self {
        Self::at(Place::Root, found)
    }

    fn at(place: Place<'p>, found: &'f mut Found) -> Self {
        let name = PhantomData;
        Self { place, found, name }
    }
}

impl<'de, N: Name<'de>> DeserializeSeed<'de> for Node<'_, '_, N> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, N: Name<'de>> Visitor<'de> for Node<'_, '_, N> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.found.take(value)?;
        Ok(value.into())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.found.take(&value)?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let place = Place::Item(&self.place, values.len());
            match list.next_element_seed(Node::<N>::at(place, &mut *self.found))? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<N>()? {
            let (name, line) = name.split();
            let place = Place::Field(&self.place, &name);
            self.found.take(&name)?;
            if object.contains_key(&name) && self.found.twice.len() < TOLD {
                self.found.twice.push(Twice {
                    path: place.to_string(),
                    name: name.clone(),
                    line,
                });
            }
            let node = Node::<N>::at(place, &mut *self.found);
            let value = fields.next_value_seed(node)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn yaml(text: &str) -> Value {
        Document::parse_yaml(text.as_bytes()).unwrap().value
    }

    #[test]
    fn duplicates_are_found_at_their_paths() {
        let text = br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"d": null, "d": 1.5}}"#;
        let document = Document::parse(text).unwrap();
        assert_eq!(document.value, json!({"a": {"d": 1.5}, "b": [{"c": 2}]}));
        let paths = ["b[0].c", "a", "a.d"];
        assert_eq!(
            document.duplicates,
            paths.map(|path| format!("duplicate field \"{path}\""))
        );
    }

    #[test]
    fn yaml_duplicates_are_told_with_their_lines() {
        let document = Document::parse_yaml(b"a: 1\nb:\n  c: 1\n  c: 2\na: x\n").unwrap();
        assert_eq!(document.value, json!({"a": "x", "b": {"c": 2}}));
        assert_eq!(
            document.duplicates,
            [
                "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\
              \n  line 5: key \"a\" already set in map"
            ]
        );
    }

    #[test]
    fn yaml_is_read_as_clients_mean_it() {
        let text = "# a comment\n---\nmode: 0644\non: yes\n1: ~\nquoted: '1'\nfloat: 1.5\n\
                    text: |\n  a\n  b\nbase: &base {x: 1, y: 2}\nmore: {<<: *base, y: 3}\n\
                    flow: [1, \"a\", {b: }]\nbig: 9223372036854775807\n";
        let expected = json!({
            "mode": 420, "on": true, "1": null, "quoted": "1", "float": 1.5, "text": "a\nb\n",
            "base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}, "flow": [1, "a", {"b": null}],
            "big": i64::MAX,
        });
        assert_eq!(yaml(text), expected);
        assert_eq!(
            yaml(r#"{"a": {"b": [1, null]}}"#),
            json!({"a": {"b": [1, null]}})
        );
    }

    #[test]
    fn malformed_bodies_are_told_in_the_words_of_go() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (
                "{a",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\n\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
        ];
        for (text, expected) in cases {
            let error = Document::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().ends_with(expected), "{error}");
        }
        let deep = "[".repeat(10_000);
        let error = Document::parse(deep.as_bytes()).unwrap_err();
        assert!(error.to_string().ends_with("exceeded max depth"));
        assert!(Document::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn yaml_that_would_grow_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            let line = format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
            bomb.push_str(&line);
        }
        let long = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(100_000),
            "*a, ".repeat(90)
        );
        let refused = [
            bomb,
            long,
            "[".repeat(50_000),
            "- ".repeat(50_000),
            "? ".repeat(50_000),
            "a: *a".to_owned(),
            "a: &a [*a]".to_owned(),
            "a: 1\n---\nb: 2".to_owned(),
            "a: b: c".to_owned(),
            "a: .nan".to_owned(),
            "a: [&b".repeat(200),
            "[1".to_owned(),
            "- 0\n".repeat(300_000),
        ];
        for text in refused {
            let error = Document::parse_yaml(text.as_bytes()).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("error converting YAML to JSON: yaml: "),
                "{error}"
            );
        }
        assert!(Document::parse_yaml(b"a: \xff").is_err());
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in "[\\[\\]{},:\"a1.\\- ]{0,24}") {
            let ours = Document::parse(text.as_bytes()).map(|document| document.value).ok();
            let theirs: Option<Value> = serde_json::from_str(&text).ok();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn yaml_never_panics(text in "[\\[\\]{},:\"'a1.&*!<>|?#\\-\n \t]{0,48}") {
            let _ = Document::parse_yaml(text.as_bytes());
        }

        #[test]
        fn json_is_yaml(text in "[ a-z0-9:{}#-]{0,12}", number: i64) {
            let value = json!({"a": [text, number, {"b": true}], "c": null});
            let read = Document::parse_yaml(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.value, value);
        }
    }
}
