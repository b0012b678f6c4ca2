//! Who may do what: the roles and bindings of `rbac.authorization.k8s.io`, compiled.
//!
//! The policy of a moment is an index from users and groups to the rules that they are bound to. It
//! is made again when one of the four resources has changed, so that a change counts for the very
//! next request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use serde_json::Value;

use super::rule::{Rule, rules_of};
use super::{Attempt, User};
use crate::meta::{self, text};
use crate::store::{Key, Store};

/// The group that may do everything, whatever the roles say.
pub(crate) const MASTERS: &str = "system:masters";

const RESOURCES: [&str; 4] = [
    "roles.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
];

/// The answer to whether somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// They may, for this reason; empty for administrators.
    Allowed(String),
    /// They may not; the text tells of roles that are bound and do not exist.
    Denied(String),
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Answers who may do what, by the roles and bindings of this moment.
#[derive(Debug, Clone, Copy)]
pub struct Authorizer<'a> {
    pub(crate) store: &'a Store,
    pub(crate) policies: &'a Policies,
}

/// The newest compiled policy.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    newest: RwLock<Arc<Policy>>,
}

/// Roles and bindings at one moment.
#[derive(Debug, Default)]
struct Policy {
    /// Revisions of the last change of each of [`RESOURCES`].
    made_of: [u64; 4],
    /// The store's revision when the policy was last found to be up to date.
    checked: AtomicU64,
    users: HashMap<String, Bindings>,
    groups: HashMap<String, Bindings>,
}

/// What a user or group is bound to, everywhere and in each namespace.
#[derive(Debug, Default)]
struct Bindings {
    cluster: Vec<Binding>,
    namespaces: HashMap<String, Vec<Binding>>,
}

#[derive(Debug)]
struct Binding {
    /// The role's rules, or that there is no such role.
    role: Arc<Result<Vec<Rule>, String>>,
    /// Which binding, of which role, to whom.
    told: String,
}

impl Authorizer<'_> {
    /// Whether a user may do something.
    pub fn decide(&self, user: &User, attempt: &Attempt<'_>) -> Decision {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Decision::Allowed(String::new());
        }
        self.policy().decide(user, attempt)
    }

    /// All rules that a user is bound to, in a namespace and everywhere, and what could not be
    /// resolved.
    pub(crate) fn rules(&self, user: &User, namespace: &str) -> (Vec<Rule>, String) {
        let policy = self.policy();
        let mut rules: Vec<Rule> = Vec::new();
        let mut errors = Vec::new();
        for binding in policy.bindings(user, namespace) {
            match &*binding.role {
                Ok(role) => rules.extend(role.iter().cloned()),
                Err(error) => errors.push(error.as_str()),
            }
        }
        (rules, aggregate(errors))
    }

    /// The rules of a role, if there is one of that name.
    pub(crate) fn role(&self, resource: &str, namespace: &str, name: &str) -> Option<Vec<Rule>> {
        let key = Key {
            resource: format!("{resource}.rbac.authorization.k8s.io").into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        self.store.get(&key).map(|role| rules_of(&role.value()))
    }

    fn policy(&self) -> Arc<Policy> {
        let newest = Arc::clone(&self.policies.newest.read());
        let revision = self.store.revision();
        if newest.checked.load(Ordering::Relaxed) >= revision {
            return newest;
        }
        let changed = RESOURCES.map(|resource| self.store.changed(resource));
        if newest.made_of == changed {
            newest.checked.fetch_max(revision, Ordering::Relaxed);
            return newest;
        }
        let policy = Arc::new(Policy::compile(self.store, changed, revision));
        let mut newest = self.policies.newest.write();
        if newest.made_of.iter().max() <= policy.made_of.iter().max() {
            *newest = Arc::clone(&policy);
        }
        policy
    }
}

/// Errors as Kubernetes joins them: each once, in brackets where there are several.
fn aggregate(mut errors: Vec<&str>) -> String {
    errors.sort_unstable();
    errors.dedup();
    match errors.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}

type Roles = HashMap<(String, String), Arc<Result<Vec<Rule>, String>>>;

impl Policy {
    fn compile(store: &Store, made_of: [u64; 4], revision: u64) -> Self {
        let [roles, cluster_roles, bindings, cluster_bindings] = RESOURCES.map(|resource| {
            let objects = store.list(resource, None).into_iter();
            objects.map(|object| object.value())
        });
        Self {
            made_of,
            checked: AtomicU64::new(revision),
            ..Self::of(roles.chain(cluster_roles), bindings.chain(cluster_bindings))
        }
    }

