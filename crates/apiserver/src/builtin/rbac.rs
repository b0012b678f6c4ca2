//! Roles and their bindings.

use serde_json::Value;

use super::NO_HOOKS;
use super::access::{fill, list, map, text};
use super::column::{AGE, Col};
use crate::access::escalation::GROUP;
use crate::kind::Hooks;
use crate::meta::names;
use crate::schema::cause;
use crate::status::Cause;

pub(super) const ROLE_COLUMNS: &[Col] =
    &[
        Col::new("Created At", "When the object was created.", |object| {
            text(object, "/metadata/creationTimestamp").into()
        })
        .of("date"),
    ];

pub(super) const BINDING_COLUMNS: &[Col] = &[
    Col::new("Role", "The role that is given.", |object| {
        let (kind, name) = (text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
        format!("{kind}/{name}").into()
    }),
    AGE,
    Col::new("Users", "Users that it is given to.", |object| {
        subjects(object, "User").into()
    })
    .wide(),
    Col::new("Groups", "Groups that it is given to.", |object| {
        subjects(object, "Group").into()
    })
    .wide(),
    Col::new(
        "ServiceAccounts",
        "ServiceAccounts that it is given to.",
        |object| subjects(object, "ServiceAccount").into(),
    )
    .wide(),
];

pub(super) const ROLE_HOOKS: Hooks = Hooks {
    validate: Some(|role, _| rules(role, true)),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const CLUSTER_ROLE_HOOKS: Hooks = Hooks {
    validate: Some(|role, _| cluster_role(role)),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const BINDING_HOOKS: Hooks = Hooks {
    default: Some(binding_default),
    validate: Some(|binding, old| binding_faults(binding, old, true)),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const CLUSTER_BINDING_HOOKS: Hooks = Hooks {
    validate: Some(|binding, old| binding_faults(binding, old, false)),
    ..BINDING_HOOKS
};

fn subjects(binding: &Value, kind: &str) -> String {
    let names = list(binding, "/subjects")
        .iter()
        .filter(|subject| text(subject, "/kind") == kind)
        .map(|subject| match text(subject, "/namespace") {
            "" => text(subject, "/name").to_owned(),
            namespace => format!("{namespace}/{}", text(subject, "/name")),
        });
    names.collect::<Vec<_>>().join(", ")
}

fn cluster_role(role: &Value) -> Vec<Cause> {
    let mut causes = rules(role, false);
    if role.get("aggregationRule").is_some()
        && list(role, "/aggregationRule/clusterRoleSelectors").is_empty()
    {
        causes.push(cause::required(
            "aggregationRule.clusterRoleSelectors",
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        ));
    }
    causes
}

fn rules(role: &Value, namespaced: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, rule) in list(role, "/rules").iter().enumerate() {
        let path = |field: &str| format!("rules[{index}].{field}");
        let has = |field: &str| !list(rule, &format!("/{field}")).is_empty();
        if !has("verbs") {
            let detail = "verbs must contain at least one value";
            causes.push(cause::required(path("verbs"), detail));
        }
        if has("nonResourceURLs") {
            let mut refuse = |detail: &str| {
                causes.push(Cause {
                    message: format!(
                        "Invalid value: {}: {detail}",
                        string_list(list(rule, "/nonResourceURLs"))
                    ),
                    ..cause::invalid(path("nonResourceURLs"), &Value::Null, "")
                });
            };
            if namespaced {
                refuse("namespaced rules cannot apply to non-resource URLs");
            }
            if has("apiGroups") || has("resources") || has("resourceNames") {
                refuse("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if !has("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            causes.push(cause::required(path("apiGroups"), detail));
        }
        if !has("resources") {
            let detail = "resource rules must supply at least one resource";
            causes.push(cause::required(path("resources"), detail));
        }
    }
    causes
}

/// Strings as Go's `%#v` prints a slice of them.
fn string_list(items: &[Value]) -> String {
    let items: Vec<_> = items.iter().map(cause::show).collect();
    format!("[]string{{{}}}", items.join(", "))
}

fn binding_default(binding: &mut Value) {
    if binding.get("roleRef").is_some() {
        fill(map(binding, "roleRef"), "apiGroup", GROUP);
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if matches!(text(subject, "/kind"), "User" | "Group")
            && let Some(subject) = subject.as_object_mut()
        {
            fill(subject, "apiGroup", GROUP);
        }
    }
}

fn binding_faults(binding: &Value, old: Option<&Value>, namespaced: bool) -> Vec<Cause> {
    let mut causes = role_faults(binding, namespaced);
    for (index, subject) in list(binding, "/subjects").iter().enumerate() {
        subject_faults(
            subject,
            &format!("subjects[{index}]"),
            namespaced,
            &mut causes,
        );
    }
    if old.is_some_and(|old| old.get("roleRef") != binding.get("roleRef")) {
        let part = |name: &str| cause::quote(text(binding, &format!("/roleRef/{name}")));
        causes.push(Cause {
            message: format!(
                "Invalid value: rbac.RoleRef{{APIGroup:{}, Kind:{}, Name:{}}}: cannot change roleRef",
                part("apiGroup"),
                part("kind"),
                part("name")
            ),
            ..cause::invalid("roleRef", &Value::Null, "")
        });
    }
    causes
}

fn role_faults(binding: &Value, namespaced: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let reference = |name: &str| Value::from(text(binding, &format!("/roleRef/{name}")));
    if reference("apiGroup") != GROUP {
        let found = reference("apiGroup");
        causes.push(cause::unsupported("roleRef.apiGroup", &found, [GROUP]));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    let kind = reference("kind");
    if !kinds.iter().any(|known| kind == *known) {
        causes.push(cause::unsupported("roleRef.kind", &kind, kinds));
    }
    let name = reference("name");
    if name == "" {
        causes.push(cause::required("roleRef.name", ""));
    } else {
        let faults = names::path_segment(text(binding, "/roleRef/name"));
        causes.extend(
            faults
                .iter()
                .map(|fault| cause::invalid("roleRef.name", &name, fault)),
        );
    }
    causes
}

fn subject_faults(subject: &Value, path: &str, namespaced: bool, causes: &mut Vec<Cause>) {
    let field = |name: &str| format!("{path}.{name}");
    let name = text(subject, "/name");
    if name.is_empty() {
        causes.push(cause::required(field("name"), ""));
    }
    let group = Value::from(text(subject, "/apiGroup"));
    let kind = text(subject, "/kind");
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                let faults = names::subdomain(name);
                causes.extend(
                    faults
                        .iter()
                        .map(|fault| cause::invalid(field("name"), &name.into(), fault)),
                );
            }
            if group != "" {
                causes.push(cause::unsupported(field("apiGroup"), &group, [""]));
            }
            if !namespaced && text(subject, "/namespace").is_empty() {
                causes.push(cause::required(field("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            causes.push(cause::unsupported(field("apiGroup"), &group, [GROUP]));
        }
        "User" | "Group" => {}
        _ => causes.push(cause::unsupported(
            field("kind"),
            &kind.into(),
            ["ServiceAccount", "User", "Group"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(causes: Vec<Cause>) -> Vec<String> {
        causes
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn rules_are_for_resources_or_for_paths() {
        let role = json!({"rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            {},
            {"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]},
        ]});
        assert_eq!(
            told(cluster_role(&role)),
            [
                "rules[1].verbs: Required value: verbs must contain at least one value",
                "rules[1].apiGroups: Required value: resource rules must supply at least one api \
                 group",
                "rules[1].resources: Required value: resource rules must supply at least one \
                 resource",
                "rules[2].nonResourceURLs: Invalid value: []string{\"/a\"}: rules cannot apply to \
                 both regular resources and non-resource URLs",
            ]
        );
        let role = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]});
        assert_eq!(told(cluster_role(&role)), Vec::<String>::new());
        assert_eq!(told(rules(&role, true)).len(), 1);
    }

    #[test]
    fn bindings_name_a_role_and_subjects() {
        let mut binding = json!({
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "b"}],
        });
        binding_default(&mut binding);
        assert_eq!(
            told(binding_faults(&binding, None, true)),
            Vec::<String>::new()
        );
        assert_eq!(
            told(binding_faults(&binding, None, false)),
            ["subjects[1].namespace: Required value"]
        );
        let mut other = binding.clone();
        other["roleRef"]["name"] = "edit".into();
        other["subjects"] = json!([{"kind": "Robot", "name": "x"}, {"kind": "User"}]);
        assert_eq!(
            told(binding_faults(&other, Some(&binding), true)),
            [
                "subjects[0].kind: Unsupported value: \"Robot\": supported values: \
                 \"ServiceAccount\", \"User\", \"Group\"",
                "subjects[1].name: Required value",
                "subjects[1].apiGroup: Unsupported value: \"\": supported values: \
                 \"rbac.authorization.k8s.io\"",
                "roleRef: Invalid value: rbac.RoleRef{APIGroup:\"rbac.authorization.k8s.io\", \
                 Kind:\"ClusterRole\", Name:\"edit\"}: cannot change roleRef",
            ]
        );
    }
}
