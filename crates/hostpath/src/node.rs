//! The Node service: a published volume is a bind mount of its folder.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi::v1::node_service_capability::{Rpc, Type, rpc};
use csi::v1::volume_usage::Unit;
use csi::{
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest,
    NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeServiceCapability,
    NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, Topology, VolumeUsage,
};
use rustix::fs::{AtFlags, CWD};
use sys::mount::{Restrictions, Tree};
use tonic::{Request, Response, Status};

use crate::TOPOLOGY_KEY;
use crate::capability::check_capability;
use crate::controller::volume_id;
use crate::log::{answer, blocking};
use crate::pool::Pool;
use crate::volume_id::VolumeId;

/// The pools of this node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) node: String,
    pub(crate) pools: Arc<[Pool]>,
}

impl Node {
    async fn publish(
        &self,
        request: NodePublishVolumeRequest,
    ) -> Result<NodePublishVolumeResponse, Status> {
        let id = volume_id(&request.volume_id)?;
        let target = target_path(&request.target_path)?;
        let Some(capability) = &request.volume_capability else {
            return Err(Status::invalid_argument(
                "volume capability missing in request",
            ));
        };
        check_capability(capability)?;
        let pools = Arc::clone(&self.pools);
        let read_only = request.readonly;
        blocking(move || publish(&open_volume(&pools, &id)?, &target, read_only)).await?;
        Ok(NodePublishVolumeResponse {})
    }

    async fn unpublish(
        &self,
        request: NodeUnpublishVolumeRequest,
    ) -> Result<NodeUnpublishVolumeResponse, Status> {
        volume_id(&request.volume_id)?;
        let target = target_path(&request.target_path)?;
        blocking(move || unpublish(&target)).await?;
        Ok(NodeUnpublishVolumeResponse {})
    }

    async fn stats(
        &self,
        request: NodeGetVolumeStatsRequest,
    ) -> Result<NodeGetVolumeStatsResponse, Status> {
        let id = volume_id(&request.volume_id)?;
        let path = target_path(&request.volume_path)?;
        let pools = Arc::clone(&self.pools);
        let usage = blocking(move || {
            let volume = open_volume(&pools, &id)?;
            if !same_file(&volume, &path).map_err(failed("look at", &path))? {
                let message = format!("volume {id} is not published at {}", path.display());
                return Err(Status::not_found(message));
            }
            usage(&path)
        })
        .await?;
        Ok(NodeGetVolumeStatsResponse {
            usage,
            volume_condition: None,
        })
    }
}

fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Status {
    move |error| {
        let error: io::Error = error.into();
        Status::internal(format!("cannot {action} {}: {error}", path.display()))
    }
}

fn target_path(text: &str) -> Result<PathBuf, Status> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Status::invalid_argument(format!(
            "target path {text:?} must be absolute"
        )))
    }
}

fn open_volume(pools: &[Pool], id: &VolumeId) -> Result<OwnedFd, Status> {
    for pool in pools {
        if let Some(folder) = pool.open_volume(id)? {
            return Ok(folder);
        }
    }
    Err(Status::not_found(format!(
        "volume {id} does not exist on this node"
    )))
}

/// Whether the path leads to the very file that the descriptor refers to; false when it leads
/// nowhere.
fn same_file(file: &OwnedFd, path: &Path) -> rustix::io::Result<bool> {
    let wanted = rustix::fs::fstat(file)?;
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn publish(volume: &OwnedFd, target: &Path, read_only: bool) -> Result<(), Status> {
    match DirBuilder::new().mode(0o750).create(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create the target", target)(error));
        }
        _ => {}
    }
    if sys::mount::is_mount_point(target).map_err(failed("look at", target))? {
        return check_published(volume, target, read_only);
    }
    let mount = || {
        let tree = Tree::clone_of(volume.as_fd())?;
        tree.restrict(Restrictions {
            read_only,
            no_devices: true,
            no_exec: false,
        })?;
        tree.attach(target)
    };
    mount().map_err(failed("mount the volume at", target))
}

/// A repeated call is a success if it asks for the same.
fn check_published(volume: &OwnedFd, target: &Path, read_only: bool) -> Result<(), Status> {
    let same = same_file(volume, target).map_err(failed("look at", target))?
        && sys::mount::is_read_only(target).map_err(failed("look at", target))? == read_only;
    if same {
        return Ok(());
    }
    Err(Status::already_exists(format!(
        "{} is a mount point already, of something else or in another mode",
        target.display()
    )))
}

/// Removes the mounts at the target and then the target, which must be empty by then.
fn unpublish(target: &Path) -> Result<(), Status> {
    loop {
        match sys::mount::is_mount_point(target) {
            Ok(true) => sys::mount::unmount(target).map_err(failed("unmount", target))?,
            Ok(false) => break,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(failed("look at", target)(error)),
        }
    }
    match fs::remove_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove the target", target)(error))
        }
        _ => Ok(()),
    }
}

/// Bytes and inodes of the file system behind the path.
fn usage(path: &Path) -> Result<Vec<VolumeUsage>, Status> {
    let status = rustix::fs::statvfs(path).map_err(failed("measure", path))?;
    let entry = |unit: Unit, available: u64, total: u64, free: u64, size: u64| {
        let number = |count: u64| i64::try_from(count.saturating_mul(size)).unwrap_or(i64::MAX);
        VolumeUsage {
            available: number(available),
            total: number(total),
            used: number(total.saturating_sub(free)),
            unit: unit.into(),
        }
    };
    Ok(vec![
        entry(
            Unit::Bytes,
            status.f_bavail,
            status.f_blocks,
            status.f_bfree,
            status.f_frsize,
        ),
        entry(
            Unit::Inodes,
            status.f_favail,
            status.f_files,
            status.f_ffree,
            1,
        ),
    ])
}

#[tonic::async_trait]
impl csi::Node for Node {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        answer("NodePublishVolume", request, |request| {
            self.publish(request)
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        answer("NodeUnpublishVolume", request, |request| {
            self.unpublish(request)
        })
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        answer("NodeGetVolumeStats", request, |request| self.stats(request)).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let stats = Rpc {
            r#type: rpc::Type::GetVolumeStats.into(),
        };
        Ok(Response::new(NodeGetCapabilitiesResponse {
            capabilities: vec![NodeServiceCapability {
                r#type: Some(Type::Rpc(stats)),
            }],
        }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        let segments = [(TOPOLOGY_KEY.to_owned(), self.node.clone())].into();
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.node.clone(),
            max_volumes_per_node: 0,
            accessible_topology: Some(Topology { segments }),
        }))
    }
}
