//! What can go wrong with a job, and whether trying again may help.

use std::{io, path::PathBuf};

use crate::{format::qcow2, source::http::TransportError};

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The image or its address is wrong: the same job will fail again.
    Permanent,
    /// The network, the server or the disk failed: the same job may succeed later.
    Retryable,
    /// The volume is too small for the disk: only a larger one helps.
    Space,
}

/// Why a job failed.
///
/// The text of an error does not repeat that of its source: print the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is no URL that can be fetched.
    #[error("{url:?} is no http or https URL")]
    Url {
        /// What was given.
        url: String,
    },
    /// The server could not be reached, or did not speak HTTP.
    #[error("the server did not answer ({attempts} attempts)")]
    Connect {
        /// How often it was tried.
        attempts: u32,
        /// What the last try ended with.
        #[source]
        source: TransportError,
    },
    /// The server refused, or kept failing.
    #[error("expected status code 200, got {code}. Status: {code} {reason}")]
    Status {
        /// The HTTP status code.
        code: u16,
        /// Its standard reason phrase.
        reason: &'static str,
    },
    /// The connection kept breaking at one point.
    #[error(
        "the transfer broke off after {offset} bytes{} and could not be resumed \
         ({attempts} attempts)",
        expected.map(|all| format!(" of {all}")).unwrap_or_default()
    )]
    Interrupted {
        /// How far it came.
        offset: u64,
        /// The announced length, where there is one.
        expected: Option<u64>,
        /// How often it was tried from there.
        attempts: u32,
        /// What the last try ended with; nothing where the body was merely too short.
        #[source]
        source: Option<TransportError>,
    },
    /// The server went silent.
    #[error("no data came for {seconds} s, after {offset} bytes")]
    Stalled {
        /// How far it came.
        offset: u64,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The server's file is another one now.
    #[error("the source changed while it was read: {what}")]
    Changed {
        /// Which of its properties differ.
        what: String,
    },
    /// Another part of the same job failed first.
    #[error("the job was given up")]
    Abandoned,
    /// A local source could not be read.
    #[error("failed to {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A read beyond the end of the source.
    #[error("the image ends after {size} bytes, but {length} bytes at {offset} are needed")]
    PastEnd {
        /// Where the read began.
        offset: u64,
        /// How much was wanted.
        length: u64,
        /// The length of the source.
        size: u64,
    },
    /// There is nothing to import.
    #[error("the image is empty: the source has no bytes")]
    Empty,
    /// The source is a document: an error page, a listing, a checksum file.
    #[error(
        "this is a text document, not a disk image (it begins with {excerpt:?}): \
         the address probably leads to a page about the image or to an error page"
    )]
    Text {
        /// Its first characters, made printable.
        excerpt: String,
    },
    /// A format that is recognised but cannot be imported.
    #[error("{format} images cannot be imported: convert the image to qcow2 or raw first")]
    Unsupported {
        /// The format's usual name.
        format: &'static str,
    },
    /// The gzip stream around the image is damaged.
    #[error("the gzip stream around the image is damaged or cut short")]
    Gzip {
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// The qcow2 image is damaged or asks for something that is refused.
    #[error(transparent)]
    Qcow2(#[from] qcow2::Error),
    /// The disk does not fit the volume.
    #[error(
        "virtual image size {size} is larger than the reported available storage {available}. \
         A larger PVC is required"
    )]
    TooLarge {
        /// The size of the disk in bytes.
        size: u64,
        /// What may be used, in bytes.
        available: u64,
    },
    /// A disk of unknown size goes on after the volume's end.
    #[error(
        "the virtual image size is larger than the reported available storage {available}. \
         A larger PVC is required"
    )]
    Endless {
        /// What may be used, in bytes.
        available: u64,
    },
    /// A container that must be spooled is larger than any disk of the volume explains.
    #[error(
        "the qcow2 image is itself larger than {limit} bytes, which is more than a disk on this \
         volume needs. Remove its internal snapshots, or serve it uncompressed and with ranges"
    )]
    Container {
        /// How much is spooled at most, in bytes.
        limit: u64,
    },
    /// The file system, or the owner's quota on it, is full. Clients look for the first words.
    #[error("no space left on device after {written} bytes of data. A larger PVC is required")]
    Full {
        /// The bytes of data written before.
        written: u64,
    },
    /// The disk could not be written.
    #[error("failed to {operation} {}", path.display())]
    Sink {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system has no thread for a worker.
    #[error("failed to start a worker thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Status { code, .. } if transient(*code) => Kind::Retryable,
            Self::Connect { source, .. } if source.is_permanent() => Kind::Permanent,
            Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::Stalled { .. }
            | Self::Changed { .. }
            | Self::Abandoned
            | Self::File { .. }
            | Self::Sink { .. }
            | Self::Thread(_) => Kind::Retryable,
            Self::TooLarge { .. }
            | Self::Endless { .. }
            | Self::Container { .. }
            | Self::Full { .. } => Kind::Space,
            Self::Url { .. }
            | Self::Status { .. }
            | Self::PastEnd { .. }
            | Self::Empty
            | Self::Text { .. }
            | Self::Unsupported { .. }
            | Self::Gzip { .. }
            | Self::Qcow2(_) => Kind::Permanent,
        }
    }

    /// Unpacks an error that crossed an [`io::Read`], or wraps the system's by `otherwise`.
    pub(crate) fn from_read(error: io::Error, otherwise: impl FnOnce(io::Error) -> Self) -> Self {
        error.downcast::<Self>().unwrap_or_else(otherwise)
    }
}

impl From<Error> for io::Error {
    /// Packs an error so that it can cross an [`io::Read`].
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Whether a server that answers `code` may answer otherwise a moment later.
pub(crate) fn transient(code: u16) -> bool {
    matches!(code, 408 | 429 | 500..=599)
}
