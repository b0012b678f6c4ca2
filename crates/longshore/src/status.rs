//! `longshore status`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use api::DataVolume;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{cli::DataDir, connect, output};

/// Asks the running instance, and prints what it says.
pub(crate) async fn print(args: &DataDir) -> Result<()> {
    let kubeconfig = args.kubeconfig()?;
    let not_running = || {
        let folder = kubeconfig.parent().unwrap_or(&kubeconfig).display();
        format!("longshore does not answer for {folder}: start it by `longshore up`")
    };
    let client = connect::client(&kubeconfig)
        .await
        .with_context(not_running)?;
    let version = client.apiserver_version().await.with_context(not_running)?;
    output::line(format_args!(
        "running, Kubernetes API {}",
        version.git_version
    ))?;
    output::line(format_args!("kubeconfig: {}", kubeconfig.display()))?;
    let all = ListParams::default();
    for node in Api::<Node>::all(client.clone()).list(&all).await? {
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref());
        let ready = conditions
            .unwrap_or_default()
            .iter()
            .find(|c| c.type_ == "Ready");
        let state = if ready.is_some_and(|c| c.status == "True") {
            "ready"
        } else {
            "not ready"
        };
        output::line(format_args!("node {}: {state}", node.name_any()))?;
    }
    let mut phases = BTreeMap::<String, usize>::new();
    for volume in Api::<DataVolume>::all(client).list(&all).await? {
        *phases.entry(volume.phase().name()).or_default() += 1;
    }
    for (phase, count) in phases {
        output::line(format_args!("data volumes {phase}: {count}"))?;
    }
    Ok(())
}
