//! A Pod's folder on the node.
//!
//! ```text
//! DIR/nodes/N/pods/<uid>/
//! ├── volumes/<pv>/mount     a published volume
//! ├── handles/<pv>           its CSI id, in a file that outlives the folder it is published in
//! ├── scratch/<volume>       an emptyDir
//! ├── files/<volume>         the files of a ConfigMap or Secret, in memory
//! └── containers/<name>/
//!     ├── <restart>.log      what it said
//!     ├── termination-log    what it left as its last word
//!     └── root               an empty folder, the place of its root
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::csi_client::node_folder;

/// The folder of one Pod; the uid makes it unique for ever.
#[derive(Clone, Debug)]
pub(super) struct PodFolder(PathBuf);

/// A name that would lead out of the Pod's folder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not the name of a file")]
pub(super) struct BadName {
    name: String,
}

/// The folder of all Pods of a node.
pub(super) fn pods_folder(data_dir: &Path, node: &str) -> PathBuf {
    node_folder(data_dir, node).join("pods")
}

impl PodFolder {
    pub(super) fn new(data_dir: &Path, node: &str, uid: &str) -> Self {
        Self(pods_folder(data_dir, node).join(uid))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The folders of all published volumes.
    pub(super) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub(super) fn volume(&self, volume: &str) -> Result<PathBuf, BadName> {
        below(&self.volumes(), volume)
    }

    /// The files with the CSI ids of all volumes that may be published.
    pub(super) fn handles(&self) -> PathBuf {
        self.0.join("handles")
    }

    pub(super) fn handle(&self, volume: &str) -> Result<PathBuf, BadName> {
        below(&self.handles(), volume)
    }

    /// The folders of all emptyDirs.
    pub(super) fn all_scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    pub(super) fn scratch(&self, volume: &str) -> Result<PathBuf, BadName> {
        below(&self.all_scratch(), volume)
    }

    /// The folders of all volumes made of files.
    pub(super) fn all_files(&self) -> PathBuf {
        self.0.join("files")
    }

    pub(super) fn files(&self, volume: &str) -> Result<PathBuf, BadName> {
        below(&self.all_files(), volume)
    }

    /// The folders of all containers.
    pub(super) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    pub(super) fn container(&self, container: &str) -> Result<ContainerFolder, BadName> {
        below(&self.containers(), container).map(ContainerFolder)
    }
}

/// The folder of one container.
#[derive(Clone, Debug)]
pub(super) struct ContainerFolder(PathBuf);

impl ContainerFolder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn termination_log(&self) -> PathBuf {
        self.0.join("termination-log")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

/// What has this name in a folder. Names come from objects, and joining an absolute path or `..`
/// would lead anywhere on the machine.
fn below(folder: &Path, name: &str) -> Result<PathBuf, BadName> {
    let path = Path::new(name);
    let mut parts = path.components();
    match (parts.next(), parts.next()) {
        // Compared as text too: `a/` and `a/.` have one component.
        (Some(Component::Normal(part)), None) if part == path.as_os_str() => Ok(folder.join(part)),
        _ => Err(BadName {
            name: name.to_owned(),
        }),
    }
}

/// Makes a folder that only the agent's user enters, with its parents.
pub(super) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(path)
}

/// Makes a folder of exactly this mode.
pub(super) fn create_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The names in a folder; none when it is missing.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = PodFolder::new(Path::new("/data"), "node-1", "uid");
        assert_eq!(
            folder.scratch("disk.0").unwrap(),
            Path::new("/data/nodes/node-1/pods/uid/scratch/disk.0")
        );
        for name in [
            "", ".", "..", "/", "/etc", "a/b", "../a", "a/", "a/.", "./a",
        ] {
            let refused = Err(BadName {
                name: name.to_owned(),
            });
            assert_eq!(folder.scratch(name), refused);
            assert_eq!(folder.files(name), refused);
            assert_eq!(folder.volume(name), refused);
            assert!(folder.container(name).is_err(), "{name}");
        }
    }
}
