//! Events: what happened to an object, for `kubectl describe` and `kubectl get events`.
//!
//! [`Recorder`] takes events without waiting; one [`EventWriter`] writes them as `v1` Events. A
//! repeated event raises `count` and `lastTimestamp` of the one written before, as Kubernetes' own
//! components do. Those that nothing repeated for an hour are removed.

mod expiry;
mod recorder;
mod writer;

pub(crate) use expiry::expire;
pub use recorder::{Recorder, Severity, reference};
pub use writer::{EventWriter, channel};
