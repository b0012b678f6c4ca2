//! A CSI driver over a temporary pool, asked for a volume as an orchestrator would ask.
//!
//! ```text
//! cargo run -p longshore-hostpath --example driver
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::time::Duration;

use csi::v1::volume_capability::{AccessType, MountVolume};
use csi::{CapacityRange, ControllerClient, CreateVolumeRequest, GetCapacityRequest};
use longshore_hostpath::{Config, PoolConfig};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("csi.sock");
    let config = Config {
        endpoint: format!("unix://{}", socket.display()),
        driver_name: "kubevirt.io.hostpath-provisioner".to_owned(),
        node_id: "node-1".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pools: vec![PoolConfig {
            name: "legacy".to_owned(),
            path: folder.path().join("pool"),
            snapshot_path: None,
            snapshot_provider: None,
            shared: false,
        }],
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let driver = tokio::spawn(longshore_hostpath::serve(config, async {
        let _ = stopped.await;
    }));
    while !socket.exists() && !driver.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let mut client = ControllerClient::new(csi::channel(&socket, Duration::from_secs(10))?);
    let volume = client
        .create_volume(CreateVolumeRequest {
            name: "pvc-example".to_owned(),
            capacity_range: Some(CapacityRange {
                required_bytes: 1 << 20,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![csi::VolumeCapability {
                access_type: Some(AccessType::Mount(MountVolume::default())),
                access_mode: None,
            }],
            ..Default::default()
        })
        .await?
        .into_inner();
    let capacity = client
        .get_capacity(GetCapacityRequest::default())
        .await?
        .into_inner();
    println!("made {volume:#?}");
    println!("{} bytes are available", capacity.available_capacity);

    drop(stop);
    Ok(driver.await??)
}
