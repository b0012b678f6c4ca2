//! A Pod's folder on the node.
//!
//! ```text
//! DIR/nodes/N/pods/<uid>/
//! ├── volumes/<pv>/mount     a published volume; its CSI id is beside it, in the file `handle`
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
use std::path::{Path, PathBuf};

use crate::csi_client::node_folder;

/// The folder of one Pod; the uid makes it unique for ever.
#[derive(Clone, Debug)]
pub(super) struct PodFolder(PathBuf);

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

    pub(super) fn volume(&self, volume: &str) -> PathBuf {
        self.volumes().join(volume)
    }

    pub(super) fn scratch(&self, volume: &str) -> PathBuf {
        self.0.join("scratch").join(volume)
    }

    /// The folders of all volumes made of files.
    pub(super) fn all_files(&self) -> PathBuf {
        self.0.join("files")
    }

    pub(super) fn files(&self, volume: &str) -> PathBuf {
        self.all_files().join(volume)
    }

    pub(super) fn container(&self, container: &str) -> PathBuf {
        self.0.join("containers").join(container)
    }

    pub(super) fn termination_log(&self, container: &str) -> PathBuf {
        self.container(container).join("termination-log")
    }

    pub(super) fn root(&self, container: &str) -> PathBuf {
        self.container(container).join("root")
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
