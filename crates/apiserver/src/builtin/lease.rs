//! Leases.

use super::NO_HOOKS;
use super::access::text;
use super::column::{AGE, Col};
use crate::kind::Hooks;

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Holder", "The current holder of the lease.", |lease| {
        text(lease, "/spec/holderIdentity").into()
    }),
    AGE,
];

pub(super) const HOOKS: Hooks = Hooks {
    no_generation: true,
    ..NO_HOOKS
};
