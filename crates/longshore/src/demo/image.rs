//! The disk image of the demo, and its comparison with what became of it.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::spawn_blocking;

use super::programs::{Programs, command, finish};

const MIB: u64 = 1 << 20;
/// How many bytes of files are gathered.
const GATHERED: u64 = 300 * MIB;
/// Larger files are left out, so that there are many.
const LARGEST: u64 = 16 * MIB;
/// Where files of all kinds are on every machine: text, programs, libraries.
const PLACES: [&str; 4] = ["/usr/share", "/usr/bin", "/usr/lib", "/usr/include"];

/// Copies files of this machine into `target` until there are enough, and returns it.
pub(super) async fn gather(target: &Path) -> Result<PathBuf> {
    let target = target.to_owned();
    spawn_blocking(move || {
        let mut left = GATHERED;
        for place in PLACES.map(Path::new) {
            // A quarter from each, as far as it has that many.
            let mut share = left.min(GATHERED / PLACES.len() as u64);
            let before = share;
            let to = target.join(place.strip_prefix("/").unwrap_or(place));
            copy_tree(place, &to, &mut share)?;
            left -= before - share;
        }
        ensure!(
            left < GATHERED,
            "there are no files to make a disk of in {}",
            PLACES.join(", ")
        );
        Ok(target)
    })
    .await?
}

/// Copies what can be read, until `left` bytes are used up.
fn copy_tree(from: &Path, to: &Path, left: &mut u64) -> Result<()> {
    let failed = || format!("failed to write to {}: is the disk full?", to.display());
    fs::create_dir_all(to).with_context(failed)?;
    // What may not be read is left out.
    let mut entries: Vec<_> = fs::read_dir(from).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if *left == 0 {
            break;
        }
        let (Ok(metadata), target) = (entry.metadata(), to.join(entry.file_name())) else {
            continue;
        };
        if metadata.is_dir() {
            copy_tree(&entry.path(), &target, left)?;
        } else if metadata.is_file()
            && metadata.len() <= LARGEST
            && File::open(entry.path()).is_ok()
        {
            fs::copy(entry.path(), &target).with_context(failed)?;
            *left = left.saturating_sub(metadata.len());
        }
    }
    Ok(())
}

/// A qcow2 image with an ext4 file system.
#[derive(Debug)]
pub(super) struct Image {
    path: PathBuf,
    pub(super) virtual_size: u64,
    pub(super) file_size: u64,
}

impl Image {
    /// Its name in the folder that it is made in.
    pub(super) const FILE: &str = "demo.qcow2";

    /// Makes it in `folder` out of the files in `tree`, which are gone afterwards.
    pub(super) async fn make(programs: &Programs, folder: &Path, tree: &Path) -> Result<Self> {
        let raw = folder.join("demo.raw");
        let path = folder.join(Self::FILE);
        let virtual_size = 512 * MIB;
        let mut mke2fs = command(&programs.mke2fs);
        mke2fs
            .args(["-q", "-F", "-t", "ext4", "-L", "demo", "-d"])
            .arg(tree)
            .arg(&raw);
        mke2fs.arg(format!("{}M", virtual_size / MIB));
        finish(mke2fs, "mke2fs").await?;
        let mut convert = command(&programs.qemu_img);
        convert
            .args(["convert", "-c", "-f", "raw", "-O", "qcow2"])
            .arg(&raw)
            .arg(&path);
        finish(convert, "qemu-img").await?;
        fs::remove_file(&raw).context("failed to remove the raw image")?;
        fs::remove_dir_all(tree).context("failed to remove the gathered files")?;
        let file_size = fs::metadata(&path).context("the image is not there")?.len();
        Ok(Self {
            path,
            virtual_size,
            file_size,
        })
    }

    /// Lets `qemu-img` make the disk that is expected of it.
    pub(super) async fn convert(&self, programs: &Programs, target: &Path) -> Result<()> {
        let mut convert = command(&programs.qemu_img);
        convert
            .args(["convert", "-O", "raw"])
            .arg(&self.path)
            .arg(target);
        finish(convert, "qemu-img").await
    }
}

/// Checks that `disk` has the bytes of `expected`, and zeros after them.
pub(super) async fn compare(disk: &Path, expected: &Path) -> Result<()> {
    let (disk, expected) = (disk.to_owned(), expected.to_owned());
    spawn_blocking(move || {
        let open = |path: &Path| {
            File::open(path).with_context(|| format!("failed to open {}", path.display()))
        };
        let (mut one, mut other) = (open(&disk)?, open(&expected)?);
        let mut offset = 0;
        loop {
            let left = piece(&mut one)?;
            let mut right = piece(&mut other)?;
            if right.len() < left.len() {
                right.resize(left.len(), 0);
            }
            if left != right {
                bail!("the volume differs from what qemu-img makes of the image, near {offset}");
            }
            if left.is_empty() {
                return Ok(());
            }
            offset += MIB;
        }
    })
    .await?
}

fn piece(file: &mut File) -> Result<Vec<u8>> {
    let mut piece = Vec::new();
    file.take(MIB)
        .read_to_end(&mut piece)
        .context("failed to read a disk")?;
    Ok(piece)
}

/// The bytes that a file takes on the disk.
pub(super) fn allocated(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path);
    let metadata = metadata.with_context(|| format!("failed to look at {}", path.display()))?;
    Ok(metadata.blocks() * 512)
}
