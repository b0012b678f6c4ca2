//! What a folder may look like after the power failed.
//!
//! A disk keeps what was synced before. Of what was not, it keeps any part: each write whole, not at
//! all, or some of its sectors, in any order. Names are kept when the folder was synced; of the
//! changes of names after that, the first ones up to a random point, since file systems
//! keep a journal of these.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Random;
use crate::trace::Operation;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Add(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<u64, File>,
    folder: Option<u64>,
    synced_names: BTreeMap<String, u64>,
    names: Vec<Naming>,
}

/// Makes, in an empty folder, what may be left of a record's folder when the power fails after these
/// operations.
pub fn cut(operations: &[Operation], random: &mut Random, into: &Path) {
    let mut disk = Disk::default();
    for operation in operations {
        disk.apply(operation);
    }
    let mut names = disk.synced_names.clone();
    let kept = random.below(disk.names.len() as u64 + 1);
    for naming in disk.names.iter().take(usize::try_from(kept).unwrap()) {
        rename(&mut names, naming);
    }
    for (name, file) in names {
        let file = &disk.files[&file];
        let mut content = file.synced.clone();
        for change in &file.pending {
            keep_some(&mut content, change, random);
        }
        std::fs::write(into.join(name), content).unwrap();
    }
}

impl Disk {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { file, name } => {
                self.files.insert(*file, File::default());
                self.names.push(Naming::Add(name.clone(), *file));
            }
            Operation::Folder { file } => self.folder = Some(*file),
            Operation::Write {
                file,
                offset,
                bytes,
            } => {
                self.pend(*file, Change::Write(*offset, bytes.clone()));
            }
            Operation::Truncate { file, length } => self.pend(*file, Change::Truncate(*length)),
            Operation::Sync { file } if self.folder == Some(*file) => {
                for naming in std::mem::take(&mut self.names) {
                    rename(&mut self.synced_names, &naming);
                }
            }
            Operation::Sync { file } => {
                if let Some(File { synced, pending }) = self.files.get_mut(file) {
                    for change in pending.drain(..) {
                        change.apply(synced);
                    }
                }
            }
            Operation::Rename { from, to } => {
                self.names.push(Naming::Rename(from.clone(), to.clone()));
            }
            Operation::Unlink { name } => self.names.push(Naming::Remove(name.clone())),
            Operation::Said(_) => {}
        }
    }

    fn pend(&mut self, file: u64, change: Change) {
        self.files.get_mut(&file).unwrap().pending.push(change);
    }
}

fn rename(names: &mut BTreeMap<String, u64>, naming: &Naming) {
    match naming {
        Naming::Add(name, file) => drop(names.insert(name.clone(), *file)),
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Naming::Remove(name) => drop(names.remove(name)),
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Truncate(length) => content.resize(*length, 0),
        }
    }
}

fn keep_some(content: &mut Vec<u8>, change: &Change, random: &mut Random) {
    match (random.below(4), change) {
        (0, _) => {}
        (1, Change::Write(offset, bytes)) => {
            let mut start = 0;
            while start < bytes.len() {
                let end = bytes.len().min(start + SECTOR - (offset + start) % SECTOR);
                if random.once_in(2) {
                    Change::Write(offset + start, bytes[start..end].to_vec()).apply(content);
                }
                start = end;
            }
        }
        _ => change.apply(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(file: u64, name: &str) -> Operation {
        Operation::Create {
            file,
            name: name.into(),
        }
    }

    fn write(bytes: &[u8]) -> Operation {
        Operation::Write {
            file: 1,
            offset: 0,
            bytes: bytes.into(),
        }
    }

    #[test]
    fn what_was_synced_is_always_there_and_the_rest_is_not() {
        let folder = Operation::Folder { file: 9 };
        let sync = |file| Operation::Sync { file };
        let old = vec![b'o'; 2 * SECTOR];
        let new = vec![b'n'; 2 * SECTOR];
        let done = [folder, create(1, "a"), write(&old), sync(1), sync(9)];
        let then = [write(&new), create(2, "b")];
        let all: Vec<_> = done.into_iter().chain(then).collect();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let dir = tempfile::tempdir().unwrap();
            cut(&all, &mut Random::new(seed), dir.path());
            let a = std::fs::read(dir.path().join("a")).unwrap();
            assert_eq!(a.len(), 2 * SECTOR);
            assert!(
                a[..SECTOR].iter().all(|byte| *byte == a[0]),
                "a sector was torn"
            );
            seen.insert((a[0], a[SECTOR], dir.path().join("b").exists()));
        }
        assert_eq!(seen.len(), 8, "{seen:?}");
    }
}
