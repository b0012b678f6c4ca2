//! Where the bytes of an image come from.
//!
//! Every source can be read from its beginning as a stream. Local files, and HTTP servers that
//! honour ranges, can also be read at any offset, by several threads at once: [`ReadAt`].

use std::{fmt, io::Read, ops::Range, path::PathBuf, str::FromStr};

use crate::error::{Error, Result};

pub mod file;
pub mod http;

pub use file::FileSource;
pub use http::{HttpOptions, HttpSource};

/// Reads at any offset, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// The length in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// The first run of data at or after `from`. What lies outside such runs reads as zeros.
    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        Ok((from < self.size()).then(|| from..self.size()))
    }
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buffer.len())?))
            .ok_or(past_end(offset, buffer.len(), self.size()))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (&self.as_slice()).read_exact_at(offset, buffer)
    }
}

fn past_end(offset: u64, length: usize, size: u64) -> Error {
    Error::PastEnd {
        offset,
        length: length as u64,
        size,
    }
}

/// The address of an image: an `http` or `https` URL, or the path of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A URL to fetch.
    Http(reqwest::Url),
    /// A local file.
    File(PathBuf),
}

impl FromStr for Location {
    type Err = Error;

    /// Whatever has a scheme is a URL and must be `http` or `https`; anything else is a path.
    fn from_str(text: &str) -> Result<Self> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let error = || Error::Url {
            url: text.to_owned(),
        };
        let url = reqwest::Url::parse(text).map_err(|_| error())?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self::Http(url)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Location {
    /// Without the credentials that a URL may carry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Http(url) => {
                let host = url.host_str().unwrap_or_default();
                write!(f, "{}://{host}", url.scheme())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

/// An opened source. Clones share it.
#[derive(Debug, Clone)]
pub enum Source {
    /// An HTTP server's answer.
    Http(HttpSource),
    /// A local file.
    File(FileSource),
}

impl Source {
    /// Connects to the server, or opens the file.
    pub fn open(location: &Location, options: &HttpOptions) -> Result<Self> {
        match location {
            Location::Http(url) => HttpSource::open(url.clone(), options).map(Self::Http),
            Location::File(path) => FileSource::open(path).map(Self::File),
        }
    }

    /// The length in bytes, where the source tells it.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Http(source) => source.size(),
            Self::File(source) => Some(source.size()),
        }
    }

    /// Access at any offset, where the source has it.
    pub fn random(&self) -> Option<&dyn ReadAt> {
        match self {
            Self::Http(source) => source.has_ranges().then_some(source as &dyn ReadAt),
            Self::File(source) => Some(source),
        }
    }

    /// All bytes from the beginning. Errors are [`Error`]s inside [`std::io::Error`]s.
    pub fn stream(&self) -> Box<dyn Read + Send> {
        match self {
            Self::Http(source) => Box::new(source.stream()),
            Self::File(source) => Box::new(source.stream()),
        }
    }

    /// Ends all waiting for a server, so that a job that has failed elsewhere ends at once.
    pub(crate) fn abandon(&self) {
        if let Self::Http(source) = self {
            source.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let url: Location = "https://user:secret@example.org:8443/a/disk.qcow2?token=x"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "https://example.org:8443/a/disk.qcow2");
        assert_eq!(
            "disk.img".parse::<Location>().unwrap(),
            Location::File("disk.img".into())
        );
        for bad in [
            "ftp://example.org/x",
            "file:///etc/passwd",
            "http://",
            "://",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_is_bounded_by_its_length() {
        let bytes = vec![1, 2, 3, 4];
        let mut two = [0; 2];
        bytes.read_exact_at(2, &mut two).unwrap();
        assert_eq!(two, [3, 4]);
        assert!(bytes.read_exact_at(3, &mut two).is_err());
        assert!(bytes.read_exact_at(u64::MAX, &mut two).is_err());
    }
}
