//! Walking the tables of an image in bounded memory.
//!
//! Entries are taken in windows of [`limits::WINDOW_ENTRIES`]: each window is sorted by the place
//! in the file, so that the data are fetched in long forward reads although the guest wrote them in
//! any order. With the usual 64 KiB clusters a window covers 1 GiB of disk.

use std::ops::ControlFlow;

use super::{Header, tables::Cluster};
use crate::{
    codec::cluster::Compression,
    error::Result,
    format::{
        Batch, Layout,
        batch::{Batcher, Piece},
    },
    limits,
    source::ReadAt,
};

/// The active disk of a qcow2 image.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    header: Header,
    size: u64,
}

/// Consecutive entries of one L2 table.
#[derive(Debug, Clone, Copy)]
struct Slice {
    /// Where they are in the file.
    offset: u64,
    /// Where the first one's cluster is on the disk.
    guest: u64,
    entries: u64,
}

impl Reader {
    /// Reads and judges the header.
    pub fn open(source: &dyn ReadAt) -> Result<Self> {
        let size = source.size();
        let length = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .min(limits::HEAD_BYTES);
        let mut head = vec![0; length];
        source.read_exact_at(0, &mut head)?;
        let header = Header::parse(&head)?;
        header.check_size(size)?;
        Ok(Self { header, size })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Passes the slices of all L2 tables that exist to `visit`, in the order of the disk.
    fn slices(
        &self,
        source: &dyn ReadAt,
        visit: &mut dyn FnMut(Slice) -> Result<()>,
    ) -> Result<()> {
        const BLOCK: usize = 8192;
        let header = &self.header;
        let mut buffer = Vec::new();
        for first in (0..header.l1_entries).step_by(BLOCK) {
            let count = (BLOCK as u64).min(header.l1_entries - first);
            read_words(source, header.l1_offset + first * 8, count, &mut buffer)?;
            for (index, entry) in (first..).zip(words(&buffer)) {
                let Some(table) = header.l2_table(entry, self.size)? else {
                    continue;
                };
                self.split(table, index * header.l2_entries(), visit)?;
            }
        }
        Ok(())
    }

    /// Cuts the L2 table at `table`, whose first entry is that of cluster `first`, into slices.
    fn split(
        &self,
        table: u64,
        first: u64,
        visit: &mut dyn FnMut(Slice) -> Result<()>,
    ) -> Result<()> {
        let clusters = self
            .header
            .virtual_size
            .div_ceil(self.header.cluster_size());
        let used = self.header.l2_entries().min(clusters.saturating_sub(first));
        let mut start = 0;
        while start < used {
            let entries = (used - start).min(limits::WINDOW_ENTRIES as u64);
            let guest = (first + start) << self.header.cluster_bits;
            visit(Slice {
                offset: table + start * 8,
                guest,
                entries,
            })?;
            start += entries;
        }
        Ok(())
    }

    /// The pieces that the entries of `slice` name.
    fn pieces(&self, slice: Slice, entries: &[u8], pieces: &mut Vec<Piece>) -> Result<()> {
        let header = &self.header;
        let cluster_size = header.cluster_size();
        for (index, entry) in (0..).zip(words(entries)) {
            let guest = slice.guest + index * cluster_size;
            let guest_length = small(cluster_size.min(header.virtual_size - guest));
            let (stored, stored_length, compressed) =
                match header.cluster(entry, guest, self.size)? {
                    Cluster::Zero => continue,
                    Cluster::Plain { offset } => (offset, guest_length, false),
                    Cluster::Compressed { offset, length } => (offset, length, true),
                };
            pieces.push(Piece {
                stored,
                stored_length,
                guest,
                guest_length,
                compressed,
            });
        }
        Ok(())
    }

    /// Reads the tables of one window and passes its batches to `visit`.
    fn window(
        &self,
        source: &dyn ReadAt,
        slices: &mut Vec<Slice>,
        visit: &mut dyn FnMut(Batch) -> Result<()>,
    ) -> Result<()> {
        slices.sort_unstable_by_key(|slice| slice.offset);
        let mut pieces = Vec::new();
        let mut buffer = Vec::new();
        let mut rest = slices.as_slice();
        while let Some(first) = rest.first() {
            let (count, end) = span(rest);
            let start = first.offset;
            read_words(source, start, (end - start).div_ceil(8), &mut buffer)?;
            for slice in &rest[..count] {
                let at = index(slice.offset - start);
                self.pieces(
                    *slice,
                    &buffer[at..at + index(slice.entries * 8)],
                    &mut pieces,
                )?;
            }
            rest = &rest[count..];
        }
        slices.clear();
        pieces.sort_unstable_by_key(|piece| (piece.stored, piece.guest));
        let mut batcher = Batcher::default();
        for piece in pieces {
            batcher.push(piece).map_or(Ok(()), &mut *visit)?;
        }
        batcher.finish().map_or(Ok(()), visit)
    }
}

impl Layout for Reader {
    fn virtual_size(&self) -> u64 {
        self.header.virtual_size
    }

    fn compression(&self) -> Option<Compression> {
        let cluster_size = index(self.header.cluster_size());
        Some(Compression {
            codec: self.header.codec,
            cluster_size,
        })
    }

    fn batches(
        &self,
        source: &dyn ReadAt,
        visit: &mut dyn FnMut(Batch) -> Result<()>,
    ) -> Result<()> {
        let mut window = Vec::new();
        let mut entries = 0;
        self.slices(source, &mut |slice| {
            if entries + slice.entries > limits::WINDOW_ENTRIES as u64 {
                self.window(source, &mut window, visit)?;
                entries = 0;
            }
            entries += slice.entries;
            window.push(slice);
            Ok(())
        })?;
        self.window(source, &mut window, visit)
    }
}

/// How many of the first slices, which are sorted, are best read together, and where they end.
fn span(slices: &[Slice]) -> (usize, u64) {
    let start = slices.first().map_or(0, |slice| slice.offset);
    let ends = slices.iter().try_fold((0, start), |(count, end), slice| {
        let new_end = end.max(slice.offset + slice.entries * 8);
        let near = slice.offset <= end + limits::FETCH_GAP;
        if count > 0 && (!near || new_end - start > limits::TABLE_SPAN) {
            return ControlFlow::Break((count, end));
        }
        ControlFlow::Continue((count + 1, new_end))
    });
    match ends {
        ControlFlow::Break(result) | ControlFlow::Continue(result) => result,
    }
}

fn read_words(source: &dyn ReadAt, offset: u64, count: u64, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.resize(index(count * 8), 0);
    source.read_exact_at(offset, buffer)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_be_bytes(*word))
}

/// A position inside a table, of which at most a few MiB are held.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The length of at most a cluster.
fn small(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
