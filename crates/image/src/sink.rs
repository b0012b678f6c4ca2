//! The disk being written.
//!
//! A disk is written under a temporary name and gets its own only when it is complete and durable:
//! whoever sees the name sees the whole disk, also after a crash. All names are resolved inside the
//! opened folder without following symbolic links, for the folder may be a volume that a guest had
//! before.

use std::{
    fs::File,
    io,
    ops::Range,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use rustix::{
    fs::{AtFlags, Mode, OFlags, fchmod, fsync, open, openat, renameat, unlinkat},
    io::Errno,
};

use crate::{
    error::{Error, Result},
    limits,
    progress::Progress,
};

pub mod zeros;

/// Who may read and write a disk: its owner and its group.
const MODE: u32 = 0o660;
/// The same for a spool file: only this process.
const SPOOL_MODE: Mode = Mode::from_raw_mode(0o600);

/// The name that a spool file has for a moment, where files cannot be made without.
const SPOOL: &str = ".spool.partial";

/// How to open a file that must not exist, whatever has been planted under its name.
const NEW_FILE: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::RDWR)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A sparse file that replaces `name` in its folder when it is finished, and vanishes otherwise.
#[derive(Debug)]
pub struct SparseFile {
    folder: OwnedFd,
    path: PathBuf,
    name: String,
    file: File,
    progress: Progress,
    window: Mutex<Window>,
    finished: bool,
}

/// What has been written since write-back was last started, and where it was started then.
#[derive(Debug, Default)]
struct Window {
    bytes: u64,
    range: Range<u64>,
    before: Range<u64>,
}

/// Removes the disk `name` from `folder`, and what an interrupted job left of it.
pub fn remove(folder: &Path, name: &str) -> Result<()> {
    let opened = open_folder(folder)?;
    unlink(&opened, &partial(name), folder)?;
    unlink(&opened, name, folder)
}

/// An unnamed file in `folder`, which vanishes with its last descriptor.
pub(crate) fn spool_file(folder: &Path) -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(folder, flags, SPOOL_MODE) {
        Ok(file) => Ok(File::from(file)),
        // What file systems, and systems, without unnamed files answer.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => nameless_file(folder),
        Err(error) => Err(failed("create a spool file in", folder, error.into())),
    }
}

/// A file that loses its name as soon as it is there.
fn nameless_file(folder: &Path) -> Result<File> {
    let opened = open_folder(folder)?;
    unlink(&opened, SPOOL, folder)?;
    let file = openat(&opened, SPOOL, NEW_FILE, SPOOL_MODE)
        .map_err(|error| failed("create a spool file in", folder, error.into()))?;
    unlink(&opened, SPOOL, folder)?;
    Ok(File::from(file))
}

impl SparseFile {
    /// Creates the file, removing what an interrupted job left.
    pub fn create(folder: &Path, name: &str, progress: &Progress) -> Result<Self> {
        let opened = open_folder(folder)?;
        let temporary = partial(name);
        unlink(&opened, &temporary, folder)?;
        let path = folder.join(&temporary);
        let mode = Mode::from_raw_mode(MODE);
        let file = openat(&opened, &temporary, NEW_FILE, mode)
            .map_err(|error| failed("create", &path, error.into()))?;
        // The umask does not apply to disks: the group is how a virtual machine gets at them.
        fchmod(&file, mode).map_err(|error| failed("set the mode of", &path, error.into()))?;
        Ok(Self {
            folder: opened,
            path,
            name: name.to_owned(),
            file: File::from(file),
            progress: progress.clone(),
            window: Mutex::default(),
            finished: false,
        })
    }

