//! Local storage: folders of a node's own disks as volumes, behind the Container Storage Interface.
//!
//! A **pool** is a folder on some file system. A **volume** is a folder in a pool, and publishing
//! it is a bind mount. Volumes live on one node, which the driver says by the topology key
//! [`TOPOLOGY_KEY`].
//!
//! ```text
//! <pool>/                          any folder; what is no volume of this driver is left alone
//! ├── pvc-2c0e…/                   a volume: its data, and nothing else
//! └── .longshore/                  the driver's own; a volume's id never begins with a dot
//!     ├── volumes/pvc-2c0e….json   what was promised when the volume was made
//!     └── trash/                   removed volumes on their way out
//! ```
//!
//! Every change is one rename or one folder made, and the promise is durable before the call is
//! answered, so the driver may be killed at any instant: a repeated call finds either nothing or a
//! finished volume.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the command line's values, parsed and checked |
//! | [`pool`] | pools and volumes on disk, without any RPC |
//! | `identity`, `controller`, `node` | the three CSI services over them |
//! | [`server`] | the unix socket |
#![forbid(unsafe_code)]

pub mod config;
pub mod pool;
pub mod server;

mod capability;
mod controller;
mod identity;
mod log;
mod node;
mod volume_id;

pub use config::{Config, ConfigError, PoolConfig};
pub use server::{ServeError, serve};
pub use volume_id::{InvalidVolumeId, VolumeId};

/// The topology key whose value is the name of the node that a volume lives on.
pub const TOPOLOGY_KEY: &str = "topology.hostpath.csi/node";

/// The `StorageClass` parameter that names the pool.
pub const POOL_PARAMETER: &str = "storagePool";

/// The pool of volumes whose class names none.
pub const DEFAULT_POOL: &str = "legacy";
