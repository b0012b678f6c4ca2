//! The record of what a program did to a folder.

use std::path::Path;

/// One operation that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file was made under a name.
    Create {
        /// Number of the file.
        file: u64,
        /// Name in the folder.
        name: String,
    },
    /// The folder itself was opened.
    Folder {
        /// Number of the folder.
        file: u64,
    },
    /// Bytes were written.
    Write {
        /// Number of the file.
        file: u64,
        /// Where.
        offset: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was cut or extended.
    Truncate {
        /// Number of the file.
        file: u64,
        /// Its new length.
        length: usize,
    },
    /// A file or the folder was synced.
    Sync {
        /// Number of the file.
        file: u64,
    },
    /// A file got another name.
    Rename {
        /// The old name.
        from: String,
        /// The new name, which another file may have had.
        to: String,
    },
    /// A name was removed.
    Unlink {
        /// The name.
        name: String,
    },
    /// The program wrote to its standard output.
    Said(String),
}

impl Operation {
    /// Whether it counts as one that can fail.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Folder { .. } | Self::Said(_))
    }
}

/// Reads a record.
pub fn read(path: &Path) -> Vec<Operation> {
    let all = std::fs::read(path).unwrap();
    let mut rest = all.as_slice();
    let mut operations = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<21>() {
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        let length = u32::from_le_bytes(header[17..21].try_into().unwrap()) as usize;
        // A killed process may leave a record without its end.
        let Some((bytes, behind)) = behind.split_at_checked(length) else {
            break;
        };
        operations.push(operation(header[0], number(1), number(9), bytes));
        rest = behind;
    }
    operations
}

fn operation(kind: u8, file: u64, offset: u64, bytes: &[u8]) -> Operation {
    let offset = usize::try_from(offset).unwrap();
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match kind {
        b'C' => Operation::Create { file, name: text() },
        b'D' => Operation::Folder { file },
        b'W' => Operation::Write {
            file,
            offset,
            bytes: bytes.to_vec(),
        },
        b'T' => Operation::Truncate {
            file,
            length: offset,
        },
        b'F' => Operation::Sync { file },
        b'R' => {
            let text = text();
            let (from, to) = text.split_once('\0').unwrap();
            Operation::Rename {
                from: from.into(),
                to: to.into(),
            }
        }
        b'U' => Operation::Unlink { name: text() },
        b'S' => Operation::Said(text()),
        other => panic!("a record has kind {other}"),
    }
}
