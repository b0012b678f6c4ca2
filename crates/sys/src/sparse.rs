//! Holes: which parts of a file hold data, and reserving space ahead of writing.

use std::{io, ops::Range, os::fd::AsFd};

use rustix::{
    fs::{FallocateFlags, SeekFrom, fallocate, seek},
    io::Errno,
};

/// The first run of data at or after `from`, or `None` where only a hole follows (`lseek(2)`,
/// `SEEK_DATA` and `SEEK_HOLE`).
///
/// A file system that cannot tell reports everything as data. The file's cursor moves: callers use
/// positioned reads only.
pub fn next_data(file: impl AsFd, from: u64) -> io::Result<Option<Range<u64>>> {
    let start = match seek(&file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = seek(&file, SeekFrom::Hole(start))?;
    Ok(Some(start..end))
}

/// Reserves blocks for the first `length` bytes, which then read as zeros (`fallocate(2)`).
///
/// Returns `false` where the file system has no such operation: only writing zeros reserves there.
pub fn reserve(file: impl AsFd, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use super::*;

    #[test]
    fn data_lies_between_holes() {
        let path = std::env::temp_dir().join(format!("sparse-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let file = file.unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();

        let data = next_data(&file, 0).unwrap().unwrap();
        assert!(data.contains(&(1 << 20)));
        assert_eq!(next_data(&file, 4 << 20).unwrap(), None);
    }
}
