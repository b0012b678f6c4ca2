//! `longshore demo`: a real disk image, made of this machine's own files, becomes a volume.
//!
//! All that is needed is started here as separate processes: a standalone Longshore and a web
//! server. They and all files are gone when it ends, also by ctrl-c.

mod image;
mod programs;
mod screen;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use api::{DataVolume, DataVolumePhase};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, Client, api::PostParams, runtime::watcher::watch_object};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use self::{
    image::Image,
    programs::{PATIENCE, Programs, Standalone, WebServer},
    screen::Screen,
};
use crate::{connect, process};

/// Name of the DataVolume, and of its claim.
const NAME: &str = "demo";
/// How long an import may say nothing new before it is given up.
const SILENCE: Duration = Duration::from_mins(2);

/// Runs it from beginning to end.
pub(crate) async fn run() -> Result<()> {
    let programs = Programs::find()?;
    let folder = tempfile::Builder::new().prefix("longshore-demo-").tempdir();
    let folder =
        folder.context("failed to make a temporary folder: set TMPDIR to another place")?;
    let shown = tokio::select! {
        biased;
        () = process::stop_requested() => {
            Err(anyhow::anyhow!("the demo was stopped; nothing is left of it"))
        }
        shown = show(&programs, folder.path()) => shown,
    };
    shown.and(remove(folder).await)
}

/// Removes the folder; processes that were ended a moment ago may still write to it.
async fn remove(folder: TempDir) -> Result<()> {
    let path = folder.keep();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::fs::remove_dir_all(&path) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("failed to remove {}", path.display()));
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn show(programs: &Programs, folder: &Path) -> Result<()> {
    let mut screen = Screen::new("Longshore demo: from a disk image on a web server to a volume")?;

    let files = "gathering files of this machine";
    let tree = screen
        .step(files, image::gather(&folder.join("files")))
        .await?;
    let image = screen
        .step(
            "making an ext4 disk of them, as qcow2",
            Image::make(programs, folder, &tree),
        )
        .await?;
    let web = WebServer::start(programs, folder);
    let web = screen.step("starting a web server (nginx)", web).await?;
    let standalone = Standalone::start(folder);
    let standalone = screen.step("starting longshore up", standalone).await?;

    let client = connect::client(&standalone.kubeconfig).await?;
    let (bar, follow) = screen.progress("importing it by a DataVolume")?;
    import(
        &client,
        &web.url(Image::FILE),
        image.virtual_size,
        |phase, part| {
            bar.show(phase, part);
        },
    )
    .await?;
    screen.done(bar, follow)?;
    let disk = disk_of(&client, &standalone.data).await?;

    let expected = folder.join("expected.img");
    let converting = image.convert(programs, &expected);
    screen
        .step("converting it by qemu-img, to compare", converting)
        .await?;
    screen
        .step("comparing every byte", image::compare(&disk, &expected))
        .await?;
    let allocated = image::allocated(&disk)?;
    screen
        .step("stopping and cleaning up", standalone.stop())
        .await?;
    drop(web);

    screen.summary(&image, allocated)
}

/// Makes a DataVolume, tells how far it is, and returns when it has succeeded.
async fn import(
    client: &Client,
    url: &str,
    size: u64,
    mut told: impl FnMut(&str, &str),
) -> Result<()> {
    let volumes = Api::<DataVolume>::default_namespaced(client.clone());
    let volume = serde_json::from_value(json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": { "name": NAME },
        "spec": {
            "source": { "http": { "url": url } },
            "storage": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "longshore-local-immediate",
                "resources": { "requests": { "storage": size.to_string() } },
            },
        },
    }));
    let volume = volume.context("the manifest does not fit the DataVolume of this version")?;
    volumes
        .create(&PostParams::default(), &volume)
        .await
        .context("the DataVolume was refused")?;
    let mut seen = std::pin::pin!(watch_object(volumes, NAME));
    loop {
        let next = timeout(SILENCE, seen.try_next()).await;
        let next = next.with_context(|| format!("nothing happened for {SILENCE:?}"))?;
        let Some(volume) = next.context("failed to watch the DataVolume")?.flatten() else {
            bail!("the DataVolume is gone: somebody removed it");
        };
        let status = volume.status.clone().unwrap_or_default();
        let progress = status.progress.unwrap_or_default();
        told(&volume.phase().name(), &progress);
        if volume.phase() == DataVolumePhase::Succeeded {
            return Ok(());
        }
        let conditions = status.conditions.unwrap_or_default();
        let failed = |reason: Option<&str>| matches!(reason, Some("Error" | "ImagePullFailed"));
        if let Some(failure) = conditions
            .iter()
            .find(|condition| condition.type_ == "Running" && failed(condition.reason.as_deref()))
        {
            bail!(
                "the import failed: {}",
                failure.message.as_deref().unwrap_or_default()
            );
        }
    }
}

/// The file that the DataVolume became.
async fn disk_of(client: &Client, data: &Path) -> Result<PathBuf> {
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(client.clone());
    let claim = claims.get(NAME).await.context("the claim is not there")?;
    let name = claim.spec.and_then(|spec| spec.volume_name);
    let name = name.context("the claim is not bound to a volume")?;
    let volumes = Api::<PersistentVolume>::all(client.clone());
    let volume = volumes
        .get(&name)
        .await
        .context("the volume is not there")?;
    let handle = volume
        .spec
        .and_then(|spec| spec.csi)
        .map(|csi| csi.volume_handle);
    let handle = handle.context("the volume is not one of a CSI driver")?;
    Ok(data.join("nodes/node-1/pool").join(handle).join("disk.img"))
}
