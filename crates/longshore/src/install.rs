//! Installing the CustomResourceDefinitions at start, and the roles that go with them.

use std::fmt::Debug;

use anyhow::{Context as _, Result};
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, Resource, ResourceExt, api::ObjectMeta, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

const GROUP: &str = "cdi.kubevirt.io";
const READ: &[&str] = &["get", "list", "watch"];

/// Brings all CustomResourceDefinitions to this version's state.
pub(crate) async fn crds(client: &Client) -> Result<()> {
    for wanted in api::crds::all() {
        let same = |present: &CustomResourceDefinition| present.spec == wanted.spec;
        install(client, &wanted, same).await?;
    }
    Ok(())
}

/// Brings the roles to this version's state by which the users of `admin`, `edit` and `view` get to
/// the custom resources.
pub(crate) async fn roles(client: &Client) -> Result<()> {
    for wanted in [
        role("admin", write_rules()),
        role("edit", write_rules()),
        role(
            "view",
            vec![rule(&["datavolumes", "volumeimportsources"], READ)],
        ),
    ] {
        let same = |present: &ClusterRole| {
            present.rules == wanted.rules && present.metadata.labels == wanted.metadata.labels
        };
        install(client, &wanted, same).await?;
    }
    Ok(())
}

fn write_rules() -> Vec<PolicyRule> {
    vec![
        rule(&["datavolumes", "volumeimportsources"], &["*"]),
        // To clone a disk is to read it: who may write in its namespace may do that.
        rule(&["datavolumes/source"], &["create"]),
    ]
}

fn rule(resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(texts(&[GROUP])),
        resources: Some(texts(resources)),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}

/// A part of the role `name` that every Kubernetes API has.
fn role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(format!("{GROUP}:{name}")),
            labels: Some([(label, "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        rules: Some(rules),
        ..ClusterRole::default()
    }
}

/// Creates an object, or replaces the one that is there and is not the same.
async fn install<K>(client: &Client, wanted: &K, same: impl Fn(&K) -> bool) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let all = Api::<K>::all(client.clone());
    let name = wanted.name_any();
    let failed = || format!("failed to install the {} {name}", K::kind(&()));
    match all.get_opt(&name).await.with_context(failed)? {
        None => {
            all.create(&PostParams::default(), wanted)
                .await
                .with_context(failed)?;
        }
        Some(present) if same(&present) => {}
        Some(present) => {
            let mut wanted = wanted.clone();
            wanted.meta_mut().resource_version = present.resource_version();
            all.replace(&name, &PostParams::default(), &wanted)
                .await
                .with_context(failed)?;
        }
    }
    Ok(())
}
