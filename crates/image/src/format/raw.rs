//! Raw images: the bytes are the disk.

use super::{
    Batch, Layout,
    batch::{Batcher, Piece},
};
use crate::{codec::cluster::Compression, error::Result, limits, source::ReadAt};

/// A raw image of known length.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    size: u64,
}

impl Reader {
    /// The whole of `source`.
    pub fn new(source: &dyn ReadAt) -> Self {
        Self {
            size: source.size(),
        }
    }
}

impl Layout for Reader {
    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn compression(&self) -> Option<Compression> {
        None
    }

    fn batches(
        &self,
        source: &dyn ReadAt,
        visit: &mut dyn FnMut(Batch) -> Result<()>,
    ) -> Result<()> {
        let mut batcher = Batcher::default();
        let mut position = 0;
        while let Some(data) = source.next_data(position)? {
            position = data.end;
            let mut start = data.start;
            while start < data.end {
                let length = (data.end - start).min(limits::FETCH_SPAN);
                let piece_length = u32::try_from(length).unwrap_or(u32::MAX);
                let full = batcher.push(Piece {
                    stored: start,
                    stored_length: piece_length,
                    guest: start,
                    guest_length: piece_length,
                    compressed: false,
                });
                full.map_or(Ok(()), &mut *visit)?;
                start += length;
            }
        }
        batcher.finish().map_or(Ok(()), visit)
    }
}
