//! Verbs for tests, so that a test reads as what it is about.
//!
//! ```no_run
//! use testkit::{Longshore, WebServer, image};
//!
//! let longshore = Longshore::start("target/debug/longshore");
//! let folder = tempfile::tempdir().unwrap();
//! let raw = image::pattern(&folder.path().join("disk.img"), 32 << 20);
//! let web = WebServer::start(folder.path());
//! longshore.apply(&testkit::manifest::http("disk", &web.url("disk.img"), "64Mi"));
//! longshore.wait_until_succeeded("disk");
//! image::assert_same_disk(&longshore.disk("disk"), &raw);
//! ```
//!
//! Everything that is started here ends with its value, by process id. Everything waits on a
//! condition with a deadline, through [`wait_for`]; what does not come panics and says what was
//! awaited.
//!
//! | module | what it gives |
//! |---|---|
//! | [`Longshore`] | a standalone Longshore in a temporary folder |
//! | [`Kubectl`] | the real `kubectl` |
//! | [`WebServer`] | nginx, which behaves |
//! | [`AwkwardServer`] | a web server that does not |
//! | [`image`] | disk images by `qemu-img`, and comparison with it |
//! | [`manifest`] | DataVolumes as users write them |
//! | [`process`] | what runs, and what is mounted |

#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and that is this crate's way to say so"
)]

mod awkward;
pub mod image;
mod kubectl;
mod longshore;
pub mod manifest;
mod nginx;
pub mod process;
mod tool;
mod wait;

pub use awkward::AwkwardServer;
pub use kubectl::{Kubectl, Output, Proxy, Watch};
pub use longshore::{Longshore, Refusal, Setup};
pub use nginx::WebServer;
pub use tool::{Finished, finish, tool};
pub use wait::{LONG, wait_for};