    fn of(
        all_roles: impl IntoIterator<Item = Value>,
        bindings: impl IntoIterator<Item = Value>,
    ) -> Self {
        let mut roles = Roles::new();
        for role in all_roles {
            let place = (meta::namespace(&role).into(), meta::name(&role).into());
            roles.insert(place, Arc::new(Ok(rules_of(&role))));
        }
        let mut policy = Self::default();
        for binding in bindings {
            policy.bind(&binding, &mut roles);
        }
        policy
    }

    fn decide(&self, user: &User, attempt: &Attempt<'_>) -> Decision {
        let mut errors = Vec::new();
        for binding in self.bindings(user, attempt.namespace()) {
            match &*binding.role {
                Ok(rules) if rules.iter().any(|rule| rule.allows(attempt)) => {
                    return Decision::Allowed(format!("RBAC: allowed by {}", binding.told));
                }
                Ok(_) => {}
                Err(error) => errors.push(error.as_str()),
            }
        }
        Decision::Denied(match aggregate(errors) {
            errors if errors.is_empty() => errors,
            errors => format!("RBAC: {errors}"),
        })
    }

    fn bind(&mut self, binding: &Value, roles: &mut Roles) {
        let (name, namespace) = (meta::name(binding), meta::namespace(binding));
        let (kind, role_name) = (
            text(binding, "/roleRef/kind"),
            text(binding, "/roleRef/name"),
        );
        let role_home = if kind == "Role" { namespace } else { "" };
        let role = roles
            .entry((role_home.into(), role_name.into()))
            .or_insert_with(|| {
                let resource = kind.to_lowercase();
                Arc::new(Err(format!(
                    "{resource}.rbac.authorization.k8s.io \"{role_name}\" not found"
                )))
            });
        let source = if namespace.is_empty() {
            format!("ClusterRoleBinding \"{name}\"")
        } else {
            format!("RoleBinding \"{name}/{namespace}\"")
        };
        let subjects = binding.get("subjects").and_then(Value::as_array);
        for subject in subjects.into_iter().flatten() {
            let Some((index, key, told)) = self.index(subject, namespace) else {
                continue;
            };
            let bindings = index.entry(key).or_default();
            let list = if namespace.is_empty() {
                &mut bindings.cluster
            } else {
                bindings.namespaces.entry(namespace.into()).or_default()
            };
            list.push(Binding {
                role: Arc::clone(role),
                told: format!("{source} of {kind} \"{role_name}\" to {told}"),
            });
        }
    }

    /// Where a subject is found, under which name, and how it is told.
    fn index(
        &mut self,
        subject: &Value,
        namespace: &str,
    ) -> Option<(&mut HashMap<String, Bindings>, String, String)> {
        let name = text(subject, "/name");
        match text(subject, "/kind") {
            "User" => Some((&mut self.users, name.into(), format!("User \"{name}\""))),
            "Group" => Some((&mut self.groups, name.into(), format!("Group \"{name}\""))),
            "ServiceAccount" => {
                let home = match text(subject, "/namespace") {
                    "" => namespace,
                    home => home,
                };
                let user = format!("system:serviceaccount:{home}:{name}");
                let told = format!("ServiceAccount \"{name}/{home}\"");
                Some((&mut self.users, user, told))
            }
            _ => None,
        }
    }

