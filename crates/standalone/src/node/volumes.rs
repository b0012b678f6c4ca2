//! A Pod's volumes on the node.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi::{NodePublishVolumeRequest, NodeUnpublishVolumeRequest, VolumeCapability};
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, ConfigMap, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Volume,
};
use kube::{Api, Client};
use rustix::fs::{AtFlags, CWD, Gid};

use super::folder::{self, BadName, PodFolder};
use super::plan::fs_group;
use crate::csi_client::{CsiClient, DRIVER_NAME};

/// Room for the files of one ConfigMap or Secret, in bytes; objects are at most 3 MiB.
const FILES_SIZE: u64 = 8 << 20;

/// The mode of those files unless the volume says otherwise.
const FILES_MODE: u32 = 0o644;

/// Why a Pod's volumes are not there yet. Tried again until the Pod goes.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("volume {volume} is of a kind that is not supported here")]
    Unsupported { volume: String },
    #[error("a volume cannot be named so")]
    Name(#[from] BadName),
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("{kind} \"{name}\" has no key {key}")]
    NoKey {
        kind: &'static str,
        name: String,
        key: String,
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

fn failed<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> VolumeError {
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
}

impl Volumes<'_> {
    /// Makes all volumes of a Pod visible and returns their folders by name. Repeating it changes
    /// nothing.
    pub(super) async fn publish(&self, pod: &Pod) -> Result<HashMap<String, PathBuf>, VolumeError> {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        let mut paths = HashMap::new();
        for volume in volumes.into_iter().flatten() {
            let path = self.publish_one(pod, volume).await?;
            paths.insert(volume.name.clone(), path);
        }
        Ok(paths)
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
        if let Some(source) = &volume.config_map {
            let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
            let found = get(&maps, "configmap", &source.name).await;
            let map = unless_missing(found, source.optional)?.unwrap_or_default();
            let text = map
                .data
                .into_iter()
                .flatten()
                .map(|(key, text)| (key, text.into_bytes()));
            let binary = map
                .binary_data
                .into_iter()
                .flatten()
                .map(|(key, bytes)| (key, bytes.0));
            let files = text.chain(binary).collect();
            let owner = ("configmap", source.name.as_str());
            let layout = (
                source.items.as_deref(),
                source.default_mode,
                source.optional,
            );
            return self.write_files(&volume.name, owner, files, layout);
        }
        if let Some(source) = &volume.secret {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            let name = source.secret_name.as_deref().unwrap_or_default();
            let found = get(&secrets, "secret", name).await;
            let secret = unless_missing(found, source.optional)?.unwrap_or_default();
            let files = secret
                .data
                .into_iter()
                .flatten()
                .map(|(key, bytes)| (key, bytes.0));
            let layout = (
                source.items.as_deref(),
                source.default_mode,
                source.optional,
            );
            return self.write_files(&volume.name, ("secret", name), files.collect(), layout);
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

    /// Writes the values of an object as files, in memory. They stay as they are for the life of
    /// the Pod.
    fn write_files(
        &self,
        volume: &str,
        (kind, name): (&'static str, &str),
        values: BTreeMap<String, Vec<u8>>,
        (items, mode, optional): (Option<&[KeyToPath]>, Option<i32>, Option<bool>),
    ) -> Result<PathBuf, VolumeError> {
        let path = self.folder.files(volume)?;
        folder::create_with_mode(&path, 0o755).map_err(failed(&path))?;
        if !sys::mount::is_mount_point(&path).map_err(failed(&path))? {
            sys::mount::memory(&path, FILES_SIZE, 0o755).map_err(failed(&path))?;
        }
        let mode = mode
            .and_then(|mode| u32::try_from(mode).ok())
            .unwrap_or(FILES_MODE);
        let write = |file: &str, mode: u32, content: &[u8]| {
            let file = plain_path(&path, file)?;
            fs::write(&file, content)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            for (key, content) in &values {
                write(key, mode, content).map_err(failed(&path))?;
            }
            return Ok(path);
        };
        for item in items {
            let mode = item
                .mode
                .and_then(|mode| u32::try_from(mode).ok())
                .unwrap_or(mode);
            match values.get(&item.key) {
                Some(content) => write(&item.path, mode, content).map_err(failed(&path))?,
                None if optional == Some(true) => {}
                None => {
                    let (name, key) = (name.to_owned(), item.key.clone());
                    return Err(VolumeError::NoKey { kind, name, key });
                }
            }
        }
        Ok(path)
    }
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

async fn get<K>(api: &Api<K>, kind: &'static str, name: &str) -> Result<K, VolumeError>
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
fn unless_missing<K>(
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

/// A file below a folder that holds nothing else yet; its parents are made.
fn plain_path(folder: &Path, file: &str) -> io::Result<PathBuf> {
    let relative = Path::new(file);
    let is_plain = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !is_plain || file.is_empty() {
        let message = format!("{file:?} is not a path below the volume");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let path = folder.join(relative);
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        folder::create_with_mode(parent, 0o755)?;
    }
    Ok(path)
}
