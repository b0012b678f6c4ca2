//! What cargo says about the workspace, as far as the rules need it.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The workspace, and all packages that could be built for it.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) workspace_members: BTreeSet<String>,
    pub(super) workspace_root: PathBuf,
    /// Name and version of the packages that are built on a machine like this one. The graph of
    /// `cargo metadata` has more: what features would bring that nobody turns on.
    #[serde(skip)]
    pub(super) built: BTreeSet<(String, String)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Nothing for what the product itself needs, else `dev` or `build`.
    pub(super) kind: Option<String>,
}

impl Metadata {
    pub(super) fn load() -> anyhow::Result<Self> {
        let metadata = cargo(&["metadata", "--locked", "--format-version=1"])?;
        let mut metadata: Self =
            serde_json::from_str(&metadata).context("failed to read cargo's metadata")?;
        let built = cargo(&[
            "tree",
            "--locked",
            "--workspace",
            "--edges=all",
            "--prefix=none",
        ])?;
        metadata.built = built.lines().filter_map(name_and_version).collect();
        Ok(metadata)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// All packages that are built, of the workspace or not.
    pub(super) fn built(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| {
            let key = (package.name.clone(), package.version.clone());
            self.built.contains(&key)
        })
    }
}

/// From a line such as `serde v1.0.229 (*)`; other lines tell of features.
fn name_and_version(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((name.to_owned(), version.to_owned()))
}

fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command
        .output()
        .with_context(|| format!("failed to run {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).context("cargo prints text that is no UTF-8")
}