    /// Reserves the blocks of the first `size` bytes; writes zeros where the file system cannot
    /// reserve.
    pub fn reserve(&self, size: u64) -> Result<()> {
        let reserved = sys::sparse::reserve(&self.file, size)
            .map_err(|error| self.failed("reserve space for", error))?;
        if reserved {
            return Ok(());
        }
        let zeros = vec![0; limits::RUN_BYTES];
        let mut offset = 0;
        while offset < size {
            let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
            let piece = &zeros[..left.min(zeros.len())];
            self.write(offset, piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes the parts of `bytes` that are not zeros. Nothing may have been written there before.
    pub fn write_sparse(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        for run in zeros::data_runs(bytes) {
            self.write(offset + run.start as u64, &bytes[run])?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| self.failed("write", error))?;
        let length = bytes.len() as u64;
        self.progress.add_written(length);
        let turn = self.window.lock().add(offset..offset + length);
        if let Some((current, before)) = turn {
            sys::writeback::start(&self.file, &current)
                .and_then(|()| sys::writeback::finish(&self.file, &before))
                .map_err(|error| self.failed("write back", error))?;
        }
        Ok(())
    }

    /// Gives the file its size, makes it durable, and renames it. Returns the bytes it occupies.
    pub fn finish(mut self, size: u64) -> Result<u64> {
        self.file
            .set_len(size)
            .map_err(|error| self.failed("set the size of", error))?;
        self.file
            .sync_all()
            .map_err(|error| self.failed("flush", error))?;
        let metadata = self
            .file
            .metadata()
            .map_err(|error| self.failed("examine", error))?;
        renameat(&self.folder, partial(&self.name), &self.folder, &self.name)
            .map_err(|error| self.failed("rename", error.into()))?;
        self.finished = true;
        fsync(&self.folder).map_err(|error| self.failed("flush the folder of", error.into()))?;
        Ok(metadata.blocks() * 512)
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> Error {
        failed_after(self.progress.bytes_written(), operation, &self.path, source)
    }
}

impl Drop for SparseFile {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = unlinkat(&self.folder, partial(&self.name), AtFlags::empty())
        {
            tracing::warn!(path = %self.path.display(), %error, "failed to remove a partial disk");
        }
    }
}

impl Window {
    /// Notes a written range. Returns what to start writing back and what to wait for, if any.
    fn add(&mut self, written: Range<u64>) -> Option<(Range<u64>, Range<u64>)> {
        if self.bytes == 0 {
            self.range = written.clone();
        }
        self.bytes += written.end - written.start;
        self.range.start = self.range.start.min(written.start);
        self.range.end = self.range.end.max(written.end);
        if self.bytes < limits::WRITEBACK_WINDOW {
            return None;
        }
        self.bytes = 0;
        let before = std::mem::replace(&mut self.before, self.range.clone());
        Some((self.range.clone(), before))
    }
}

fn partial(name: &str) -> String {
    format!(".{name}.partial")
}

fn open_folder(folder: &Path) -> Result<OwnedFd> {
    open(
        folder,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| failed("open", folder, error.into()))
}

fn unlink(folder: &OwnedFd, name: &str, path: &Path) -> Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed("remove", &path.join(name), error.into())),
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> Error {
    failed_after(0, operation, path, source)
}

/// The error of an operation that failed after `written` bytes of data.
pub(crate) fn failed_after(
    written: u64,
    operation: &'static str,
    path: &Path,
    source: io::Error,
) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { written },
        _ => Error::Sink {
            operation,
            path: path.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_finished_disk_is_sparse_and_has_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".disk.img.partial"), "left over").unwrap();
        let progress = Progress::default();
        let sink = SparseFile::create(folder.path(), "disk.img", &progress).unwrap();
        sink.write_sparse(1 << 20, &[vec![0; 1 << 20], vec![5; 4096]].concat())
            .unwrap();
        let allocated = sink.finish(64 << 20).unwrap();

        assert!(allocated < 1 << 20, "{allocated}");
        assert_eq!(progress.bytes_written(), 4096);
        let metadata = folder.path().join("disk.img").metadata().unwrap();
        assert_eq!(
            (metadata.len(), metadata.permissions().mode() & 0o7777),
            (64 << 20, 0o660)
        );
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_disk_vanishes() {
        let folder = tempfile::tempdir().unwrap();
        drop(SparseFile::create(folder.path(), "disk.img", &Progress::default()).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn planted_links_are_replaced_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        for name in ["disk.img", ".disk.img.partial"] {
            symlink(&victim, folder.path().join(name)).unwrap();
        }
        let sink = SparseFile::create(folder.path(), "disk.img", &Progress::default()).unwrap();
        sink.write_sparse(0, &[1; 4096]).unwrap();
        sink.finish(4096).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(
            folder
                .path()
                .join("disk.img")
                .symlink_metadata()
                .unwrap()
                .is_file()
        );
    }

    #[test]
    fn a_full_disk_is_told_in_the_words_of_the_system() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let full = full.write_all_at(&[1], 0).unwrap_err();
        for error in [full, Errno::DQUOT.into()] {
            let error = failed_after(512, "write", Path::new("disk"), error);
            assert_eq!(
                error.to_string(),
                "no space left on device after 512 bytes of data. A larger PVC is required"
            );
            assert_eq!(error.kind(), crate::Kind::Space);
        }
    }

    #[test]
    fn a_spool_file_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        symlink(&victim, folder.path().join(SPOOL)).unwrap();
        for make in [nameless_file, spool_file] {
            let file = make(folder.path()).unwrap();
            file.write_all_at(b"spooled", 0).unwrap();
            let mut bytes = [0; 7];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"spooled");
            assert_eq!(folder.path().read_dir().unwrap().count(), 1, "the victim");
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    }

    #[test]
    fn a_reserved_disk_is_allocated() {
        let folder = tempfile::tempdir().unwrap();
        let sink = SparseFile::create(folder.path(), "disk.img", &Progress::default()).unwrap();
        sink.reserve(8 << 20).unwrap();
        assert!(sink.finish(8 << 20).unwrap() >= 8 << 20);
    }
}
