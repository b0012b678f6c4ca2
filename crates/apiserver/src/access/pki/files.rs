//! Keys and certificates as files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::PkiError;
use super::certificate::Pair;

/// Reads a pair; none where it is missing, or where the two do not belong together, as after an end
/// between two writes.
pub(super) fn load(dir: &Path, name: &str) -> Result<Option<Pair>, PkiError> {
    let read = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::Io { path, source }),
    };
    let certificate = read(dir.join(format!("{name}.crt")))?;
    let key = read(dir.join(format!("{name}.key")))?;
    let pair = certificate
        .zip(key)
        .map(|(certificate, key)| Pair { certificate, key });
    Ok(pair.filter(Pair::fits))
}

/// Keeps a pair.
pub(super) fn store(dir: &Path, name: &str, pair: Pair) -> Result<Pair, PkiError> {
    write_secret(&dir.join(format!("{name}.key")), &pair.key)?;
    write_secret(&dir.join(format!("{name}.crt")), &pair.certificate)?;
    Ok(pair)
}

/// Removes a pair.
pub(super) fn remove(dir: &Path, name: &str) -> Result<(), PkiError> {
    for ending in ["crt", "key"] {
        let path = dir.join(format!("{name}.{ending}"));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(PkiError::Io { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a folder that only its owner can look into.
pub(in crate::access) fn make_folder(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| PkiError::Io {
            path: dir.into(),
            source,
        })
}

/// Writes a file that only its owner can read, whole or not at all.
pub(in crate::access) fn write_secret(path: &Path, text: &str) -> Result<(), PkiError> {
    let partial = path.with_added_extension("partial");
    let written = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| PkiError::Io {
        path: path.into(),
        source,
    })
}
