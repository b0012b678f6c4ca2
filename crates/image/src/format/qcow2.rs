//! qcow2, versions 2 and 3, for reading the active disk of one self-contained image.
//!
//! Written from the format's description in QEMU (`docs/interop/qcow2.rst`). Internal snapshots are
//! ignored. Refused are: backing files and external data files, which name files of the reader's
//! host; encryption; images marked corrupt; extended L2 entries and features unknown to that
//! description.
//!
//! * [`header`]: the first cluster.
//! * [`tables`]: the meaning of L1 and L2 entries.
//! * [`reader`]: walking the tables in bounded memory.

use crate::codec::cluster::DecodeError;

pub mod header;
pub mod reader;
pub mod tables;

pub use header::Header;
pub use reader::Reader;

/// Why an image is refused, or where it is damaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file ends inside the header.
    #[error("the qcow2 header is cut short after {length} bytes")]
    HeaderCut {
        /// What there is of it.
        length: usize,
    },
    /// The magic number is missing.
    #[error("this is no qcow2 image")]
    Magic,
    /// Neither version 2 nor 3.
    #[error("qcow2 version {0} is unknown: only versions 2 and 3 are read")]
    Version(u32),
    /// A cluster size that the format does not allow.
    #[error("the qcow2 header gives a cluster size of 2^{0} bytes; 2^9 to 2^21 are allowed")]
    ClusterBits(u32),
    /// A header of an impossible length.
    #[error("the qcow2 header gives its own length as {0} bytes")]
    HeaderLength(u32),
    /// The guest's data are encrypted.
    #[error("the qcow2 image is encrypted (method {0}): decrypt it before the import")]
    Encrypted(u32),
    /// The image is a difference to another file.
    #[error(
        "the qcow2 image has invalid backing file {name:?}: an image must be complete in itself. \
         `qemu-img convert -O qcow2` makes a complete one"
    )]
    BackingFile {
        /// The name in the image, made printable.
        name: String,
    },
    /// The guest's data are in another file.
    #[error(
        "the qcow2 image keeps its data in an external file: an image must be complete in itself. \
         `qemu-img convert -O qcow2` makes a complete one"
    )]
    ExternalData,
    /// The image is marked corrupt.
    #[error("the qcow2 image is marked corrupt: repair it with `qemu-img check -r all`")]
    Corrupt,
    /// Extended L2 entries.
    #[error("the qcow2 image uses extended L2 entries (subclusters), which are not supported")]
    ExtendedL2,
    /// Incompatible feature bits without a known meaning.
    #[error("the qcow2 image needs unknown features (incompatible bits {0:#x})")]
    UnknownFeatures(u64),
    /// A compression type without a known meaning, or one that contradicts its feature bit.
    #[error("the qcow2 header gives the invalid compression type {0}")]
    CompressionType(u8),
    /// A disk larger than any that is accepted.
    #[error("the qcow2 disk is {size} bytes large; at most {limit} are accepted")]
    VirtualSize {
        /// What the header says.
        size: u64,
        /// [`crate::limits::MAX_VIRTUAL_SIZE`].
        limit: u64,
    },
    /// More L1 entries than any accepted disk needs.
    #[error(
        "L1 size too big: the qcow2 header gives {entries} entries; at most {limit} are accepted"
    )]
    L1TooBig {
        /// What the header says.
        entries: u32,
        /// From [`crate::limits::MAX_L1_BYTES`].
        limit: u64,
    },
    /// Fewer L1 entries than the disk needs.
    #[error("the qcow2 L1 table is too small: {entries} entries, but the disk needs {needed}")]
    L1TooSmall {
        /// What the header says.
        entries: u32,
        /// What the size of the disk asks for.
        needed: u64,
    },
    /// An offset that must be a multiple of the cluster size and is not.
    #[error("the qcow2 image is damaged: the {what} is at {offset:#x}, inside a cluster")]
    Misaligned {
        /// What the offset belongs to.
        what: &'static str,
        /// The offset.
        offset: u64,
    },
    /// Something lies outside of the file.
    #[error(
        "the qcow2 image is damaged or cut short: the {what} at {offset:#x} is not inside its \
         {size} bytes"
    )]
    OutOfFile {
        /// What the offset belongs to.
        what: &'static str,
        /// The offset.
        offset: u64,
        /// The length of the file.
        size: u64,
    },
    /// A zero cluster in a version that does not have them.
    #[error(
        "the qcow2 image is damaged: version 2, but the cluster for {guest:#x} has a zero flag"
    )]
    ZeroFlag {
        /// Its place on the disk.
        guest: u64,
    },
    /// A compressed cluster that cannot be decompressed.
    #[error("the qcow2 image is damaged: the cluster for {guest:#x}, stored at {stored:#x}")]
    Cluster {
        /// Its place on the disk.
        guest: u64,
        /// Its place in the file.
        stored: u64,
        /// What the decoder said.
        #[source]
        source: DecodeError,
    },
    /// No decoder could be made.
    #[error("failed to prepare a cluster decoder")]
    Decoder {
        /// What the library said.
        #[source]
        source: DecodeError,
    },
}
