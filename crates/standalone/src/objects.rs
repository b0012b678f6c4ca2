//! Reading Kubernetes objects: names that mean something, quantities, selectors.

pub(crate) mod claims;
pub(crate) mod quantity;
pub(crate) mod selectors;
pub(crate) mod taints;
pub(crate) mod well_known;
