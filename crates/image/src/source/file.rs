//! A local file as a source.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{ReadAt, past_end};
use crate::error::{Error, Result};

/// A regular file. Clones share it.
#[derive(Debug, Clone)]
pub struct FileSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
    size: u64,
}

impl FileSource {
    /// Opens the file at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| failed("open", path, error))?;
        Self::from_file(file, path)
    }

    /// Reads `file`, which errors call `path`.
    pub fn from_file(file: File, path: &Path) -> Result<Self> {
        let metadata = file
            .metadata()
            .map_err(|error| failed("examine", path, error))?;
        if !metadata.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(failed("read", path, error));
        }
        let (path, size) = (path.to_owned(), metadata.len());
        Ok(Self(Arc::new(Inner { file, path, size })))
    }

    /// All bytes from the beginning.
    pub fn stream(&self) -> impl Read + Send + use<> {
        FileStream {
            source: self.clone(),
            position: 0,
        }
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.0.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.0
            .file
            .read_exact_at(buffer, offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => past_end(offset, buffer.len(), self.0.size),
                _ => failed("read", &self.0.path, error),
            })
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        if from >= self.0.size {
            return Ok(None);
        }
        let data = sys::sparse::next_data(&self.0.file, from)
            .map_err(|error| failed("look for data in", &self.0.path, error))?;
        Ok(data.map(|run| run.start..run.end.min(self.0.size)))
    }
}

/// The file from its beginning to its end, independent of other readers.
struct FileStream {
    source: FileSource,
    position: u64,
}

impl Read for FileStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Inner { file, path, .. } = &*self.source.0;
        let count = file
            .read_at(buffer, self.position)
            .map_err(|error| failed("read", path, error))?;
        self.position += count as u64;
        Ok(count)
    }
}
