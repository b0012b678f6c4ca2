//! The roles and bindings that every server has: those of Kubernetes' default policy that people
//! and programs rely on.
//!
//! They are brought up to date at each start: what is missing comes back, what was added stays. The
//! annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` keeps one as it is.

use serde_json::{Map, Value, json};

use super::escalation::GROUP;
use super::rule::{self, rules_of};
use crate::meta;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const READ_WRITE: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const ALL: &[&str] = &["*"];

/// A rule: API group, resources, verbs. The group `/` stands for paths in place of resources.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const PATHS: &str = "/";

const CLUSTER_ADMIN: &[Row] = &[("*", ALL, ALL), (PATHS, ALL, ALL)];
const DISCOVERY: &[Row] = &[(
    PATHS,
    &[
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ],
    &["get"],
)];
const PUBLIC: &[Row] = &[(
    PATHS,
    &["/healthz", "/livez", "/readyz", "/version", "/version/"],
    &["get"],
)];
const MONITORING: &[Row] = &[(
    PATHS,
    &[
        "/healthz",
        "/healthz/*",
        "/livez",
        "/livez/*",
        "/metrics",
        "/metrics/slis",
        "/readyz",
        "/readyz/*",
    ],
    &["get"],
)];
const ISSUER: &[Row] = &[(
    PATHS,
    &[
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
    ],
    &["get"],
)];
const BASIC_USER: &[Row] = &[
    (
        "authorization.k8s.io",
        &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        &["create"],
    ),
    (
        "authentication.k8s.io",
        &["selfsubjectreviews"],
        &["create"],
    ),
];
const AUTH_DELEGATOR: &[Row] = &[
    ("authentication.k8s.io", &["tokenreviews"], &["create"]),
    (
        "authorization.k8s.io",
        &["subjectaccessreviews"],
        &["create"],
    ),
];
const PROVISIONER: &[Row] = &[
    (
        "",
        &["persistentvolumes"],
        &["create", "delete", "get", "list", "watch"],
    ),
    (
        "",
        &["persistentvolumeclaims"],
        &["get", "list", "update", "watch"],
    ),
    ("storage.k8s.io", &["storageclasses"], READ),
    ("", &["events"], &["watch"]),
    ("", &["events"], &["create", "patch", "update"]),
];

const VIEW: &[Row] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
        ],
        READ,
    ),
    (
        "",
        &[
            "bindings",
            "events",
            "limitranges",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
        ],
        READ,
    ),
    ("", &["namespaces"], READ),
    ("discovery.k8s.io", &["endpointslices"], READ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
        READ,
    ),
    (
        "autoscaling",
        &[
            "horizontalpodautoscalers",
            "horizontalpodautoscalers/status",
        ],
        READ,
    ),
    (
        "batch",
        &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
        READ,
    ),
    (
        "policy",
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
        READ,
    ),
    (
        "networking.k8s.io",
        &["ingresses", "ingresses/status", "networkpolicies"],
        READ,
    ),
];

const EDIT: &[Row] = &[
    (
        "",
        &[
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "services/proxy",
        ],
        READ,
    ),
    ("", &["serviceaccounts"], &["impersonate"]),
    (
        "",
        &[
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
        ],
        WRITE,
    ),
    ("", &["pods/eviction"], &["create"]),
    (
        "",
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
        WRITE,
    ),
    ("", &["serviceaccounts/token"], &["create"]),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
        WRITE,
    ),
    ("autoscaling", &["horizontalpodautoscalers"], WRITE),
    ("batch", &["cronjobs", "jobs"], WRITE),
    ("policy", &["poddisruptionbudgets"], WRITE),
    (
        "networking.k8s.io",
        &["ingresses", "networkpolicies"],
        WRITE,
    ),
    ("coordination.k8s.io", &["leases"], READ_WRITE),
];

const ADMIN: &[Row] = &[
    (
        "authorization.k8s.io",
        &["localsubjectaccessreviews"],
        &["create"],
    ),
    (GROUP, &["rolebindings", "roles"], READ_WRITE),
];

/// The ClusterRoles, those that are made of others last.
pub(crate) fn roles() -> Vec<Value> {
    let mut roles = vec![
        role("cluster-admin", CLUSTER_ADMIN),
        role("system:discovery", DISCOVERY),
        role("system:public-info-viewer", PUBLIC),
        role("system:monitoring", MONITORING),
        role("system:service-account-issuer-discovery", ISSUER),
        role("system:basic-user", BASIC_USER),
        role("system:auth-delegator", AUTH_DELEGATOR),
        role("system:persistent-volume-provisioner", PROVISIONER),
    ];
    for (name, rows) in [("view", VIEW), ("edit", EDIT), ("admin", ADMIN)] {
        let part = role(&format!("system:aggregate-to-{name}"), rows);
        roles.push(labelled(part, name));
    }
    roles.push(labelled(aggregated("view"), "edit"));
    roles.push(labelled(aggregated("edit"), "admin"));
    roles.push(aggregated("admin"));
    roles
}

