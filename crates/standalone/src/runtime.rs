//! What every controller here is made of: a cache of objects kept fresh by one watch per kind, a
//! queue of the keys to look at again, and a supervisor that restarts what fails.
//!
//! A controller is a pure `plan` (objects in, one step out) and a `reconcile` that does the step. The
//! queue never runs one key twice at the same time, so a reconcile needs no locks of its own.

pub(crate) mod cache;
pub(crate) mod caches;
pub(crate) mod error;
pub(crate) mod queue;
pub(crate) mod supervisor;

pub(crate) use cache::{Cache, Change, ObjectKey};
pub(crate) use caches::Caches;
pub(crate) use error::{ApiError, Doing};
pub(crate) use queue::{Next, drive, drive_ranked};
