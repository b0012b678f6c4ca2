//! Label and field selectors (Kubernetes, "Labels and Selectors" and "Field Selectors").

mod field;
mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// Most requirements, values or terms of one selector: each is looked at for every object.
const MOST: usize = 2_000;

/// A selector that cannot be understood; the text says where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

impl SelectorError {
    fn too_many() -> Self {
        Self(format!(
            "must not have more than {MOST} requirements or values"
        ))
    }
}
