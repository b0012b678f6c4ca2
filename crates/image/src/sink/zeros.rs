//! Finding what need not be written.

use std::ops::Range;

use crate::limits::{SHORTEST_HOLE, ZERO_BLOCK};

/// The parts of `bytes` to write: everything but runs of zero blocks long enough to be a hole.
pub fn data_runs(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let start = position + zeros(&bytes[position..]);
        if start >= bytes.len() {
            return None;
        }
        let mut end = start;
        position = start;
        while position < bytes.len() {
            end = position + data(&bytes[position..]);
            let hole = zeros(&bytes[end..]);
            position = end + hole;
            if hole >= SHORTEST_HOLE {
                break;
            }
        }
        Some(start..end)
    })
}

/// How many bytes at the beginning are blocks of zeros.
fn zeros(bytes: &[u8]) -> usize {
    bytes
        .chunks(ZERO_BLOCK)
        .take_while(|block| is_zero(block))
        .map(<[u8]>::len)
        .sum()
}

/// How many bytes at the beginning are blocks that are not zeros.
fn data(bytes: &[u8]) -> usize {
    bytes
        .chunks(ZERO_BLOCK)
        .take_while(|block| !is_zero(block))
        .map(<[u8]>::len)
        .sum()
}

/// Looks at 64 bytes at a time, which compilers turn into vector instructions.
fn is_zero(block: &[u8]) -> bool {
    let (lanes, rest) = block.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0)
        && lanes
            .iter()
            .all(|lane| lane.iter().fold(0, |sum, byte| sum | byte) == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_gaps_are_written_and_long_ones_are_not() {
        let mut bytes = vec![0; 1 << 20];
        bytes[4096] = 1;
        bytes[20_000] = 1;
        bytes[500_000] = 1;
        let runs: Vec<_> = data_runs(&bytes).collect();
        assert_eq!(runs, [4096..20_480, 499_712..503_808]);
        assert_eq!(data_runs(&[]).count(), 0);
        assert_eq!(data_runs(&[0; 10_000]).count(), 0);
        assert_eq!(data_runs(&[1]).next(), Some(0..1));
    }

    proptest! {
        #[test]
        fn what_is_left_out_is_zero(
            marks in proptest::collection::vec(0usize..300_000, 0..8), length in 0usize..300_000,
        ) {
            let mut bytes = vec![0; length];
            for mark in marks {
                if let Some(byte) = bytes.get_mut(mark) {
                    *byte = 1;
                }
            }
            let mut copy = vec![0; length];
            for run in data_runs(&bytes) {
                copy[run.clone()].copy_from_slice(&bytes[run]);
            }
            prop_assert!(copy == bytes);
        }
    }
}
