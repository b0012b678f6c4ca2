//! `longshore backup` and `longshore restore`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use apiserver::store::{self, Backup, Outcome, Store};
use futures::AsyncReadExt as _;
use serde_json::Value;

use crate::{
    cli::{DataDir, FileArgs},
    connect, output,
};

/// Bytes that are taken from the server at a time.
const CHUNK: usize = 64 * 1024;

/// Fetches a backup of the running instance, checks it, and only then gives it its name.
pub(crate) async fn backup(args: FileArgs) -> Result<()> {
    let kubeconfig = args.data_dir.kubeconfig()?;
    if !Store::is_in_use(&args.data_dir.path()?) {
        bail!("longshore does not run: start it by `longshore up`, or copy its data folder");
    }
    let folder = folder_of(&args.file);
    let failed = || format!("failed to write {}", args.file.display());
    // For its owner only, as a backup must be; gone unless it is kept.
    let mut new = tempfile::Builder::new()
        .prefix(".backup-")
        .tempfile_in(&folder)
        .with_context(failed)?;
    let client = connect::client(&kubeconfig).await?;
    let request = http::Request::get("/longshore/v1/backup").body(Vec::new())?;
    let answer = client.request_stream(request).await;
    let mut answer = std::pin::pin!(answer.context("the server gives no backup")?);
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = answer.read(&mut chunk).await;
        let length = length.context("the backup broke off")?;
        if length == 0 {
            break;
        }
        new.write_all(&chunk[..length]).with_context(failed)?;
    }
    new.as_file().sync_all().with_context(failed)?;
    let backup = Backup::read(new.path()).context("the backup arrived damaged")?;
    new.persist(&args.file).with_context(failed)?;
    File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .with_context(failed)?;
    let (objects, revision) = (backup.len(), backup.revision);
    let file = args.file.display();
    Ok(output::line(format_args!(
        "{file}: {objects} objects at revision {revision}"
    ))?)
}

/// Restores a running instance through its API, and the files of one that does not run.
pub(crate) async fn restore(args: FileArgs) -> Result<()> {
    let backup = Backup::read(&args.file)?;
    let dir = args.data_dir.path()?;
    if Store::is_in_use(&dir) {
        return restore_running(&args.file, &args.data_dir).await;
    }
    match store::restore(&dir, backup).await? {
        Outcome::Changed(restored) => tell(&serde_json::to_value(restored)?),
        Outcome::Replaced {
            objects,
            revision,
            moved,
        } => {
            if let Some(moved) = moved {
                let moved = moved.display();
                output::line(format_args!("the damaged database is now {moved}"))?;
            }
            let text = format!("{objects} objects restored; revisions go on after {revision}");
            Ok(output::line(text)?)
        }
    }
}

async fn restore_running(file: &Path, dir: &DataDir) -> Result<()> {
    let content = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
    let client = connect::client(&dir.kubeconfig()?).await?;
    let request = http::Request::post("/longshore/v1/restore").body(content)?;
    let restored: Value = client
        .request(request)
        .await
        .context("nothing was restored")?;
    tell(&restored)
}

fn tell(restored: &Value) -> Result<()> {
    Ok(output::line(format_args!(
        "{} objects created, {} updated, {} deleted, {} unchanged; the newest revision is {}",
        restored["created"],
        restored["updated"],
        restored["deleted"],
        restored["unchanged"],
        restored["revision"]
    ))?)
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
