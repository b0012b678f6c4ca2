//! StorageClasses.

use serde_json::Value;

use super::NO_HOOKS;
use super::access::{fill, is_true, text};
use super::column::{AGE, Col};
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[
    Col::new(
        "Name",
        "Name of the class; the default one is marked.",
        |class| name(class).into(),
    )
    .format("name"),
    Col::new(
        "Provisioner",
        "The driver that makes the volumes.",
        |class| text(class, "/provisioner").into(),
    ),
    Col::new(
        "ReclaimPolicy",
        "What becomes of a volume without a claim.",
        |class| text(class, "/reclaimPolicy").into(),
    ),
    Col::new(
        "VolumeBindingMode",
        "When volumes are made and bound.",
        |class| text(class, "/volumeBindingMode").into(),
    ),
    Col::new(
        "AllowVolumeExpansion",
        "Whether volumes can grow.",
        |class| is_true(class, "/allowVolumeExpansion").into(),
    )
    .of("string"),
    AGE,
];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    no_generation: true,
    ..NO_HOOKS
};

fn name(class: &Value) -> String {
    let name = text(class, "/metadata/name");
    let default = [
        "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
        "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
    ]
    .iter()
    .any(|annotation| text(class, annotation) == "true");
    if default {
        format!("{name} (default)")
    } else {
        name.to_owned()
    }
}

fn default(class: &mut Value) {
    if let Some(class) = class.as_object_mut() {
        fill(class, "reclaimPolicy", "Delete");
        fill(class, "volumeBindingMode", "Immediate");
    }
}

fn validate(class: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if class.get("provisioner").is_some() && text(class, "/provisioner").is_empty() {
        causes.push(cause::required("provisioner", ""));
    }
    let choices = [
        ("reclaimPolicy", ["Delete", "Retain"]),
        ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"]),
    ];
    for (field, supported) in choices {
        if let Some(value) = class.get(field)
            && !supported.iter().any(|supported| value == supported)
        {
            causes.push(cause::unsupported(field, value, supported));
        }
    }
    let Some(old) = old else { return causes };
    let empty = Value::Object(serde_json::Map::new());
    let parameters = |class: &Value| class.get("parameters").unwrap_or(&empty).clone();
    if parameters(old) != parameters(class) {
        causes.push(cause::forbidden(
            "parameters",
            "updates to parameters are forbidden.",
        ));
    }
    for field in ["provisioner", "reclaimPolicy"] {
        if old.get(field) != class.get(field) {
            let detail = format!("updates to {field} are forbidden.");
            causes.push(cause::forbidden(field, &detail));
        }
    }
    if old.get("volumeBindingMode") != class.get("volumeBindingMode") {
        let value = class.get("volumeBindingMode").unwrap_or(&Value::Null);
        causes.push(cause::invalid(
            "volumeBindingMode",
            value,
            "field is immutable",
        ));
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_class_is_marked() {
        let class = json!({"metadata": {"name": "local", "annotations": {
            "storageclass.kubernetes.io/is-default-class": "true"}}});
        assert_eq!(name(&class), "local (default)");
    }

    #[test]
    fn what_made_the_volumes_cannot_change() {
        let mut old = json!({"provisioner": "a", "parameters": {"x": "1"}});
        default(&mut old);
        let mut new = old.clone();
        assert_eq!(validate(&new, Some(&old)), Vec::new());
        new["parameters"]["x"] = "2".into();
        new["provisioner"] = "b".into();
        let messages: Vec<_> = validate(&new, Some(&old))
            .into_iter()
            .map(|cause| cause.message)
            .collect();
        assert_eq!(
            messages,
            [
                "Forbidden: updates to parameters are forbidden.",
                "Forbidden: updates to provisioner are forbidden."
            ]
        );
    }
}
