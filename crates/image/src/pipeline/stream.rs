//! Reading forwards: a raw disk into the sink, or a container into a spool file.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use super::{COPY_PERCENT, SPOOL_PERCENT, Target, read_ahead::read_ahead};
use crate::{
    error::{Error, Result},
    limits,
    progress::{Phase, Progress},
    sink::{self, SparseFile},
    source::{FileSource, Source},
};

/// Writes the raw disk `stream`, which comes out of `source`, and returns its size.
pub(super) fn copy(
    stream: Box<dyn Read + Send>,
    source: &Source,
    sink: &SparseFile,
    target: &Target,
    progress: &Progress,
) -> Result<u64> {
    let meter = Meter::new(progress, COPY_PERCENT, source.size(), target);
    let abandon = || source.abandon();
    let mut position = 0;
    read_ahead(stream, abandon, |piece| {
        let end = position + piece.len() as u64;
        if end > target.capacity {
            return Err(Error::Endless {
                available: target.capacity,
            });
        }
        sink.write_sparse(position, piece)?;
        position = end;
        meter.reach(position);
        Ok(())
    })?;
    Ok(position)
}

/// Writes the container `stream`, which comes out of `source`, to an unnamed file beside the disk.
pub(super) fn spool(
    stream: Box<dyn Read + Send>,
    source: &Source,
    target: &Target,
    progress: &Progress,
) -> Result<FileSource> {
    let meter = Meter::new(progress, SPOOL_PERCENT, source.size(), target);
    let limit = target
        .capacity
        .saturating_add(target.capacity / 8 + limits::SPOOL_SLACK);
    let path: PathBuf = target.folder.join("(spool file)");
    let mut file = sink::spool_file(&target.folder)?;
    let abandon = || source.abandon();
    let mut position = 0;
    read_ahead(stream, abandon, |piece| {
        position += piece.len() as u64;
        if position > limit {
            return Err(Error::Container { limit });
        }
        file.write_all(piece)
            .map_err(|error| sink::failed_after(position, "write", &path, error))?;
        meter.reach(position);
        Ok(())
    })?;
    FileSource::from_file(file, &path)
}

/// Unpacks an error of a stream. All readers of this crate pack their own; anything else comes from
/// the gzip decoder.
pub(super) fn failed(error: io::Error) -> Error {
    Error::from_read(error, |source| Error::Gzip { source })
}

/// Tells how far a stream is: by the bytes of the source where their number is known, else by those
/// of the disk.
struct Meter<'a> {
    phase: Phase,
    progress: &'a Progress,
    by_source: bool,
}

impl<'a> Meter<'a> {
    fn new(progress: &'a Progress, to: u32, source_size: Option<u64>, target: &Target) -> Self {
        let phase = Phase::new(progress, 0, to, source_size.unwrap_or(target.capacity));
        Self {
            phase,
            progress,
            by_source: source_size.is_some(),
        }
    }

    fn reach(&self, position: u64) {
        let units = if self.by_source {
            self.progress.bytes_read()
        } else {
            position
        };
        self.phase.reach(units);
    }
}
