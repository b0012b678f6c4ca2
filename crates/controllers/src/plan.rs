//! Decisions: from what is seen to what is to be done, without async, clock, I/O or randomness.

pub mod claim;
pub mod conditions;
pub mod data_volume;
pub mod import_pod;
pub mod importer;
pub mod pod_state;
pub mod populator;

use std::collections::BTreeMap;

use kube::api::ObjectMeta;

/// Something to tell the people who look at an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub warning: bool,
    /// One word, which clients match on.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

impl Notice {
    /// Something that went as it should.
    pub fn normal(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Something to look at.
    pub fn warning(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            warning: true,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Annotations to write: a value to set, or `None` to remove the key.
pub type Annotations = BTreeMap<String, Option<String>>;

/// The value of an annotation.
pub(crate) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// What of `wanted` the object does not have yet.
pub(crate) fn missing(metadata: &ObjectMeta, wanted: Annotations) -> Annotations {
    wanted
        .into_iter()
        .filter(|(key, value)| annotation(metadata, key) != value.as_deref())
        .collect()
}
