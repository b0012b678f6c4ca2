//! Nobody may give away more than they have: checks of changes to roles and bindings.

use http::StatusCode;
use serde_json::{Value, json};

use super::authorizer::MASTERS;
use super::rule::{self, Rule};
use super::{Attempt, Authorizer, User};
use crate::kind::Kind;
use crate::meta::{self, text};
use crate::status::Status;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// Most single permissions of rules that are given away at a time by somebody who does not hold all.
const PERMISSIONS_MAX: usize = 20_000;

/// Refuses a new state of a role or binding by which its author would give away what they do not
/// hold themselves. Objects of other kinds pass.
pub(crate) fn check(
    authorizer: Authorizer<'_>,
    user: &User,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if kind.group != GROUP || user.groups.iter().any(|group| group == MASTERS) {
        return Ok(());
    }
    let same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    match kind.plural.as_str() {
        "roles" | "clusterroles" if same("rules") && same("aggregationRule") => Ok(()),
        "roles" | "clusterroles" => {
            let aggregates = |role: &Value| role.get("aggregationRule").is_some();
            let aggregates = aggregates(new) || old.is_some_and(aggregates);
            check_role(authorizer, user, kind, new, aggregates)
        }
        "rolebindings" | "clusterrolebindings" if same("subjects") && same("roleRef") => Ok(()),
        "rolebindings" | "clusterrolebindings" => check_binding(authorizer, user, kind, new),
        _ => Ok(()),
    }
}

fn check_role(
    authorizer: Authorizer<'_>,
    user: &User,
    kind: &Kind,
    role: &Value,
    aggregates: bool,
) -> Result<(), Status> {
    let (namespace, name) = (meta::namespace(role), meta::name(role));
    if may(authorizer, user, "escalate", &kind.plural, namespace, name) {
        return Ok(());
    }
    let (own, errors) = authorizer.rules(user, namespace);
    if aggregates {
        // Whatever may be selected one day, or was.
        if rule::missing(&own, &Rule::everything()).is_empty() {
            return Ok(());
        }
        let why = "must have cluster-admin privileges to use an aggregationRule";
        return Err(Status::forbidden(kind, name, why));
    }
    refuse_missing(kind, name, user, &own, &rule::rules_of(role), &errors)
}

fn check_binding(
    authorizer: Authorizer<'_>,
    user: &User,
    kind: &Kind,
    binding: &Value,
) -> Result<(), Status> {
    let (namespace, name) = (meta::namespace(binding), meta::name(binding));
    let role_name = text(binding, "/roleRef/name");
    let (resource, role_home) = match text(binding, "/roleRef/kind") {
        "Role" => ("roles", namespace),
        _ => ("clusterroles", ""),
    };
    if may(authorizer, user, "bind", resource, namespace, role_name) {
        return Ok(());
    }
    let Some(granted) = authorizer.role(resource, role_home, role_name) else {
        let message = format!("{resource}.{GROUP} \"{role_name}\" not found");
        return Err(Status {
            details: json!({"name": role_name, "group": GROUP, "kind": resource}),
            ..Status::new(StatusCode::NOT_FOUND, "NotFound", message)
        });
    };
    let (own, errors) = authorizer.rules(user, namespace);
    refuse_missing(kind, name, user, &own, &granted, &errors)
}

fn may(
    authorizer: Authorizer<'_>,
    user: &User,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let attempt = Attempt::Resource {
        verb,
        group: GROUP,
        resource,
        subresource: "",
        namespace,
        name,
    };
    authorizer.decide(user, &attempt).is_allowed()
}

fn refuse_missing(
    kind: &Kind,
    name: &str,
    user: &User,
    own: &[Rule],
    granted: &[Rule],
    errors: &str,
) -> Result<(), Status> {
    let permissions = granted.iter().map(Rule::count);
    if permissions.fold(0, usize::saturating_add) > PERMISSIONS_MAX {
        let why = "the rules stand for too many single permissions to be compared with those of \
                   their author; name fewer verbs, groups and resources in a rule";
        return Err(Status::forbidden(kind, name, why));
    }
    let missing = rule::missing(own, granted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        rule::quoted(&user.groups),
        rule::lines(&missing)
    );
    if !errors.is_empty() {
        why = format!("{why}; resolution errors: {errors}");
    }
    Err(Status::forbidden(kind, name, &why))
}