/// The ClusterRoleBindings.
pub(crate) fn bindings() -> Vec<Value> {
    let everybody = "system:authenticated";
    [
        ("cluster-admin", &["system:masters"][..]),
        ("system:discovery", &[everybody]),
        ("system:basic-user", &[everybody]),
        (
            "system:public-info-viewer",
            &[everybody, "system:unauthenticated"],
        ),
        ("system:monitoring", &["system:monitoring"]),
        (
            "system:service-account-issuer-discovery",
            &["system:serviceaccounts"],
        ),
    ]
    .map(|(name, groups)| binding(name, groups))
    .into()
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    })
}

fn role(name: &str, rows: &[Row]) -> Value {
    let rules: Vec<_> = rows
        .iter()
        .map(|(group, list, verbs)| match *group {
            PATHS => json!({"verbs": verbs, "nonResourceURLs": list}),
            group => json!({"verbs": verbs, "apiGroups": [group], "resources": list}),
        })
        .collect();
    json!({"metadata": metadata(name), "rules": rules})
}

/// A role as a part of another one.
fn labelled(mut role: Value, of: &str) -> Value {
    role["metadata"]["labels"][format!("{GROUP}/aggregate-to-{of}")] = "true".into();
    role
}

fn aggregated(name: &str) -> Value {
    let selector = json!({"matchLabels": {format!("{GROUP}/aggregate-to-{name}"): "true"}});
    json!({"metadata": metadata(name), "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [selector]}})
}

fn binding(name: &str, groups: &[&str]) -> Value {
    let subjects: Vec<_> = groups
        .iter()
        .map(|group| json!({"kind": "Group", "apiGroup": GROUP, "name": group}))
        .collect();
    json!({"metadata": metadata(name), "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}})
}

/// A stored role or binding with what it lacks of the wanted one; none where it lacks nothing, or
/// is to be left alone.
pub(crate) fn completed(stored: &Value, wanted: &Value) -> Option<Value> {
    let annotations = &stored["metadata"]["annotations"];
    if annotations
        .get(AUTOUPDATE)
        .is_some_and(|value| value == "false")
    {
        return None;
    }
    let mut new = stored.clone();
    for field in ["labels", "annotations"] {
        complete_map(&mut new["metadata"], &wanted["metadata"], field);
    }
    if wanted.get("aggregationRule").is_some() {
        let (own, more) = ("/aggregationRule/clusterRoleSelectors", wanted);
        if new.pointer(own).is_none() {
            new["aggregationRule"] = json!({"clusterRoleSelectors": []});
        }
        let selectors = more.pointer(own).and_then(Value::as_array);
        complete_list(new.pointer_mut(own), selectors.into_iter().flatten());
    } else {
        let missing = rule::missing(&rules_of(stored), &rules_of(wanted));
        if !missing.is_empty() && !new["rules"].is_array() {
            new["rules"] = json!([]);
        }
        let missing: Vec<Value> = missing.iter().map(|rule| json!(rule)).collect();
        complete_list(new.get_mut("rules"), &missing);
    }
    let subjects = wanted.get("subjects").and_then(Value::as_array);
    if subjects.is_some() && !new["subjects"].is_array() {
        new["subjects"] = json!([]);
    }
    complete_list(new.get_mut("subjects"), subjects.into_iter().flatten());
    (new != *stored).then_some(new)
}

fn complete_map(object: &mut Value, wanted: &Value, field: &str) {
    let own = meta::child_mut(object, field);
    let none = Map::new();
    for (key, value) in wanted[field].as_object().unwrap_or(&none) {
        own.entry(key).or_insert_with(|| value.clone());
    }
}

fn complete_list<'a>(list: Option<&mut Value>, wanted: impl IntoIterator<Item = &'a Value>) {
    let Some(list) = list.and_then(Value::as_array_mut) else {
        return;
    };
    for item in wanted {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_away_comes_back_and_what_was_added_stays() {
        let all = roles();
        let wanted = all
            .iter()
            .find(|role| meta::name(role) == "system:basic-user")
            .unwrap();
        assert_eq!(completed(wanted, wanted), None);
        let own = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]});
        let mut stored = wanted.clone();
        stored["rules"] = json!([own, wanted["rules"][0]]);
        stored["metadata"]["labels"] = json!({"mine": "x"});
        let new = completed(&stored, wanted).unwrap();
        assert_eq!(new["rules"][0], own);
        assert_eq!(new["rules"][2]["resources"], json!(["selfsubjectreviews"]));
        assert_eq!(new["metadata"]["labels"]["mine"], "x");
        assert_eq!(completed(&new, wanted), None);
        stored["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(completed(&stored, wanted), None);
    }

    #[test]
    fn roles_that_are_made_of_others_and_bindings_are_completed() {
        for wanted in [roles().pop().unwrap(), bindings().pop().unwrap()] {
            assert_eq!(completed(&wanted, &wanted), None);
            let mut stored = wanted.clone();
            stored.as_object_mut().unwrap().remove("aggregationRule");
            stored.as_object_mut().unwrap().remove("subjects");
            assert_eq!(completed(&stored, &wanted), Some(wanted));
        }
    }
}
