//! The driver over its socket, as an orchestrator uses it.
//!
//! Publishing mounts, so these tests run as root in a mount namespace of their own; where that is
//! not permitted they say so and pass.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says when it is skipped"
)]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use csi::v1::volume_capability::{AccessType, BlockVolume, MountVolume};
use csi::v1::volume_content_source::{SnapshotSource, Type};
use csi::*;
use longshore_hostpath::{Config, PoolConfig, ServeError, serve};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A running driver over a pool in a temporary folder.
struct Driver {
    folder: TempDir,
    channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Driver {
    async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let config = config(folder.path());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(config, async {
            let _ = stopped.await;
        }));
        let channel =
            csi::channel(&folder.path().join("csi.sock"), Duration::from_secs(10)).unwrap();
        let driver = Self {
            folder,
            channel,
            stop: Some(stop),
            served,
        };
        driver.wait_until_ready().await;
        driver
    }

    async fn wait_until_ready(&self) {
        for _ in 0..1000 {
            if IdentityClient::new(self.channel.clone())
                .probe(ProbeRequest {})
                .await
                .is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the driver did not become ready");
    }

    async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        self.served.await.unwrap().unwrap();
        self.folder
    }

    fn pool(&self) -> PathBuf {
        self.folder.path().join("pool")
    }

    async fn create(&self, request: CreateVolumeRequest) -> Result<Volume, Status> {
        let mut client = ControllerClient::new(self.channel.clone());
        Ok(client
            .create_volume(request)
            .await?
            .into_inner()
            .volume
            .unwrap())
    }

    async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = DeleteVolumeRequest {
            volume_id: id.to_owned(),
        };
        ControllerClient::new(self.channel.clone())
            .delete_volume(request)
            .await
            .map(drop)
    }

    async fn publish(&self, id: &str, target: &Path, readonly: bool) -> Result<(), Status> {
        let request = NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.to_str().unwrap().to_owned(),
            volume_capability: Some(mount()),
            readonly,
            ..Default::default()
        };
        NodeClient::new(self.channel.clone())
            .node_publish_volume(request)
            .await
            .map(drop)
    }

    async fn unpublish(&self, id: &str, target: &Path) -> Result<(), Status> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.to_str().unwrap().to_owned(),
        };
        NodeClient::new(self.channel.clone())
            .node_unpublish_volume(request)
            .await
            .map(drop)
    }
}

fn config(folder: &Path) -> Config {
    Config {
        endpoint: format!("unix://{}", folder.join("csi.sock").display()),
        driver_name: "kubevirt.io.hostpath-provisioner".to_owned(),
        node_id: "node-1".to_owned(),
        version: "1.2.3".to_owned(),
        pools: vec![PoolConfig {
            name: "legacy".to_owned(),
            path: folder.join("pool"),
            snapshot_path: None,
            snapshot_provider: None,
            shared: false,
        }],
    }
}

fn mount() -> VolumeCapability {
    let access_type = Some(AccessType::Mount(MountVolume::default()));
    VolumeCapability {
        access_type,
        access_mode: None,
    }
}

fn block() -> VolumeCapability {
    let access_type = Some(AccessType::Block(BlockVolume {}));
    VolumeCapability {
        access_type,
        access_mode: None,
    }
}

fn request(name: &str, required_bytes: i64) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(CapacityRange {
            required_bytes,
            limit_bytes: 0,
        }),
        volume_capabilities: vec![mount()],
        ..Default::default()
    }
}

fn place(node: &str) -> Topology {
    let segments = [("topology.hostpath.csi/node".to_owned(), node.to_owned())].into();
    Topology { segments }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.unwrap_err().code()
}

