//! Damage in SQLite's log, which SQLite itself takes for its end.
//!
//! After a crash the log may end in a transaction that was never completed, and SQLite silently
//! stops at the first frame whose checksum is wrong. But each transaction is synced before the
//! next one is written: when frames of two more transactions of the same log follow, the
//! wrong frame had been on the disk, and what SQLite would drop was acknowledged.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::super::Damage;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// A log whose numbers are checked as big-endian ones; the last bit of the magic number says so.
const MAGIC: u32 = 0x377f_0682;

/// Checks a log, if there is one. An error within says that acknowledged changes are lost in it.
pub(super) fn check(path: &Path) -> io::Result<Result<(), Damage>> {
    match File::open(path) {
        Ok(file) => Ok(
            read(&mut BufReader::new(file))?.map_err(|offset| Damage::Log {
                path: path.to_owned(),
                offset,
            }),
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ok(())),
        Err(error) => Err(error),
    }
}

/// Reads a log; where it is damaged, the error is the place.
fn read(log: &mut impl Read) -> io::Result<Result<(), u64>> {
    let mut header = [0; HEADER];
    if !fill(log, &mut header)? || header.iter().all(|byte| *byte == 0) {
        // Nothing was ever synced.
        return Ok(Ok(()));
    }
    let big_endian = number(&header, 0) & 1 == 1;
    let mut sum = checksum([0, 0], &header[..24], big_endian);
    let page = number(&header, 8) as usize;
    let is_header = number(&header, 0) & !1 == MAGIC
        && sum == [number(&header, 24), number(&header, 28)]
        && page.is_power_of_two()
        && page <= 64 * 1024;
    if !is_header {
        // It is written within one sector, so no crash leaves half of it.
        return Ok(Err(0));
    }
    let mut frame = vec![0; FRAME_HEADER + page];
    let (mut offset, mut wrong, mut ends) = (HEADER as u64, None, 0);
    while ends < 2 && fill(log, &mut frame)? {
        let is_of_this_log = frame[8..16] == header[16..24];
        if wrong.is_none() {
            sum = checksum(sum, &frame[..8], big_endian);
            sum = checksum(sum, &frame[FRAME_HEADER..], big_endian);
            if !is_of_this_log || sum != [number(&frame, 16), number(&frame, 20)] {
                wrong = Some(offset);
            }
        }
        if wrong.is_some() && is_of_this_log && number(&frame, 4) != 0 {
            ends += 1;
        }
        offset += frame.len() as u64;
    }
    Ok(match wrong {
        Some(offset) if ends == 2 => Err(offset),
        _ => Ok(()),
    })
}

/// Fills the buffer; false when the file ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Goes on with a checksum over pairs of numbers.
fn checksum(mut sum: [u32; 2], bytes: &[u8], big_endian: bool) -> [u32; 2] {
    for pair in bytes.chunks_exact(8) {
        let [mut first, mut second] = [number(pair, 0), number(pair, 4)];
        if !big_endian {
            (first, second) = (first.swap_bytes(), second.swap_bytes());
        }
        sum[0] = sum[0].wrapping_add(first).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(second).wrapping_add(sum[0]);
    }
    sum
}
