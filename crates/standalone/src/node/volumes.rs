//! A Pod's volumes on the node.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi::{NodePublishVolumeRequest, NodeUnpublishVolumeRequest, VolumeCapability};
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, Volume,
};
use kube::{Api, Client};
use rustix::fs::{AtFlags, CWD, Gid};

use super::fields;
use super::files::{self, Sources};
use super::folder::{self, BadName, PodFolder};
use super::plan::fs_group;
use crate::csi_client::{CsiClient, DRIVER_NAME};

/// Why a Pod's volumes are not there yet. Tried again until the Pod goes.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("volume {volume} is of a kind that is not supported here")]
    Unsupported { volume: String },
    #[error("a volume cannot be named so")]
    Name(#[from] BadName),
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("references non-existent {} key: {key}", config_or(kind))]
    NoKey { kind: &'static str, key: String },
    #[error("a source of a projected volume is of a kind that is not supported here")]
    UnsupportedProjection,
    #[error("no container is named \"{container}\"")]
    NoContainer { container: String },
    #[error(transparent)]
    Field(#[from] fields::Unknown),
    #[error("failed to fetch token of account \"{account}\"")]
    Token {
        account: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("persistentvolumeclaim \"{claim}\" is not bound")]
    Unbound { claim: String },
    #[error("persistentvolume \"{volume}\" is not a volume of the driver {DRIVER_NAME}")]
    OtherDriver { volume: String },
    #[error("the driver did not publish volume {volume}")]
    Publish {
        volume: String,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("the driver did not unpublish {target}")]
    Unpublish {
        target: PathBuf,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("cannot prepare {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the volume at {path} is still mounted")]
    StillMounted { path: PathBuf },
    #[error("cannot read {kind} \"{name}\"")]
    Api {
        kind: &'static str,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Keys of ConfigMaps are told as Kubernetes' agent tells them.
fn config_or<'a>(kind: &&'a str) -> &'a str {
    if *kind == "configmap" { "config" } else { kind }
}

pub(super) fn failed<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> VolumeError {
    move |error| VolumeError::Io {
        path: path.to_owned(),
        source: error.into(),
    }
}

/// What volumes are made with.
pub(super) struct Volumes<'a> {
    pub(super) client: &'a Client,
    pub(super) driver: &'a CsiClient,
    pub(super) folder: &'a PodFolder,
    /// The Pod's address.
    pub(super) address: &'a str,
}

/// A volume that is not there yet.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" ")]
pub(super) struct NotSetUp {
    volume: String,
    #[source]
    source: VolumeError,
}

