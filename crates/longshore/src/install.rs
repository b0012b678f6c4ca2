//! Installing the CustomResourceDefinitions at start.

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt, api::PostParams};

/// Brings all CustomResourceDefinitions to this version's state.
pub(crate) async fn crds(client: &Client) -> Result<()> {
    let all = Api::<CustomResourceDefinition>::all(client.clone());
    for mut wanted in api::crds::all() {
        let name = wanted.name_any();
        let failed = || format!("failed to install the CustomResourceDefinition {name}");
        match all.get_opt(&name).await.with_context(failed)? {
            None => {
                all.create(&PostParams::default(), &wanted)
                    .await
                    .with_context(failed)?;
            }
            Some(present) if present.spec == wanted.spec => {}
            Some(present) => {
                wanted.metadata.resource_version = present.resource_version();
                all.replace(&name, &PostParams::default(), &wanted)
                    .await
                    .with_context(failed)?;
            }
        }
    }
    Ok(())
}
