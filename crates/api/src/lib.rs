//! What users of virtual machine disks write and read: the custom resources of `cdi.kubevirt.io`,
//! the annotations and labels around them, and the rules that need no cluster to be checked.
//!
//! Everything here is pure: no I/O, no clock, no randomness.
//!
//! | module | what it holds |
//! |---|---|
//! | [`data_volume`] | `DataVolume`: a disk that is asked for |
//! | [`volume_import_source`] | `VolumeImportSource`: where a claim's bytes come from |
//! | [`source`] | the sources a disk can have |
//! | [`storage`] | the storage that a disk is put on, and the class that gives it |
//! | [`size`], [`quantity`] | how large a claim and the disk on it are |
//! | [`validate`] | what a `DataVolume` must be to be admitted |
//! | [`conditions`] | conditions and when their times move |
//! | [`annotations`], [`labels`], [`names`] | the names that clients match on |
//! | [`crds`] | the `CustomResourceDefinition`s of all of it |
#![forbid(unsafe_code)]

pub mod annotations;
pub mod conditions;
pub mod crds;
pub mod data_volume;
pub mod labels;
pub mod names;
pub mod quantity;
pub mod size;
pub mod source;
pub mod storage;
pub mod validate;
pub mod volume_import_source;

pub use data_volume::{DataVolume, DataVolumePhase, DataVolumeSpec, DataVolumeStatus};
pub use quantity::Quantity;
pub use volume_import_source::{VolumeImportSource, VolumeImportSourceSpec};
