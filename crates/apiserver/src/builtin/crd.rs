//! CustomResourceDefinitions: their defaults and faults. What they make the server serve is the
//! registry's work.

mod versions;

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{fill, list, map, text};
use super::column::Col;
use crate::kind::Hooks;
use crate::meta::names;
use crate::registry::approval;
use crate::schema::{Definitions, Schema, cause};
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[Col::new("Created At", "When it was created.", |crd| {
    text(crd, "/metadata/creationTimestamp").into()
})
.format("date-time")];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    ..NO_HOOKS
};

/// Definitions that stand for any JSON value, whatever type a generator gives them.
const ANYTHING: [&str; 4] = [
    "JSON",
    "JSONSchemaPropsOrArray",
    "JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray",
];

/// Lets the places of a CRD's schema that hold any JSON value hold any.
pub(super) fn loosen(definitions: &mut Definitions) {
    for name in ANYTHING {
        let name = format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.{name}");
        if let Some(definition) = definitions.get_mut(&name) {
            let description = definition.description.take();
            *definition = Schema {
                description,
                preserve_unknown: true,
                ..Schema::default()
            };
        }
    }
}

fn default(crd: &mut Value) {
    let kind = text(crd, "/spec/names/kind").to_owned();
    let spec = map(crd, "spec");
    fill(spec, "conversion", json!({"strategy": "None"}));
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", format!("{kind}List"));
    }
}

fn validate(crd: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = naming(crd, old);
    causes.extend(approval::fault(crd));
    causes.extend(versions::faults(crd, old));
    causes
}

/// The fields that must be DNS labels (kinds: when lowered), and what they hold.
fn labels(crd: &Value) -> Vec<(&'static str, &str)> {
    let fields = [
        ("spec.names.plural", "/spec/names/plural"),
        ("spec.names.singular", "/spec/names/singular"),
        ("spec.names.kind", "/spec/names/kind"),
        ("spec.names.listKind", "/spec/names/listKind"),
    ];
    let mut all: Vec<_> = fields
        .map(|(field, pointer)| (field, text(crd, pointer)))
        .into_iter()
        .collect();
    let short = list(crd, "/spec/names/shortNames")
        .iter()
        .filter_map(Value::as_str);
    all.extend(short.map(|name| ("spec.names.shortNames", name)));
    let categories = list(crd, "/spec/names/categories").iter();
    let categories = categories.filter_map(Value::as_str);
    all.extend(categories.map(|name| ("spec.names.categories", name)));
    let versions = list(crd, "/spec/versions")
        .iter()
        .filter_map(|v| v["name"].as_str());
    all.extend(versions.map(|name| ("spec.versions.name", name)));
    all
}

fn naming(crd: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let plural = text(crd, "/spec/names/plural");
    let group = text(crd, "/spec/group");
    let name = text(crd, "/metadata/name");
    if name != format!("{plural}.{group}") {
        let detail = format!("must be spec.names.plural+\".\"+spec.group: \"{plural}.{group}\"");
        causes.push(cause::invalid("metadata.name", &name.into(), &detail));
    }
    if crd.pointer("/spec/group").is_some() && !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        causes.push(cause::invalid("spec.group", &group.into(), detail));
    }
    for (field, name) in labels(crd) {
        let faults = names::dns_label(&name.to_lowercase());
        causes.extend(
            faults
                .iter()
                .map(|fault| cause::invalid(field, &name.into(), fault)),
        );
    }
    if let Some(scope) = crd.pointer("/spec/scope")
        && !["Cluster", "Namespaced"].iter().any(|known| scope == known)
    {
        causes.push(cause::unsupported(
            "spec.scope",
            scope,
            ["Cluster", "Namespaced"],
        ));
    }
    let strategy = text(crd, "/spec/conversion/strategy");
    if !matches!(strategy, "" | "None") {
        let field = "spec.conversion.strategy";
        causes.push(cause::unsupported(field, &strategy.into(), ["None"]));
    }
    let (kind, list_kind) = (
        text(crd, "/spec/names/kind"),
        text(crd, "/spec/names/listKind"),
    );
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        causes.push(cause::invalid("spec.names.listKind", &kind.into(), detail));
    }
    if crd.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        let field = "spec.preserveUnknownFields";
        causes.push(cause::invalid(field, &Value::Bool(true), detail));
    }
    let established = old.is_some_and(|old| {
        list(old, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    });
    for (field, pointer) in [
        ("spec.group", "/spec/group"),
        ("spec.scope", "/spec/scope"),
        ("spec.names.kind", "/spec/names/kind"),
        ("spec.names.plural", "/spec/names/plural"),
    ] {
        let before = old.and_then(|old| old.pointer(pointer));
        let after = crd.pointer(pointer);
        let fixed = established || pointer == "/spec/group";
        if fixed && before.is_some() && before != after {
            let value = after.unwrap_or(&Value::Null);
            causes.push(cause::invalid(field, value, "field is immutable"));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd() -> Value {
        json!({"metadata": {"name": "disks.example.org"}, "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Disk", "plural": "disks"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    }

    #[test]
    fn names_and_conversion_are_filled() {
        let mut crd = crd();
        default(&mut crd);
        assert_eq!(crd["spec"]["names"]["singular"], "disk");
        assert_eq!(crd["spec"]["names"]["listKind"], "DiskList");
        assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
        assert_eq!(validate(&crd, None), Vec::new());
    }

    #[test]
    fn faults_have_the_path_in_the_definition() {
        let mut crd = crd();
        default(&mut crd);
        crd["metadata"]["name"] = "x".into();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "properties": {"spec": {}}});
        let fields: Vec<_> = validate(&crd, None)
            .into_iter()
            .map(|cause| cause.field)
            .collect();
        assert_eq!(
            fields,
            [
                "metadata.name",
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].type"
            ]
        );
    }
}
