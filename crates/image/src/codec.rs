//! Compression: around a whole image (gzip) and of single clusters ([`cluster`]).

pub mod cluster;
pub(crate) mod gzip;
