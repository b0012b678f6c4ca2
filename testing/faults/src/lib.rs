//! Failing disks, lost power, and the model of what must be left: for tests of anything that
//! stores.
//!
//! The program under test runs as a process of its own behind an [`Interposer`], which fails
//! chosen writes, syncs and renames below one folder ([`Failure`]), or kills the process there, and
//! records what is done ([`trace`]). From a record, [`power`] makes the folder as it may look when the
//! power fails at any moment: what was synced, and any part of what was not. The program says what
//! it tries and what came of it in lines that a [`Ledger`] reads; the ledger knows which states are
//! right at each moment.
//!
//! Everything random comes from a [`Random`], whose seed is printed by tests and given to
//! them in `FAULTS_SEED`. The same seed gives the same operations, failures, cuts and torn writes;
//! what it does not give is the same interleaving of threads.

#![forbid(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and that is this crate's way to say so"
)]

mod interposer;
mod ledger;
pub mod power;
mod random;
pub mod trace;

pub use interposer::{Failure, FailureKind, Interposer};
pub use ledger::{Ledger, State};
pub use random::{Random, from_environment};
