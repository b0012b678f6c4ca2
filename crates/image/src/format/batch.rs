//! Pieces of an image that are fetched together, and turning them into pieces of the disk.

use std::ops::Range;

use crate::{
    codec::cluster::{ClusterDecoder, Compression},
    error::Result,
    format::qcow2,
    limits,
    source::ReadAt,
};

/// Bytes of the image that become bytes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where the stored bytes begin in the image.
    pub stored: u64,
    /// How many there are.
    pub stored_length: u32,
    /// Where they belong on the disk.
    pub guest: u64,
    /// How many bytes of the disk they are.
    pub guest_length: u32,
    /// Whether they are compressed.
    pub compressed: bool,
}

impl Piece {
    fn stored_end(&self) -> u64 {
        self.stored + u64::from(self.stored_length)
    }

    /// Joins `next` if it continues this piece both in the image and on the disk.
    fn extend(&mut self, next: &Self) -> bool {
        let follows = !self.compressed
            && !next.compressed
            && self.stored_length == self.guest_length
            && self.stored_end() == next.stored
            && self.guest + u64::from(self.guest_length) == next.guest;
        if !follows {
            return false;
        }
        let lengths = (
            self.stored_length.checked_add(next.stored_length),
            self.guest_length.checked_add(next.guest_length),
        );
        let (Some(stored), Some(guest)) = lengths else {
            return false;
        };
        (self.stored_length, self.guest_length) = (stored, guest);
        true
    }
}

/// Pieces that lie close together in the image, so that one read gets them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What to read.
    pub range: Range<u64>,
    /// The pieces in that range, in the order of the image.
    pub pieces: Vec<Piece>,
    /// How many bytes of the disk the pieces are.
    pub guest_bytes: u64,
}

/// Collects pieces, which must come in the order of the image, into batches.
#[derive(Default)]
pub(super) struct Batcher(Option<Batch>);

impl Batcher {
    /// Adds `piece`, and returns the batch before it if it does not belong there.
    pub(super) fn push(&mut self, piece: Piece) -> Option<Batch> {
        if let Some(batch) = &mut self.0
            && batch.accepts(&piece)
        {
            batch.add(piece);
            return None;
        }
        self.0.replace(Batch {
            range: piece.stored..piece.stored_end(),
            pieces: vec![piece],
            guest_bytes: u64::from(piece.guest_length),
        })
    }

    /// The last batch.
    pub(super) fn finish(&mut self) -> Option<Batch> {
        self.0.take()
    }
}

impl Batch {
    fn accepts(&self, piece: &Piece) -> bool {
        piece.stored >= self.range.start
            && piece.stored <= self.range.end.saturating_add(limits::FETCH_GAP)
            && piece.stored_end() - self.range.start <= limits::FETCH_SPAN
            && self.guest_bytes + u64::from(piece.guest_length) <= limits::BATCH_BYTES
    }

    fn add(&mut self, piece: Piece) {
        self.range.end = self.range.end.max(piece.stored_end());
        self.guest_bytes += u64::from(piece.guest_length);
        if !self
            .pieces
            .last_mut()
            .is_some_and(|last| last.extend(&piece))
        {
            self.pieces.push(piece);
        }
    }
}

/// Fetches and decodes batches; each worker has its own, with its buffers.
pub struct Decoder {
    clusters: Option<Clusters>,
    stored: Vec<u8>,
}

/// What compressed pieces need.
struct Clusters {
    decoder: ClusterDecoder,
    cluster_size: usize,
    run: Run,
}

/// Decoded bytes that are neighbours on the disk.
#[derive(Default)]
struct Run {
    guest: u64,
    length: usize,
    bytes: Vec<u8>,
}

/// Takes bytes of the disk and their offset.
pub type Emit<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

