//! Compressed clusters: independent blocks whose decompressed size is known beforehand.

use std::{fmt, io};

use libdeflater::Decompressor;
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

use crate::limits;

/// How the clusters of an image are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Deflate without a zlib header (RFC 1951), which qcow2 calls zlib.
    Deflate,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deflate => "zlib",
            Self::Zstd => "zstd",
        })
    }
}

/// What a decoder for the clusters of one image must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The algorithm.
    pub codec: Codec,
    /// The size of a decompressed cluster in bytes.
    pub cluster_size: usize,
}

/// Why a cluster could not be decompressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The data is no valid deflate stream, or yields more than a cluster.
    #[error("the compressed data is invalid")]
    Deflate(#[source] libdeflater::DecompressionError),
    /// The data is no valid zstd frame.
    #[error("the compressed data is invalid")]
    Zstd(#[source] io::Error),
    /// The data ends early.
    #[error("the compressed data yields {got} bytes, not {expected}")]
    Short {
        /// What came out.
        got: usize,
        /// The size of a cluster.
        expected: usize,
    },
}

/// Decompresses one cluster after the other; each worker has its own.
pub enum ClusterDecoder {
    /// For [`Codec::Deflate`].
    Deflate(Decompressor),
    /// For [`Codec::Zstd`].
    Zstd(Zstd<'static>),
}

impl fmt::Debug for ClusterDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deflate(_) => "ClusterDecoder::Deflate",
            Self::Zstd(_) => "ClusterDecoder::Zstd",
        })
    }
}

impl ClusterDecoder {
    /// A decoder whose memory is bounded, whatever the data ask for.
    pub fn new(codec: Codec) -> Result<Self, DecodeError> {
        Ok(match codec {
            Codec::Deflate => Self::Deflate(Decompressor::new()),
            Codec::Zstd => {
                let mut decoder = Zstd::new().map_err(DecodeError::Zstd)?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(limits::ZSTD_WINDOW_LOG))
                    .map_err(DecodeError::Zstd)?;
                Self::Zstd(decoder)
            }
        })
    }

    /// Fills all of `output`. Bytes of `input` after the end of the data are ignored: a qcow2 image
    /// knows the length of a compressed cluster only in sectors.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<(), DecodeError> {
        let expected = output.len();
        let got = match self {
            Self::Deflate(decoder) => decoder
                .deflate_decompress(input, output)
                .map_err(DecodeError::Deflate)?,
            Self::Zstd(decoder) => unzstd(decoder, input, output).map_err(DecodeError::Zstd)?,
        };
        if got == expected {
            Ok(())
        } else {
            Err(DecodeError::Short { got, expected })
        }
    }
}

/// Runs frame after frame until `output` is full or `input` is used up.
fn unzstd(decoder: &mut Zstd<'_>, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
    decoder.reinit()?;
    let capacity = output.len();
    let mut input_buffer = InBuffer::around(input);
    let mut output_buffer = OutBuffer::around(output);
    loop {
        let before = (input_buffer.pos(), output_buffer.pos());
        if output_buffer.pos() == capacity {
            return Ok(capacity);
        }
        decoder.run(&mut input_buffer, &mut output_buffer)?;
        if (input_buffer.pos(), output_buffer.pos()) == before {
            return Ok(output_buffer.pos());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_data_is_ignored() {
        let cluster: Vec<u8> = (0..65536_u32)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let mut deflated = vec![0; 70_000];
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let length = compressor
            .deflate_compress(&cluster, &mut deflated)
            .unwrap();
        deflated.truncate(length);
        let zstd = zstd::bulk::compress(&cluster, 3).unwrap();

        for (codec, mut data) in [(Codec::Deflate, deflated), (Codec::Zstd, zstd)] {
            let mut decoder = ClusterDecoder::new(codec).unwrap();
            let mut output = vec![0; cluster.len()];
            let half = data.len() / 2;
            assert!(
                decoder.decode(&data[..half], &mut output).is_err(),
                "{codec}: cut"
            );
            data.extend([0xA5; 300]);
            decoder.decode(&data, &mut output).unwrap();
            assert_eq!(output, cluster, "{codec}");
            assert!(
                decoder.decode(&[0xFF; 64], &mut output).is_err(),
                "{codec}: garbage"
            );
            let mut larger = vec![0; cluster.len() + 1];
            assert!(
                decoder.decode(&data, &mut larger).is_err(),
                "{codec}: too short"
            );
        }
    }
}
