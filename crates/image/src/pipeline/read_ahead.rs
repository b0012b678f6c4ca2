//! Reading a stream on a thread of its own, a bounded distance ahead.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use super::stream;
use crate::{
    error::{Error, Result},
    limits,
};

/// Reads all of `input` and passes it to `consume`, piece by piece, in order. All pieces but the
/// last are [`limits::STREAM_CHUNK`] bytes long. On failure `abandon` is called, which must end a
/// read of `input` that waits.
pub(super) fn read_ahead(
    input: Box<dyn Read + Send>,
    abandon: impl FnOnce(),
    mut consume: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        // Both ends of the queue are dropped when this closure returns, which ends the thread.
        let (full_sender, full) = sync_channel(limits::STREAM_DEPTH);
        let (empty, empty_receiver) = channel();
        thread::Builder::new()
            .name("read".to_owned())
            .spawn_scoped(scope, move || produce(input, &full_sender, &empty_receiver))
            .map_err(Error::Thread)?;
        drain(&full, &empty, &mut consume).inspect_err(|_| abandon())
    })
}

fn produce(
    mut input: Box<dyn Read + Send>,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.clear();
        let read = (&mut input)
            .take(limits::STREAM_CHUNK as u64)
            .read_to_end(&mut chunk);
        let over = !matches!(read, Ok(count) if count > 0);
        if let Err(error) = read {
            // A failed send means that nobody wants to know.
            full.send(Err(error)).ok();
        } else if full.send(Ok(chunk)).is_err() {
            return;
        }
        if over {
            return;
        }
    }
}

fn drain(
    full: &Receiver<io::Result<Vec<u8>>>,
    empty: &Sender<Vec<u8>>,
    consume: &mut impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    for chunk in full {
        let chunk = chunk.map_err(stream::failed)?;
        consume(&chunk)?;
        // The reader may have ended already.
        empty.send(chunk).ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None of these inputs waits.
    fn nothing() {}

    #[test]
    fn pieces_come_in_order() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let mut copy = Vec::new();
        let input = Box::new(io::Cursor::new(bytes.clone()));
        read_ahead(input, nothing, |piece| {
            copy.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        assert!(copy == bytes);
    }

    #[test]
    fn the_reader_ends_with_its_consumer() {
        let failed = read_ahead(Box::new(io::repeat(7)), nothing, |_| Err(Error::Empty));
        assert!(matches!(failed, Err(Error::Empty)));
    }

    #[test]
    fn errors_of_the_source_arrive() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::Abandoned.into())
            }
        }
        let input = Box::new((&[1_u8; 10][..]).chain(Broken));
        assert!(matches!(
            read_ahead(input, nothing, |_| Ok(())),
            Err(Error::Abandoned)
        ));
    }
}