    /// The bindings of a user that count in a namespace, those for everywhere first.
    fn bindings(&self, user: &User, namespace: &str) -> impl Iterator<Item = &Binding> {
        let groups = user
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group));
        let found: Vec<&Bindings> = self
            .users
            .get(&user.name)
            .into_iter()
            .chain(groups)
            .collect();
        let inside: Vec<&Vec<Binding>> = found
            .iter()
            .filter_map(|bindings| bindings.namespaces.get(namespace))
            .collect();
        let everywhere = found.into_iter().flat_map(|bindings| &bindings.cluster);
        everywhere.chain(inside.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use serde_json::json;

    use super::*;

    const NAMESPACES: [&str; 3] = ["", "a", "b"];
    const ROLES: [&str; 3] = ["one", "two", "none"];

    /// Roles of two names, everywhere and in two namespaces, with some verbs on Pods.
    fn any_roles() -> impl Strategy<Value = Vec<Value>> {
        let role = (
            select(&NAMESPACES[..]),
            select(&ROLES[..2]),
            subsequence(vec!["get", "list", "*"], 1..=2),
        );
        let role = role.prop_map(|(namespace, name, verbs)| {
            json!({"metadata": {"name": name, "namespace": namespace},
                "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]})
        });
        proptest::collection::vec(role, 0..6).prop_map(|mut roles| {
            roles.sort_by_key(|role| role["metadata"].to_string());
            roles.dedup_by_key(|role| role["metadata"].to_string());
            roles
        })
    }

    fn any_bindings() -> impl Strategy<Value = Vec<Value>> {
        let subject = select(vec![
            json!({"kind": "User", "name": "anna"}),
            json!({"kind": "Group", "name": "crew"}),
            json!({"kind": "ServiceAccount", "name": "robot"}),
            json!({"kind": "ServiceAccount", "name": "robot", "namespace": "b"}),
        ]);
        let binding = (
            select(&NAMESPACES[..]),
            select(&["Role", "ClusterRole"][..]),
            select(&ROLES[..]),
            proptest::collection::vec(subject, 0..3),
        );
        let binding = binding.prop_map(|(namespace, kind, role, subjects)| {
            json!({"metadata": {"name": "x", "namespace": namespace}, "subjects": subjects,
                "roleRef": {"kind": kind, "name": role}})
        });
        proptest::collection::vec(binding, 0..6)
    }

    /// The documented meaning, one binding after the other.
    fn naive(
        roles: &[Value],
        bindings: &[Value],
        user: &User,
        verb: &str,
        namespace: &str,
    ) -> bool {
        bindings.iter().any(|binding| {
            let home = meta::namespace(binding);
            let role_home = if binding["roleRef"]["kind"] == "Role" {
                home
            } else {
                ""
            };
            let subjects = binding["subjects"].as_array().unwrap();
            let is_bound = subjects.iter().any(|subject| {
                let name = subject["name"].as_str().unwrap();
                let of = subject["namespace"].as_str().unwrap_or(home);
                match subject["kind"].as_str().unwrap() {
                    "User" => user.name == name,
                    "Group" => user.groups.iter().any(|group| group == name),
                    _ => user.name == format!("system:serviceaccount:{of}:{name}"),
                }
            });
            let allows = roles.iter().any(|role| {
                let verbs = &role["rules"][0]["verbs"];
                meta::namespace(role) == role_home
                    && role["metadata"]["name"] == binding["roleRef"]["name"]
                    && verbs
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|own| own == verb || own == "*")
            });
            (home.is_empty() || home == namespace) && is_bound && allows
        })
    }

    proptest! {
        #[test]
        fn the_compiled_policy_says_what_its_objects_say(
            roles in any_roles(),
            bindings in any_bindings(),
            user in select(vec![
                User::new("anna", &[]),
                User::new("bert", &["crew"]),
                User::new("system:serviceaccount:a:robot", &["crew"]),
                User::new("system:serviceaccount:b:robot", &[]),
            ]),
            verb in select(&["get", "list", "delete"][..]),
            namespace in select(&NAMESPACES[..]),
        ) {
            let expected = naive(&roles, &bindings, &user, verb, namespace);
            let policy = Policy::of(roles, bindings);
            let attempt = Attempt::Resource {
                verb, group: "", resource: "pods", subresource: "", namespace, name: "",
            };
            prop_assert_eq!(policy.decide(&user, &attempt).is_allowed(), expected);
        }
    }

    #[test]
    fn roles_that_are_missing_are_told_once() {
        let binding = |role: &str| {
            json!({"metadata": {"name": "x", "namespace": "a"}, "roleRef": {"kind": "Role",
                "name": role}, "subjects": [{"kind": "User", "name": "anna"}]})
        };
        let policy = Policy::of([], [binding("one"), binding("two"), binding("one")]);
        let attempt = Attempt::Resource {
            verb: "get",
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "a",
            name: "",
        };
        let expected = "RBAC: [role.rbac.authorization.k8s.io \"one\" not found, \
                        role.rbac.authorization.k8s.io \"two\" not found]";
        assert_eq!(
            policy.decide(&User::new("anna", &[]), &attempt),
            Decision::Denied(expected.into())
        );
    }
}
