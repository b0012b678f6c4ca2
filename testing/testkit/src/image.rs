//! Disk images, made and judged by `qemu-img`.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::tool::{run, tool};

/// A mebibyte in bytes.
pub const MIB: u64 = 1 << 20;

/// Makes a raw image of `size` bytes with what disks have: data that compresses, data that does
/// not, written zeros, and holes. The bytes are the same each time.
#[track_caller]
pub fn pattern(path: &Path, size: u64) -> PathBuf {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut offset = 0;
    let mut index = 0;
    while offset < size {
        // Odd lengths, so that nothing is aligned to clusters.
        let length = (MIB / 2 + random.next() % MIB).min(size - offset);
        let length_in_memory = usize::try_from(length).unwrap();
        match index % 4 {
            0 => file.write_all(&random.bytes(length_in_memory)).unwrap(),
            1 => file.write_all(&words(offset, length_in_memory)).unwrap(),
            2 => file.write_all(&vec![0; length_in_memory]).unwrap(),
            _ => drop(file.seek(SeekFrom::Current(length.cast_signed())).unwrap()),
        }
        offset += length;
        index += 1;
    }
    let file = file.into_inner().unwrap();
    file.set_len(size).unwrap();
    path.to_owned()
}

/// Makes a raw image of `size` bytes of text that compresses, but not to nothing.
#[track_caller]
pub fn text(path: &Path, size: u64) -> PathBuf {
    let lines = (0_u64..).flat_map(|number| {
        let word = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!("line {number} of a log: {word:x}\n").into_bytes()
    });
    let bytes: Vec<u8> = lines.take(usize::try_from(size).unwrap()).collect();
    fs::write(path, bytes).unwrap();
    path.to_owned()
}

/// Makes an ext4 file system of `mebibytes` with the contents of `folder`.
#[track_caller]
pub fn ext4(path: &Path, folder: &Path, mebibytes: u64) -> PathBuf {
    let mut command = tool("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(folder)
        .arg(path);
    run(command.arg(format!("{mebibytes}M")));
    path.to_owned()
}

/// Runs `qemu-img`, and gives what it printed.
#[track_caller]
pub fn qemu_img<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    run(tool("qemu-img").args(arguments))
}

/// Runs commands of `qemu-io` on an image.
#[track_caller]
pub fn qemu_io(image: &Path, format: &str, commands: &[&str]) {
    let mut qemu_io = tool("qemu-io");
    qemu_io.args(["-f", format]);
    for command in commands {
        qemu_io.args(["-c", command]);
    }
    run(qemu_io.arg(image));
}

/// Converts a raw image to qcow2, with further options of `qemu-img convert`.
#[track_caller]
pub fn qcow2(raw: &Path, path: &Path, options: &str) -> PathBuf {
    let mut command = tool("qemu-img");
    command
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args(options.split_whitespace());
    run(command.arg(raw).arg(path));
    path.to_owned()
}

/// Compresses a file by `gzip`.
#[track_caller]
pub fn gzip(path: &Path) -> PathBuf {
    run(tool("gzip").args(["--keep", "--force"]).arg(path));
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// The size of the disk in an image, in bytes.
#[track_caller]
pub fn virtual_size(image: &Path) -> u64 {
    let text = run(tool("qemu-img").args(["info", "--output=json"]).arg(image));
    let info: Value = serde_json::from_str(&text).unwrap();
    info["virtual-size"].as_u64().unwrap()
}

/// Checks that `disk` has the bytes that `qemu-img` finds in `image`, and zeros after them.
#[track_caller]
pub fn assert_same_disk(disk: &Path, image: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected.img");
    run(tool("qemu-img")
        .args(["convert", "-O", "raw"])
        .arg(image)
        .arg(&expected));
    let size = fs::metadata(disk).unwrap().len();
    let file = File::options().write(true).open(&expected).unwrap();
    assert!(
        size >= file.metadata().unwrap().len(),
        "the disk is smaller than the image"
    );
    file.set_len(size).unwrap();
    if let Some(offset) = first_difference(disk, &expected) {
        panic!(
            "{} differs from {} at {offset}",
            disk.display(),
            image.display()
        );
    }
}

/// Where two files begin to differ.
#[track_caller]
pub fn first_difference(one: &Path, other: &Path) -> Option<u64> {
    let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut offset = 0;
    loop {
        left.clear();
        right.clear();
        (&one).take(MIB).read_to_end(&mut left).unwrap();
        (&other).take(MIB).read_to_end(&mut right).unwrap();
        if left != right {
            let equal = left
                .iter()
                .zip(&right)
                .take_while(|(left, right)| left == right)
                .count();
            return Some(offset + equal as u64);
        }
        if left.is_empty() {
            return None;
        }
        offset += left.len() as u64;
    }
}

fn words(seed: u64, length: usize) -> Vec<u8> {
    let line = format!("line {seed} of a log that says the same things again and again\n");
    line.bytes().cycle().take(length).collect()
}

/// Xorshift: not random at all, but it does not compress.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(length).collect()
    }
}
