//! Everything that the schema of a definition is held to when it is written.

use serde_json::Value;

use super::{Definitions, Schema, cause, prune_part, rules, structural, validate};
use crate::status::Cause;

/// Every fault of an `openAPIV3Schema`; the paths start there.
pub(crate) fn faults(document: &Value) -> Vec<Cause> {
    let causes = structural::check(document);
    if !causes.is_empty() {
        return causes;
    }
    let schema = super::read(document.clone());
    let mut causes = Vec::new();
    defaults(&schema, "openAPIV3Schema", &mut causes);
    causes.extend(rules::check(&schema));
    causes
}

/// A default must be what the server would accept from a client.
fn defaults(schema: &Schema, path: &str, causes: &mut Vec<Cause>) {
    if let Some(default) = schema.default.as_ref().filter(|default| !default.is_null()) {
        let path = format!("{path}.default");
        if !prune_part(schema, &mut default.clone()).is_empty() {
            let detail = "must not have unknown fields";
            causes.push(cause::invalid(&path, default, detail));
        }
        let faults = validate(schema, &Definitions::new(), default, None);
        let violations = || rules::violations(schema, default, None);
        let faults = if faults.is_empty() {
            violations()
        } else {
            faults
        };
        causes.extend(faults.into_iter().map(|fault| Cause {
            field: match fault.field.as_str() {
                "" | "<nil>" => path.clone(),
                inside if inside.starts_with('[') => format!("{path}{inside}"),
                inside => format!("{path}.{inside}"),
            },
            ..fault
        }));
    }
    for (name, field) in &schema.properties {
        defaults(field, &format!("{path}.properties[{name}]"), causes);
    }
    if let Some(values) = &schema.additional_properties {
        defaults(values, &format!("{path}.additionalProperties"), causes);
    }
    if let Some(items) = &schema.items {
        defaults(items, &format!("{path}.items"), causes);
    }
}
