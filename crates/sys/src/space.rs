//! How much room a file system has.

use std::{io, os::fd::AsFd};

use rustix::fs::fstatvfs;

/// The bytes that an unprivileged writer may still add to the file system of `file`
/// (`fstatvfs(3)`, `f_bavail`).
pub fn available(file: impl AsFd) -> io::Result<u64> {
    let stat = fstatvfs(file)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_temporary_files() {
        let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
        assert!(available(&folder).unwrap() > 0);
    }
}
