//! Roles: the ones that every server has, and those that are made of others.

use serde_json::{Value, json};

use super::{Call, Objects, Origin};
use crate::access::{Attempt, Authorizer, Decision, aggregation, bootstrap, escalation};
use crate::kind::Kind;
use crate::meta;
use crate::status::Status;
use crate::store::{Key, Write, WriteError};

const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

/// Roles that are made of roles that are made of roles …: more levels than anybody has.
const LEVELS: usize = 32;

impl Objects {
    /// Answers who may do what.
    pub(crate) fn authorizer(&self) -> Authorizer<'_> {
        Authorizer {
            store: &self.store,
            policies: &self.policies,
        }
    }

    /// Refuses a request whose author may not do what it turned out to need.
    pub(super) fn require(&self, verb: &str, call: &Call) -> Result<(), Status> {
        let attempt = Attempt::Resource {
            verb,
            group: &call.kind.group,
            resource: &call.kind.plural,
            subresource: "",
            namespace: &call.namespace,
            name: &call.name,
        };
        match self.authorizer().decide(&call.user, &attempt) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(reason) => Err(attempt.refusal(&call.user, &reason)),
        }
    }

    /// Makes the roles and bindings that every server has, and completes them.
    pub(crate) async fn make_default_policy(&self) -> Result<(), Status> {
        let mut roles = bootstrap::roles();
        let whole = roles.extract_if(.., |role| role.get("aggregationRule").is_some());
        let whole: Vec<Value> = whole.collect();
        let first = roles
            .iter()
            .map(|role| self.ensure(CLUSTER_ROLES, role))
            .collect::<Vec<_>>();
        futures::future::try_join_all(first).await?;
        for role in &whole {
            self.ensure(CLUSTER_ROLES, role).await?;
        }
        let bindings = bootstrap::bindings();
        let bindings = bindings
            .iter()
            .map(|binding| self.ensure(CLUSTER_ROLE_BINDINGS, binding))
            .collect::<Vec<_>>();
        futures::future::try_join_all(bindings).await?;
        self.aggregate_roles().await;
        Ok(())
    }

    async fn ensure(&self, resource: &str, wanted: &Value) -> Result<(), Status> {
        let plural = resource.split('.').next().unwrap_or_default();
        let catalog = self.registry.catalog();
        let Some(kind) = catalog.get(escalation::GROUP, "v1", plural) else {
            return Ok(());
        };
        let name = meta::name(wanted);
        let mut call = Call::system(kind, "", name);
        let key = Key {
            resource: resource.into(),
            namespace: String::new(),
            name: name.into(),
        };
        let stored = self.store.get(&key).map(|object| object.value());
        let is_other_role = |stored: &Value| stored.get("roleRef") != wanted.get("roleRef");
        match stored {
            // The role of a binding cannot be changed.
            Some(stored) if is_other_role(&stored) => {
                self.delete(&mut call, &super::DeleteOptions::default())
                    .await?;
                self.create(&mut call, wanted.clone().into()).await?;
            }
            Some(stored) => {
                if let Some(new) = bootstrap::completed(&stored, wanted) {
                    let propose = |_: &Value| Ok(new.clone().into());
                    self.update(&mut call, Origin::Replacement, propose).await?;
                }
            }
            None => {
                self.create(&mut call, wanted.clone().into()).await?;
            }
        }
        Ok(())
    }

    /// Goes on with what follows from a change of an object of this kind.
    pub(super) async fn after_change(&self, kind: &Kind) {
        if kind.is(escalation::GROUP, "clusterroles") {
            self.aggregate_roles().await;
        }
    }

    /// Gives roles that are made of others the rules of those.
    async fn aggregate_roles(&self) {
        for _ in 0..LEVELS {
            let objects = self.store.list(CLUSTER_ROLES, None);
            let roles: Vec<Value> = objects.iter().map(|object| object.value()).collect();
            let mut changed = false;
            for (object, role) in objects.iter().zip(&roles) {
                let Some(rules) = aggregation::outdated(role, &roles) else {
                    continue;
                };
                changed = true;
                let mut new = role.clone();
                new["rules"] = json!(rules);
                let key = Key {
                    resource: CLUSTER_ROLES.into(),
                    namespace: String::new(),
                    name: meta::name(role).into(),
                };
                match self
                    .store
                    .write(key, Write::Update(object.revision, new))
                    .await
                {
                    // Somebody was faster; the next round sees what they did.
                    Ok(_) | Err(WriteError::Stale | WriteError::Missing) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot aggregate a ClusterRole");
                        return;
                    }
                }
            }
            if !changed {
                return;
            }
        }
        tracing::warn!("ClusterRoles that aggregate each other do not come to rest");
    }
}
