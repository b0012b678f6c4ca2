//! Moving disk images: from a URL or a file to a sparse raw disk, in bounded memory.
//!
//! An import is a [`Job`]: it looks at the first bytes of a [`Source`], decides how to read the
//! rest, says so in a [`Plan`], and then runs.
//!
//! ```text
//!  source ──────────► codec ─────► format ─────────► pipeline ────────► sink
//!  ranges or one      gzip around  which bytes are   several readers    sparse file,
//!  forward stream     the image    which part of     or one stream,     renamed when
//!                                  the disk          bounded queues     complete
//! ```
//!
//! * [`source`]: where the bytes come from, HTTP or a local file, how a broken transfer resumes.
//! * [`codec`]: compression, around the whole image or of single clusters.
//! * [`mod@format`]: recognising an image and mapping its bytes to the disk; raw and qcow2.
//! * [`sink`]: the disk being written: holes, write-back, the final rename.
//! * [`pipeline`]: the plan and its execution.
//! * [`limits`]: every bound on what an image may ask for, with its reason.
//! * [`progress`]: counters that other threads may read while a job runs.
//! * [`error`]: what can go wrong, and whether trying again may help.
//!
//! Images come from strangers. Every table and count is bounded before memory is reserved for it,
//! nothing that an image names (a backing file, an external data file) is ever opened, and the
//! output never grows beyond the space that the caller grants.
//!
//! All calls block; there is no async code at this crate's surface.
#![forbid(unsafe_code)]

pub mod codec;
pub mod error;
pub mod format;
pub mod limits;
pub mod pipeline;
pub mod progress;
pub mod sink;
pub mod source;

pub use error::{Error, Kind, Result};
pub use pipeline::{Job, Plan, Report, Target};
pub use progress::Progress;
pub use source::{HttpOptions, Location, Source};
