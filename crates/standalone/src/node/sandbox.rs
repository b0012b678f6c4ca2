//! The sandbox: a container as a process that sees only what it needs.
//!
//! No image is unpacked. A container sees the machine's own programs and libraries, read-only, and
//! of the machine's data nothing but its volumes.
//!
//! ```text
//! agent ──socket──► pod-init ──fork──► init: process 1 of new       ──fork──► the container's
//!    spec, signals    waits for init,     mount, pid, ipc and host-            program
//!    ◄── started      passes its exit     name namespaces; builds
//!                     status on           the root, reaps, listens
//! ```
//!
//! The socket is `pod-init`'s standard input. One line of JSON, a [`Spec`], goes in; one line, a
//! `Reply`, comes out when the program runs or could not be started. After that each byte
//! `TERMINATE` asks the program to end. The end of the socket is the end of the container:
//! process 1 exits, and the kernel kills what is left. So a container never outlives its agent,
//! however that dies.
//!
//! `pod-init` must be started with a single thread; [`pod_init`] is the whole of that verb.

mod init;
mod launch;
mod root;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use init::pod_init;
pub use launch::{Sandbox, StartError, Started};

/// The hidden verb by which the agent starts its own program as a container's parent process.
pub const VERB: &str = "pod-init";

/// Where the running program itself stands in every container; this folder comes first in `PATH`.
pub const OWN_PROGRAM: &str = "/longshore/bin/longshore";

/// The byte that asks the container's program to end (`SIGTERM`).
const TERMINATE: u8 = b'T';

/// The longest [`Spec`] or `Reply` in bytes.
const MAX_LINE: u64 = 8 << 20;

/// One container, ready to start: everything is resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The host name that the container sees.
    pub host_name: String,
    /// An empty folder of the machine over which the container's root is built, in its own mount
    /// namespace.
    pub root: PathBuf,
    /// The program, searched in the container's `PATH`, and its arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// The working folder, in the container.
    pub working_folder: PathBuf,
    /// User id.
    pub user: u32,
    /// Primary group id.
    pub group: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Whether a program that runs as root keeps the usual rights of a container's root over files
    /// and its own processes. Other users have none.
    pub root_capabilities: bool,
    /// Folders and files of the machine that the container sees.
    pub volumes: Vec<Volume>,
}

/// A folder or file of the machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is on the machine; not a symbolic link.
    pub source: PathBuf,
    /// Which part of it; empty for all. A folder is made when missing, and no link is followed, as
    /// containers may write there.
    pub part: PathBuf,
    /// Where the container sees it; absolute. Made when missing.
    pub target: PathBuf,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What became of a [`Spec`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reply {
    /// The program runs.
    Started,
    /// It does not, and why.
    Failed { message: String },
}
