//! gzip (RFC 1952) around an image, of one or several members.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use crate::error::Error;

/// A forward reader of the decompressed bytes.
pub(crate) struct Gunzip<R>(Option<GzDecoder<BufReader<R>>>);

impl<R: Read> Gunzip<R> {
    pub(crate) fn new(compressed: R) -> Self {
        let buffered = BufReader::with_capacity(64 << 10, compressed);
        Self(Some(GzDecoder::new(buffered)))
    }

    fn read_members(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.0.take().map(GzDecoder::into_inner) else {
                break;
            };
            if another_member(&mut rest)? {
                self.0 = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Errors of the source pass through; what remains is the decoder's own verdict.
        self.read_members(buffer)
            .map_err(|error| Error::from_read(error, |source| Error::Gzip { source }).into())
    }
}

/// Whether anything but zeros, to which tapes and block devices pad, follows a member.
fn another_member(rest: &mut impl BufRead) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if bytes.is_empty() || zeros == 0 && !padded {
            return Ok(!bytes.is_empty());
        }
        if zeros < bytes.len() {
            let what = "something follows the zeros after the end";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        padded = true;
        rest.consume(zeros);
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
    fn zeros_after_the_last_member_are_padding() {
        let member = gzip(b"disk");
        let read = |rest: &[u8]| {
            let stream = [&member[..], rest].concat();
            let mut bytes = Vec::new();
            // Byte by byte, too, as slow sources deliver.
            let slow = BufReader::with_capacity(1, &stream[..]);
            Gunzip(Some(GzDecoder::new(slow)))
                .read_to_end(&mut Vec::new())
                .and(Gunzip::new(&stream[..]).read_to_end(&mut bytes))
                .map(|_| bytes)
        };
        for padding in [1, 511, 200_000] {
            assert_eq!(read(&vec![0; padding]).unwrap(), b"disk");
        }
        let late = [&[0; 512][..], &member].concat();
        for garbage in [&b"garbage"[..], &[0, 0, 7], &member[..1], &late] {
            let error = read(garbage).unwrap_err().downcast::<Error>().unwrap();
            assert!(matches!(error, Error::Gzip { .. }), "{garbage:?}");
        }
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let stream = gzip(&vec![7; 100_000]);
        let error = Gunzip::new(&stream[..stream.len() - 9]).read_to_end(&mut Vec::new());
        let error = error.unwrap_err().downcast::<Error>().unwrap();
        assert!(matches!(error, Error::Gzip { .. }));
    }
}
