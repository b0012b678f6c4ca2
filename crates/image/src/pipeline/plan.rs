//! How an image will be read, decided before the work starts.

use std::fmt;

use crate::{codec::cluster::Codec, format::qcow2, source::Source};

/// What an image is and how it will be read. Its text is one line for logs and conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The format of the image itself.
    pub format: Format,
    /// What is around it.
    pub wrapping: Wrapping,
    /// The size of the disk in bytes, where it can be known beforehand.
    pub virtual_size: Option<u64>,
    /// How the bytes are read.
    pub method: Method,
}

/// The format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The bytes are the disk.
    Raw,
    /// A qcow2 image.
    Qcow2 {
        /// 2 or 3.
        version: u32,
        /// In bytes.
        cluster_size: u64,
        /// How its compressed clusters, if any, are compressed.
        codec: Codec,
        /// Internal snapshots, which are not imported.
        snapshots: u32,
    },
}

/// What is around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrapping {
    /// Nothing.
    None,
    /// gzip.
    Gzip,
}

/// How an image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// From a local file, by several workers.
    File,
    /// From a server, by ranges over several connections.
    Ranges,
    /// Forwards, once.
    Stream,
    /// Forwards into a spool file, and then from there: a qcow2 image needs random access, and the
    /// source does not offer it.
    Spool,
}

impl Method {
    /// The method for a source that can be read at any offset.
    pub(super) fn of(source: &Source) -> Self {
        match source {
            Source::Http(_) => Self::Ranges,
            Source::File(_) => Self::File,
        }
    }
}

impl Plan {
    pub(super) fn raw(virtual_size: Option<u64>, wrapping: Wrapping, method: Method) -> Self {
        Self {
            format: Format::Raw,
            wrapping,
            virtual_size,
            method,
        }
    }

    pub(super) fn qcow2(header: &qcow2::Header, wrapping: Wrapping, method: Method) -> Self {
        let format = Format::Qcow2 {
            version: header.version,
            cluster_size: header.cluster_size(),
            codec: header.codec,
            snapshots: header.snapshots,
        };
        Self {
            format,
            wrapping,
            virtual_size: Some(header.virtual_size),
            method,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wrapping {
            Wrapping::None => {}
            Wrapping::Gzip => f.write_str("gzip around ")?,
        }
        write!(f, "{}, ", self.format)?;
        match self.virtual_size {
            Some(size) => write!(f, "a disk of {}", Bytes(size))?,
            None => f.write_str("a disk of unknown size")?,
        }
        write!(f, "; {}", self.method)?;
        match (self.method, self.wrapping) {
            (Method::Spool, Wrapping::None) => f.write_str("because the server has no ranges"),
            (Method::Spool, Wrapping::Gzip) => {
                f.write_str("because gzip can only be read forwards")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Qcow2 {
                version,
                cluster_size,
                codec,
                snapshots,
            } => {
                write!(
                    f,
                    "qcow2 version {version}, {} clusters, {codec}",
                    Bytes(*cluster_size)
                )?;
                match snapshots {
                    0 => Ok(()),
                    count => write!(f, ", internal snapshots left out: {count}"),
                }
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "read from a local file",
            Self::Ranges => "read by ranges over several connections",
            Self::Stream => "read as one stream",
            Self::Spool => "spooled to a temporary file first, ",
        })
    }
}

/// A number of bytes in the largest binary unit, with one decimal where it is not whole.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let step = (self.0.checked_ilog2().unwrap_or(0) / 10).min(5);
        let unit = UNITS[step as usize];
        let whole = self.0 >> (10 * step);
        let rest = self.0 & ((1 << (10 * step)) - 1);
        if rest == 0 {
            return write!(f, "{whole} {unit}");
        }
        let tenths = (u128::from(rest) * 10) >> (10 * step);
        write!(f, "{whole}.{tenths} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_one_line() {
        let raw = Plan::raw(Some(3 << 29), Wrapping::None, Method::Ranges);
        assert_eq!(
            raw.to_string(),
            "raw, a disk of 1.5 GiB; read by ranges over several connections"
        );
        let unknown = Plan::raw(None, Wrapping::Gzip, Method::Stream);
        assert_eq!(
            unknown.to_string(),
            "gzip around raw, a disk of unknown size; read as one stream"
        );
        let format = Format::Qcow2 {
            version: 3,
            cluster_size: 65536,
            codec: Codec::Zstd,
            snapshots: 2,
        };
        let plan = Plan {
            format,
            wrapping: Wrapping::None,
            virtual_size: Some(1 << 30),
            method: Method::Spool,
        };
        assert_eq!(
            plan.to_string(),
            "qcow2 version 3, 64 KiB clusters, zstd, internal snapshots left out: 2, \
             a disk of 1 GiB; spooled to a temporary file first, because the server has no ranges"
        );
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (511, "511 bytes"),
            (1536, "1.5 KiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
