//! `longshore controllers`.

use anyhow::{Context as _, Result, bail};
use api::DataVolume;
use kube::{Api, api::ListParams};

use crate::{cli::ControllersArgs, connect, output, process};

/// Runs the reconcilers until it is told to stop.
pub(crate) async fn serve(args: ControllersArgs) -> Result<()> {
    let client = connect::client(&args.kubeconfig).await?;
    // Without it every watch would fail, for ever and out of sight.
    match Api::<DataVolume>::all(client.clone())
        .list(&ListParams::default().limit(1))
        .await
    {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => bail!(
            "the API server does not know DataVolumes: install them by `longshore crds | kubectl apply -f -`"
        ),
        Err(error) => return Err(error).context("failed to list DataVolumes"),
    }
    let mut config = controllers::Config::default();
    if let Some(image) = args.worker_image {
        config.worker_image = image;
    }
    output::line("controllers are running")?;
    controllers::run(client, config, process::stop_requested()).await;
    Ok(())
}