impl Volumes<'_> {
    /// Makes all volumes of a Pod visible and returns their folders by name. Repeating it changes
    /// nothing.
    pub(super) async fn publish(&self, pod: &Pod) -> Result<HashMap<String, PathBuf>, NotSetUp> {
        let mut paths = HashMap::new();
        for volume in of_pod(pod) {
            let published = self.publish_one(pod, volume).await;
            let path = published.map_err(|source| NotSetUp {
                volume: volume.name.clone(),
                source,
            })?;
            paths.insert(volume.name.clone(), path);
        }
        Ok(paths)
    }

    /// Writes those files again that do not stay true.
    pub(super) async fn renew(&self, pod: &Pod) -> Result<(), VolumeError> {
        for volume in of_pod(pod).filter(|volume| files::renewal(volume).is_some()) {
            self.write_files(pod, volume).await?;
        }
        Ok(())
    }

    async fn write_files(&self, pod: &Pod, volume: &Volume) -> Result<PathBuf, VolumeError> {
        let path = self.folder.files(&volume.name)?;
        let sources = Sources {
            client: self.client,
            pod,
            address: self.address,
        };
        sources.write(volume, &path).await?;
        Ok(path)
    }

    async fn publish_one(&self, pod: &Pod, volume: &Volume) -> Result<PathBuf, VolumeError> {
        let group = fs_group(pod);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(source) = &volume.persistent_volume_claim {
            let claims: Api<PersistentVolumeClaim> =
                Api::namespaced(self.client.clone(), namespace);
            let name = &source.claim_name;
            let claim = get(&claims, "persistentvolumeclaim", name).await?;
            let target = self
                .publish_claim(&claim, source.read_only.unwrap_or_default())
                .await?;
            give_to_group(&target, group)?;
            return Ok(target);
        }
        if volume.empty_dir.is_some() {
            let path = self.folder.scratch(&volume.name)?;
            folder::create_with_mode(&path, 0o777).map_err(failed(&path))?;
            give_to_group(&path, group)?;
            return Ok(path);
        }
        if files::is_made_of_files(volume) {
            return self.write_files(pod, volume).await;
        }
        Err(VolumeError::Unsupported {
            volume: volume.name.clone(),
        })
    }

    async fn publish_claim(
        &self,
        claim: &PersistentVolumeClaim,
        read_only: bool,
    ) -> Result<PathBuf, VolumeError> {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let is_bound = claim
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let volume = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_name.clone());
        let Some(volume) = volume.filter(|_| is_bound == Some("Bound")) else {
            return Err(VolumeError::Unbound { claim: name });
        };
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let object = get(&volumes, "persistentvolume", &volume).await?;
        let source = object.spec.and_then(|spec| spec.csi);
        let Some(source) = source.filter(|source| source.driver == DRIVER_NAME) else {
            return Err(VolumeError::OtherDriver { volume });
        };
        let (folder, handle) = (self.folder.volume(&volume)?, self.folder.handle(&volume)?);
        let handles = self.folder.handles();
        // Written first: whoever sweeps up after a crash must know what may be published here.
        folder::create(&handles).map_err(failed(&handles))?;
        fs::write(&handle, &source.volume_handle).map_err(failed(&handle))?;
        folder::create(&folder).map_err(failed(&folder))?;
        let target = folder.join("mount");
        let request = publish_request(source, &target, read_only);
        match self.driver.node().node_publish_volume(request).await {
            Ok(_) => Ok(target),
            Err(source) => Err(VolumeError::Publish {
                volume,
                source: Box::new(source),
            }),
        }
    }
}

/// The volumes that a Pod names.
pub(super) fn of_pod(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| spec.volumes.iter().flatten())
}

/// Takes all volumes away and removes the Pod's folder. Repeating it is safe, and so is a Pod that
/// never had volumes.
pub(super) async fn remove_all(driver: &CsiClient, folder: &PodFolder) -> Result<(), VolumeError> {
    unpublish(driver, folder).await?;
    // Only where nothing is ever mounted may a whole tree go: what is in a volume is not the Pod's
    // to remove.
    for path in [folder.all_scratch(), folder.containers()] {
        let tree = path.clone();
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(tree)).await;
        gone(removed.unwrap_or_else(|broken| Err(broken.into()))).map_err(failed(&path))?;
    }
    for path in [folder.volumes(), folder.handles(), folder.all_files()] {
        gone(fs::remove_dir(&path)).map_err(failed(&path))?;
    }
    gone(fs::remove_dir(folder.path())).map_err(failed(folder.path()))
}

/// Takes all volumes away; logs stay.
pub(super) async fn unpublish(driver: &CsiClient, folder: &PodFolder) -> Result<(), VolumeError> {
    let handles = folder.handles();
    for volume in folder::names(&handles).map_err(failed(&handles))? {
        unpublish_one(driver, folder, &volume).await?;
    }
    let files = folder.all_files();
    for volume in folder::names(&files).map_err(failed(&files))? {
        let path = files.join(volume);
        while sys::mount::is_mount_point(&path).map_err(failed(&path))? {
            sys::mount::unmount(&path).map_err(failed(&path))?;
        }
        gone(fs::remove_dir(&path)).map_err(failed(&path))?;
    }
    Ok(())
}