/// Runs a test in a mount namespace of its own, on one thread so that the namespace holds for all
/// of it.
fn in_private_namespace(test: impl Future<Output = ()>) {
    if let Err(error) = sys::namespace::enter() {
        println!("skipped: {error}");
        return;
    }
    // The threads for blocking work are made by this one, and share its namespace.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[tokio::test]
async fn it_says_who_it_is() {
    let driver = Driver::start().await;
    let mut identity = IdentityClient::new(driver.channel.clone());
    let info = identity
        .get_plugin_info(GetPluginInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.name, "kubevirt.io.hostpath-provisioner");
    assert_eq!(info.vendor_version, "1.2.3");
    let capabilities = identity
        .get_plugin_capabilities(GetPluginCapabilitiesRequest {})
        .await
        .unwrap();
    assert_eq!(capabilities.into_inner().capabilities.len(), 2);
    let info = NodeClient::new(driver.channel.clone())
        .node_get_info(NodeGetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.node_id, "node-1");
    assert_eq!(info.accessible_topology, Some(place("node-1")));
    driver.stop().await;
}

#[tokio::test]
async fn a_volume_is_a_folder_on_this_node() {
    let driver = Driver::start().await;
    let mut wanted = request("pvc-1", 1 << 20);
    wanted.parameters = HashMap::from([
        ("storagePool".to_owned(), "legacy".to_owned()),
        ("csi.storage.k8s.io/pvc/name".to_owned(), "claim".to_owned()),
    ]);
    let volume = driver.create(wanted).await.unwrap();
    assert_eq!(volume.volume_id, "pvc-1");
    assert_eq!(volume.capacity_bytes, 1 << 20);
    assert_eq!(volume.accessible_topology, [place("node-1")]);
    assert_eq!(
        volume.volume_context.keys().collect::<Vec<_>>(),
        ["storagePool"]
    );
    assert!(driver.pool().join("pvc-1").is_dir());

    driver.delete("pvc-1").await.unwrap();
    assert!(!driver.pool().join("pvc-1").exists());
    driver.delete("pvc-1").await.unwrap();
    driver.stop().await;
}

#[tokio::test]
async fn the_same_name_is_the_same_volume() {
    let driver = Driver::start().await;
    let first = driver.create(request("pvc-1", 4096)).await.unwrap();
    assert_eq!(driver.create(request("pvc-1", 4096)).await.unwrap(), first);
    assert_eq!(
        refused(driver.create(request("pvc-1", 8192)).await),
        Code::AlreadyExists
    );

    let mut bounded = request("pvc-1", 1024);
    bounded.capacity_range = Some(CapacityRange {
        required_bytes: 1024,
        limit_bytes: 4096,
    });
    assert_eq!(driver.create(bounded.clone()).await.unwrap(), first);
    bounded.capacity_range = Some(CapacityRange {
        required_bytes: 1024,
        limit_bytes: 2048,
    });
    assert_eq!(refused(driver.create(bounded).await), Code::AlreadyExists);
    driver.stop().await;
}

#[tokio::test]
async fn wrong_requests_have_their_codes() {
    let driver = Driver::start().await;
    let change = |change: fn(&mut CreateVolumeRequest)| {
        let mut request = request("pvc-1", 4096);
        change(&mut request);
        driver.create(request)
    };
    assert_eq!(
        refused(change(|r| r.name.clear()).await),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(change(|r| r.volume_capabilities.clear()).await),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(change(|r| r.volume_capabilities = vec![block()]).await),
        Code::InvalidArgument
    );
    assert_eq!(
        refused(change(|r| r.volume_capabilities.push(block())).await),
        Code::InvalidArgument
    );
    let other_pool = change(|r| {
        r.parameters
            .insert("storagePool".to_owned(), "fast".to_owned());
    });
    assert_eq!(refused(other_pool.await), Code::InvalidArgument);
    let snapshot = change(|r| {
        let source = SnapshotSource {
            snapshot_id: "s".to_owned(),
        };
        r.volume_content_source = Some(VolumeContentSource {
            r#type: Some(Type::Snapshot(source)),
        });
    });
    assert_eq!(refused(snapshot.await), Code::InvalidArgument);
    let limit = change(|r| {
        r.capacity_range = Some(CapacityRange {
            required_bytes: 2,
            limit_bytes: 1,
        });
    });
    assert_eq!(refused(limit.await), Code::OutOfRange);
    let negative = change(|r| {
        r.capacity_range = Some(CapacityRange {
            required_bytes: -1,
            limit_bytes: 0,
        });
    });
    assert_eq!(refused(negative.await), Code::OutOfRange);
    assert_eq!(
        fs::read_dir(driver.pool()).unwrap().count(),
        1,
        "only the driver's own folder"
    );
    driver.stop().await;
}

#[tokio::test]
async fn the_topology_must_name_this_node() {
    let driver = Driver::start().await;
    let on = |requisite: Vec<Topology>, preferred: Vec<Topology>| {
        let mut request = request("pvc-1", 4096);
        request.accessibility_requirements = Some(TopologyRequirement {
            requisite,
            preferred,
        });
        driver.create(request)
    };
    assert_eq!(
        refused(on(vec![place("node-2")], vec![]).await),
        Code::InvalidArgument
    );
    assert_eq!(refused(on(vec![], vec![]).await), Code::InvalidArgument);
    assert!(
        on(vec![place("node-2"), place("node-1")], vec![])
            .await
            .is_ok()
    );
    assert!(on(vec![], vec![place("node-1")]).await.is_ok());
    driver.stop().await;
}

#[tokio::test]
async fn a_volume_that_does_not_fit_names_the_figures() {
    let driver = Driver::start().await;
    let status = driver
        .create(request("pvc-big", i64::MAX))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains(&i64::MAX.to_string()),
        "{}",
        status.message()
    );
    assert!(
        status.message().contains("bytes available"),
        "{}",
        status.message()
    );
    assert!(!driver.pool().join("pvc-big").exists());

    let capacity = ControllerClient::new(driver.channel.clone())
        .get_capacity(GetCapacityRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(capacity.available_capacity > 0);
    assert!(capacity.maximum_volume_size.unwrap() >= capacity.available_capacity);
    driver.stop().await;
}

#[tokio::test]
async fn hostile_ids_touch_nothing() {
    let driver = Driver::start().await;
    let outside = driver.folder.path().join("x");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    for id in [
        "",
        ".",
        "..",
        "../x",
        "/etc",
        ".longshore",
        "a/b",
        &"x".repeat(129),
    ] {
        assert_eq!(
            refused(driver.create(request(id, 1)).await),
            Code::InvalidArgument,
            "{id:?}"
        );
        assert_eq!(
            refused(driver.delete(id).await),
            Code::InvalidArgument,
            "{id:?}"
        );
        let target = driver.folder.path().join("target");
        assert_eq!(
            refused(driver.publish(id, &target, false).await),
            Code::InvalidArgument,
            "{id:?}"
        );
        assert_eq!(
            refused(driver.unpublish(id, &target).await),
            Code::InvalidArgument,
            "{id:?}"
        );
    }
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    driver.stop().await;
}

#[tokio::test]
async fn planted_symbolic_links_are_not_followed() {
    let driver = Driver::start().await;
    let outside = driver.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    symlink(&outside, driver.pool().join("pvc-link")).unwrap();
    assert_eq!(
        refused(driver.create(request("pvc-link", 1)).await),
        Code::FailedPrecondition
    );
    let target = driver.folder.path().join("target");
    assert_eq!(
        refused(driver.publish("pvc-link", &target, false).await),
        Code::FailedPrecondition
    );
    driver.delete("pvc-link").await.unwrap();

    driver.create(request("pvc-1", 1)).await.unwrap();
    symlink(&outside, driver.pool().join("pvc-1/link")).unwrap();
    driver.delete("pvc-1").await.unwrap();
    assert!(!driver.pool().join("pvc-1").exists());
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    driver.stop().await;
}

#[tokio::test]
async fn what_a_killed_driver_leaves_is_finished() {
    let folder = Driver::start().await.stop().await;
    let pool = folder.path().join("pool");
    let own = pool.join(".longshore");
    // Killed between the record and the folder, during a removal, and while a record was written.
    fs::write(own.join("volumes/pvc-1.json"), r#"{"capacityBytes":4096}"#).unwrap();
    fs::create_dir_all(own.join("trash/pvc-2.1/sub")).unwrap();
    fs::write(own.join("volumes/pvc-3.draft"), "{").unwrap();

    let driver = Driver::start_in(folder).await;
    assert_eq!(fs::read_dir(own.join("trash")).unwrap().count(), 0);
    assert!(!own.join("volumes/pvc-3.draft").exists());
    assert_eq!(
        refused(driver.create(request("pvc-1", 8192)).await),
        Code::AlreadyExists
    );
    assert_eq!(
        driver
            .create(request("pvc-1", 4096))
            .await
            .unwrap()
            .capacity_bytes,
        4096
    );
    assert!(pool.join("pvc-1").is_dir());
    driver.stop().await;
}

#[test]
fn what_cannot_be_removed_stops_nothing_and_is_tried_again() {
    in_private_namespace(async {
        let folder = Driver::start().await.stop().await;
        let pool = folder.path().join("pool");
        let trash = pool.join(".longshore/trash");
        // A mount point cannot be removed.
        let stuck = trash.join("pvc-1.1");
        fs::create_dir(&stuck).unwrap();
        fs::create_dir(trash.join("pvc-1.x.1")).unwrap();
        sys::mount::memory(&stuck, 1 << 20, 0o755).unwrap();

        let driver = Driver::start_in(folder).await;
        assert!(stuck.is_dir() && !trash.join("pvc-1.x.1").exists());
        fs::create_dir(trash.join("pvc-1.x.1")).unwrap();
        driver.create(request("pvc-1", 1)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(refused(driver.delete("pvc-1").await), Code::Internal);
            assert!(!pool.join("pvc-1").exists(), "it is out of the way");
        }
        sys::mount::unmount(&stuck).unwrap();
        driver.delete("pvc-1").await.unwrap();
        let left = fs::read_dir(&trash)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["pvc-1.x.1"], "another volume's");
        driver.stop().await;
    });
}

#[tokio::test]
async fn data_of_the_original_driver_is_adopted() {
    let driver = Driver::start().await;
    fs::create_dir(driver.pool().join("pvc-old")).unwrap();
    fs::write(driver.pool().join("pvc-old/disk.img"), "data").unwrap();
    driver.create(request("pvc-old", 4096)).await.unwrap();
    assert_eq!(
        fs::read_to_string(driver.pool().join("pvc-old/disk.img")).unwrap(),
        "data"
    );
    driver.stop().await;
}

#[tokio::test]
async fn existing_volumes_are_validated() {
    let driver = Driver::start().await;
    driver.create(request("pvc-1", 1)).await.unwrap();
    let validate = |id: &str, capability| {
        let mut client = ControllerClient::new(driver.channel.clone());
        let volume_id = id.to_owned();
        async move {
            let volume_capabilities = vec![capability];
            client
                .validate_volume_capabilities(ValidateVolumeCapabilitiesRequest {
                    volume_id,
                    volume_capabilities,
                    ..Default::default()
                })
                .await
        }
    };
    assert!(
        validate("pvc-1", mount())
            .await
            .unwrap()
            .into_inner()
            .confirmed
            .is_some()
    );
    assert_eq!(refused(validate("pvc-2", mount()).await), Code::NotFound);
    assert_eq!(
        refused(validate("pvc-1", block()).await),
        Code::InvalidArgument
    );
    driver.stop().await;
}

#[test]
fn publishing_is_one_mount_and_idempotent() {
    in_private_namespace(async {
        let driver = Driver::start().await;
        driver.create(request("pvc-1", 1)).await.unwrap();
        let target = driver.folder.path().join("target");
        driver.publish("pvc-1", &target, false).await.unwrap();
        driver.publish("pvc-1", &target, false).await.unwrap();
        fs::write(target.join("file"), "data").unwrap();
        assert_eq!(
            fs::read_to_string(driver.pool().join("pvc-1/file")).unwrap(),
            "data"
        );
        assert_eq!(
            refused(driver.publish("pvc-1", &target, true).await),
            Code::AlreadyExists
        );

        driver.create(request("pvc-2", 1)).await.unwrap();
        assert_eq!(
            refused(driver.publish("pvc-2", &target, false).await),
            Code::AlreadyExists
        );
        assert_eq!(
            refused(driver.publish("pvc-3", &target, false).await),
            Code::NotFound
        );

        driver.unpublish("pvc-1", &target).await.unwrap();
        assert!(!target.exists());
        driver.unpublish("pvc-1", &target).await.unwrap();
        assert!(driver.pool().join("pvc-1/file").exists());
        driver.stop().await;
    });
}

#[test]
fn a_read_only_publication_refuses_writing() {
    in_private_namespace(async {
        let driver = Driver::start().await;
        driver.create(request("pvc-1", 1)).await.unwrap();
        let target = driver.folder.path().join("target");
        driver.publish("pvc-1", &target, true).await.unwrap();
        let error = fs::write(target.join("file"), "data").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        driver.unpublish("pvc-1", &target).await.unwrap();
        driver.stop().await;
    });
}

#[test]
fn the_targets_parent_must_exist_and_its_content_is_kept() {
    in_private_namespace(async {
        let driver = Driver::start().await;
        driver.create(request("pvc-1", 1)).await.unwrap();
        let nowhere = driver.folder.path().join("missing/target");
        assert_eq!(
            refused(driver.publish("pvc-1", &nowhere, false).await),
            Code::Internal
        );

        let full = driver.folder.path().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("file"), "kept").unwrap();
        assert_eq!(
            refused(driver.unpublish("pvc-1", &full).await),
            Code::Internal
        );
        assert_eq!(fs::read_to_string(full.join("file")).unwrap(), "kept");
        driver.stop().await;
    });
}

#[tokio::test]
async fn the_socket_is_the_owners_and_goes_with_the_driver() {
    let driver = Driver::start().await;
    let socket = driver.folder.path().join("csi.sock");
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let second = serve(config(driver.folder.path()), std::future::pending()).await;
    assert!(
        matches!(second, Err(ServeError::AlreadyServed { .. })),
        "{second:?}"
    );
    let folder = driver.stop().await;
    assert!(!socket.exists());

    // What a killed driver leaves: a socket that nobody serves.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    Driver::start_in(folder).await.stop().await;
}

#[tokio::test]
async fn an_unusable_socket_path_is_one_clear_error() {
    let folder = TempDir::new().unwrap();
    let mut long = config(folder.path());
    long.endpoint = format!("unix://{}/{}", folder.path().display(), "x".repeat(120));
    let error = serve(long, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, ServeError::SocketTooLong { .. }), "{error}");

    fs::write(folder.path().join("csi.sock"), "mine").unwrap();
    let error = serve(config(folder.path()), std::future::pending())
        .await
        .unwrap_err();
    assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
}