impl Decoder {
    /// A decoder for a layout whose compressed pieces are compressed like this.
    pub fn new(compression: Option<Compression>) -> Result<Self> {
        let clusters = compression.map(
            |Compression {
                 codec,
                 cluster_size,
             }| {
                let decoder = ClusterDecoder::new(codec)
                    .map_err(|source| qcow2::Error::Decoder { source })?;
                Ok::<_, qcow2::Error>(Clusters {
                    decoder,
                    cluster_size,
                    run: Run::default(),
                })
            },
        );
        Ok(Self {
            clusters: clusters.transpose()?,
            stored: Vec::new(),
        })
    }

    /// Reads `batch` and passes what it holds to `emit`, in runs as long as the order allows.
    pub fn decode(
        &mut self,
        source: &dyn ReadAt,
        batch: &Batch,
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        let length = index(batch.range.end - batch.range.start);
        if self.stored.len() < length {
            self.stored.resize(length, 0);
        }
        let stored = &mut self.stored[..length];
        source.read_exact_at(batch.range.start, stored)?;
        for piece in &batch.pieces {
            let start = index(piece.stored - batch.range.start);
            let bytes = &stored[start..start + piece.stored_length as usize];
            match &mut self.clusters {
                Some(clusters) if piece.compressed => clusters.decode(piece, bytes, emit)?,
                _ => emit(piece.guest, bytes)?,
            }
        }
        self.clusters
            .as_mut()
            .map_or(Ok(()), |clusters| clusters.run.flush(emit))
    }
}

impl Clusters {
    /// Appends the decompressed piece, after passing on a run that it does not continue.
    fn decode(&mut self, piece: &Piece, stored: &[u8], emit: &mut Emit<'_>) -> Result<()> {
        let run = &mut self.run;
        let follows = run.guest + run.length as u64 == piece.guest;
        if !follows || run.length + self.cluster_size > limits::RUN_BYTES {
            run.flush(emit)?;
            run.guest = piece.guest;
        }
        // A cluster is always whole, even where the disk ends inside it.
        let end = run.length + self.cluster_size;
        if run.bytes.len() < end {
            run.bytes.resize(limits::RUN_BYTES.max(end), 0);
        }
        self.decoder
            .decode(stored, &mut run.bytes[run.length..end])
            .map_err(|source| qcow2::Error::Cluster {
                guest: piece.guest,
                stored: piece.stored,
                source,
            })?;
        run.length += piece.guest_length as usize;
        Ok(())
    }
}

impl Run {
    fn flush(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        if self.length > 0 {
            emit(self.guest, &self.bytes[..self.length])?;
            self.length = 0;
        }
        Ok(())
    }
}

/// An offset inside a batch, which is far smaller than memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(stored: u64, guest: u64) -> Piece {
        Piece {
            stored,
            stored_length: 4096,
            guest,
            guest_length: 4096,
            compressed: false,
        }
    }

    #[test]
    fn neighbours_are_fetched_together() {
        let mut batcher = Batcher::default();
        for (stored, guest) in [(0, 0), (4096, 4096), (8192, 40960), (65536, 0)] {
            assert_eq!(batcher.push(plain(stored, guest)), None);
        }
        let batch = batcher.push(plain(10 << 20, 0)).unwrap();
        assert_eq!((batch.range, batch.pieces.len()), (0..65536 + 4096, 3));
        assert_eq!(batch.guest_bytes, 4 * 4096);
        assert_eq!(batcher.finish().unwrap().pieces, [plain(10 << 20, 0)]);
        assert_eq!(batcher.finish(), None);
    }

    #[test]
    fn a_batch_is_bounded_in_the_image_and_on_the_disk() {
        let mut batcher = Batcher::default();
        for i in 0..1 << 16 {
            if let Some(batch) = batcher.push(plain(i * 4096, i * 4096)) {
                assert!(batch.range.end - batch.range.start <= limits::FETCH_SPAN);
            }
        }
        let mut batcher = Batcher::default();
        for i in 0..100 {
            let piece = Piece {
                guest_length: 2 << 20,
                compressed: true,
                ..plain(i * 4096, i << 21)
            };
            if let Some(batch) = batcher.push(piece) {
                assert!(batch.guest_bytes <= limits::BATCH_BYTES);
            }
        }
    }
}
