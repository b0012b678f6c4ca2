//! `fieldPath` of a rule: `.spec.name` or `.labels['a.b']`, relative to where the rule stands.

use crate::schema::Schema;

/// The text by which a path continues that of the rule's place.
pub(super) fn resolve(schema: &Schema, text: &str) -> Result<String, String> {
    let (mut schema, mut rest, mut path) = (schema, text, String::new());
    while !rest.is_empty() {
        let (name, after) = step(rest)?;
        let missing = || "does not refer to a valid field".to_owned();
        if let Some(values) = schema.additional_properties.as_deref() {
            path.extend(["[", name, "]"]);
            schema = values;
        } else {
            path.extend([".", name]);
            schema = schema.properties.get(name).ok_or_else(missing)?;
        }
        rest = after;
    }
    Ok(path)
}

/// The first name of a path, and what follows.
fn step(text: &str) -> Result<(&str, &str), String> {
    if let Some(rest) = text.strip_prefix("['") {
        let end = rest.find("']").ok_or("unexpected end of JSON path")?;
        return Ok((&rest[..end], &rest[end + 2..]));
    }
    let Some(rest) = text.strip_prefix('.') else {
        return Err(format!("expected [ or . but got: {text}"));
    };
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    match &rest[..end] {
        "" => Err("unexpected end of JSON path".to_owned()),
        name => Ok((name, &rest[end..])),
    }
}
