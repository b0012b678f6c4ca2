//! Reaching an API server by a kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::cli::DataDir;

/// Name of the kubeconfig in the data folder.
pub(crate) const KUBECONFIG: &str = "kubeconfig";

impl DataDir {
    /// The folder that is given, or the one that the user's kind has by default.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.data_dir {
            return std::path::absolute(path)
                .with_context(|| format!("--data-dir {} is no path", path.display()));
        }
        if std::env::var_os("HOME").is_none_or(|home| home == "/root") {
            return Ok(PathBuf::from("/var/lib/longshore"));
        }
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let data = folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share")));
        Ok(data
            .context("there is no home folder: give --data-dir")?
            .join("longshore"))
    }

    /// The kubeconfig of the instance that runs there.
    pub(crate) fn kubeconfig(&self) -> Result<PathBuf> {
        Ok(self.path()?.join(KUBECONFIG))
    }
}

/// A client for the API server of a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig);
    let read = read.with_context(|| format!("failed to read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let config = config.with_context(|| format!("failed to use {}", kubeconfig.display()))?;
    Client::try_from(config).context("failed to set up TLS")
}