/// A call to publish that was given up may still be under way. It succeeds as long as the volume's
/// folder is there, and then the folder is not empty and stays, with its handle, for the next try.
async fn unpublish_one(
    driver: &CsiClient,
    folder: &PodFolder,
    volume: &str,
) -> Result<(), VolumeError> {
    let (handle, path) = (folder.handle(volume)?, folder.volume(volume)?);
    let target = path.join("mount");
    let volume_id = fs::read_to_string(&handle).map_err(failed(&handle))?;
    if volume_id.is_empty() {
        // An agent died while it wrote the handle, and what it had mounted went with it.
        gone(fs::remove_dir(&target)).map_err(failed(&target))?;
    } else {
        let request = NodeUnpublishVolumeRequest {
            volume_id,
            target_path: target.to_string_lossy().into_owned(),
        };
        if let Err(source) = driver.node().node_unpublish_volume(request).await {
            return Err(VolumeError::Unpublish {
                target,
                source: Box::new(source),
            });
        }
    }
    match gone(fs::remove_dir(&path)) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            return Err(VolumeError::StillMounted { path: target });
        }
        removed => removed.map_err(failed(&path))?,
    }
    gone(fs::remove_file(&handle)).map_err(failed(&handle))
}

/// What was not there is removed too.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) async fn get<K>(api: &Api<K>, kind: &'static str, name: &str) -> Result<K, VolumeError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.get_opt(name).await {
        Ok(Some(object)) => Ok(object),
        Ok(None) => Err(VolumeError::NotFound {
            kind,
            name: name.to_owned(),
        }),
        Err(source) => Err(VolumeError::Api {
            kind,
            name: name.to_owned(),
            source: Box::new(source),
        }),
    }
}

/// A missing object that may be missing is none.
pub(super) fn unless_missing<K>(
    found: Result<K, VolumeError>,
    optional: Option<bool>,
) -> Result<Option<K>, VolumeError> {
    match found {
        Err(VolumeError::NotFound { .. }) if optional == Some(true) => Ok(None),
        found => found.map(Some),
    }
}

fn publish_request(
    source: CSIPersistentVolumeSource,
    target: &Path,
    read_only: bool,
) -> NodePublishVolumeRequest {
    let mount = MountVolume {
        fs_type: source.fs_type.unwrap_or_default(),
        ..MountVolume::default()
    };
    NodePublishVolumeRequest {
        volume_id: source.volume_handle,
        target_path: target.to_string_lossy().into_owned(),
        volume_capability: Some(VolumeCapability {
            access_type: Some(AccessType::Mount(mount)),
            access_mode: Some(AccessMode {
                mode: Mode::SingleNodeWriter.into(),
            }),
        }),
        readonly: read_only || source.read_only.unwrap_or_default(),
        volume_context: source.volume_attributes.into_iter().flatten().collect(),
        ..NodePublishVolumeRequest::default()
    }
}

/// Gives a volume's root folder to the Pod's `fsGroup`: the group may write, and new files are the
/// group's.
///
/// Where the node's user namespace does not know the group, containers are mapped to the node's own
/// user, who owns the folder anyway.
fn give_to_group(path: &Path, group: Option<u32>) -> Result<(), VolumeError> {
    let Some(group) = group else {
        return Ok(());
    };
    if sys::mount::is_read_only(path).map_err(failed(path))? {
        return Ok(());
    }
    let given = rustix::fs::chownat(
        CWD,
        path,
        None,
        Some(Gid::from_raw(group)),
        AtFlags::empty(),
    );
    match given {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => {}
        Err(error) => return Err(failed(path)(error)),
    }
    let mode = fs::metadata(path)
        .map_err(failed(path))?
        .permissions()
        .mode();
    let wanted = mode | 0o2070;
    if mode == wanted {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(wanted)).map_err(failed(path))
}
