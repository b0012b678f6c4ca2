//! gzip (RFC 1952) around an image, of one or several members.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

/// A forward reader of the decompressed bytes.
pub(crate) struct Gunzip<R>(MultiGzDecoder<BufReader<R>>);

impl<R: Read> Gunzip<R> {
    pub(crate) fn new(compressed: R) -> Self {
        Self(MultiGzDecoder::new(BufReader::with_capacity(
            64 << 10,
            compressed,
        )))
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Errors of the source pass through; what remains is the decoder's own verdict.
        self.0
            .read(buffer)
            .map_err(|error| Error::from_read(error, |source| Error::Gzip { source }).into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_are_joined() {
        let stream = [gzip(b"one "), gzip(b"two")].concat();
        let mut text = String::new();
        Gunzip::new(&stream[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let stream = gzip(&vec![7; 100_000]);
        let error = Gunzip::new(&stream[..stream.len() - 9]).read_to_end(&mut Vec::new());
        let error = error.unwrap_err().downcast::<Error>().unwrap();
        assert!(matches!(error, Error::Gzip { .. }));
    }
}
