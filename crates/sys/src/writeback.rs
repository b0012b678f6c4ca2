//! Getting written data out of the page cache early.
//!
//! A copy that leaves writing to the kernel fills the memory of its control group with dirty pages
//! and then pays for all of them in one `fsync`. Starting the write-back of each finished range and
//! dropping the one before keeps both the memory and the final flush small.

use std::{
    io,
    num::NonZeroU64,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
};

use rustix::fs::{Advice, fadvise};

/// Starts writing the dirty pages of `range`, without waiting (`sync_file_range(2)`).
pub fn start(file: impl AsFd, range: &Range<u64>) -> io::Result<()> {
    sync(file, range, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until the pages of `range` are written, then drops them from the page cache.
///
/// This bounds memory; it is no promise of durability, for which only `fsync` counts.
pub fn finish(file: impl AsFd, range: &Range<u64>) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync(&file, range, flags)?;
    let length = NonZeroU64::new(range.end.saturating_sub(range.start));
    Ok(fadvise(file, range.start, length, Advice::DontNeed)?)
}

fn sync(file: impl AsFd, range: &Range<u64>, flags: libc::c_uint) -> io::Result<()> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let start = i64::try_from(range.start).map_err(out_of_range)?;
    let length = i64::try_from(range.end.saturating_sub(range.start)).map_err(out_of_range)?;
    // SAFETY: the descriptor is borrowed for the length of the call, and no memory is passed.
    let result = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), start, length, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
