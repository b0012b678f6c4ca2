//! Keys that sign tokens.
//!
//! Each is a file `token-SECONDS.key` in the folder of the certificates, named after the moment at
//! which it was made. The newest one signs. Older ones verify for as long as a token may live that
//! they have signed, so a new key takes over without invalidating anything; removing a file
//! invalidates its tokens at the next start.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::KeyPair;

use super::pki::{PkiError, make_folder, write_secret};
use super::token::LONGEST;

/// How all tokens are signed.
pub(super) const ALGORITHM: Algorithm = Algorithm::ES256;

/// How long a key signs.
const SIGNS: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The keys of one server at one moment.
#[derive(Debug)]
pub(super) struct Keys {
    dir: PathBuf,
    made: Timestamp,
    signing: EncodingKey,
    signing_id: String,
    verifying: HashMap<String, DecodingKey>,
    public: Vec<Jwk>,
}

impl Keys {
    /// Reads the keys in a folder; makes a new one where the newest has signed for long enough, and
    /// removes those that no living token is signed with.
    pub(super) fn open(dir: &Path, now: Timestamp) -> Result<Self, PkiError> {
        make_folder(dir)?;
        let mut files = files(dir)?;
        let outlived = |made: Timestamp| now.duration_since(made) > SIGNS + LONGEST;
        for (_, path) in files.extract_if(.., |(made, _)| outlived(*made)) {
            fs::remove_file(&path).map_err(|source| PkiError::Io { path, source })?;
        }
        files.sort();
        let is_young = |made: Timestamp| now.duration_since(made) <= SIGNS;
        if !files.last().is_some_and(|(made, _)| is_young(*made)) {
            files.push((now, make(dir, now)?));
        }
        Self::read(dir, &files)
    }

    fn read(dir: &Path, files: &[(Timestamp, PathBuf)]) -> Result<Self, PkiError> {
        let mut verifying = HashMap::new();
        let mut public = Vec::new();
        let mut newest = None;
        for (made, path) in files {
            let unusable = |_| PkiError::Unusable { path: path.clone() };
            let text = fs::read(path).map_err(|source| PkiError::Io {
                path: path.clone(),
                source,
            })?;
            let signing = EncodingKey::from_ec_pem(&text).map_err(unusable)?;
            let mut jwk = Jwk::from_encoding_key(&signing, ALGORITHM).map_err(unusable)?;
            let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
            jwk.common.key_id = Some(id.clone());
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            let key = DecodingKey::from_jwk(&jwk).map_err(unusable)?;
            verifying.insert(id.clone(), key);
            public.push(jwk);
            newest = Some((*made, signing, id));
        }
        let (made, signing, signing_id) =
            newest.ok_or_else(|| PkiError::Unusable { path: dir.into() })?;
        Ok(Self {
            dir: dir.into(),
            made,
            signing,
            signing_id,
            verifying,
            public,
        })
    }

    /// Whether another key should sign from now on.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.duration_since(self.made) > SIGNS
    }

    /// The keys after a look at the folder.
    pub(super) fn renewed(&self, now: Timestamp) -> Result<Self, PkiError> {
        Self::open(&self.dir, now)
    }

    /// The key that signs, and its name.
    pub(super) fn signing(&self) -> (&EncodingKey, &str) {
        (&self.signing, &self.signing_id)
    }

    /// The key of a name that a token gives.
    pub(super) fn verifying(&self, id: &str) -> Option<&DecodingKey> {
        self.verifying.get(id)
    }

    /// The public halves (RFC 7517).
    pub(super) fn public(&self) -> &[Jwk] {
        &self.public
    }
}

/// The keys in a folder and when they were made.
fn files(dir: &Path) -> Result<Vec<(Timestamp, PathBuf)>, PkiError> {
    let failed = |source| PkiError::Io {
        path: dir.into(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let made = name
            .and_then(|name| name.strip_prefix("token-")?.strip_suffix(".key"))
            .and_then(|seconds| Timestamp::from_second(seconds.parse().ok()?).ok());
        if let Some(made) = made {
            files.push((made, path));
        }
    }
    Ok(files)
}

fn make(dir: &Path, now: Timestamp) -> Result<PathBuf, PkiError> {
    let path = dir.join(format!("token-{}.key", now.as_second()));
    write_secret(&path, &KeyPair::generate()?.serialize_pem())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_follow_each_other_and_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let start = Timestamp::now();
        let first = Keys::open(dir.path(), start).unwrap();
        let id = first.signing().1.to_owned();
        assert!(!first.is_due(start));
        assert_eq!(first.renewed(start).unwrap().signing().1, id);

        let later = start + SIGNS + SignedDuration::from_secs(1);
        assert!(first.is_due(later));
        let second = first.renewed(later).unwrap();
        assert_ne!(second.signing().1, id);
        assert!(second.verifying(&id).is_some());
        assert_eq!(second.public().len(), 2);

        let much_later = later + LONGEST;
        assert!(second.renewed(much_later).unwrap().verifying(&id).is_none());
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        Keys::open(dir.path(), now).unwrap();
        for (_, path) in files(dir.path()).unwrap() {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::write(&path, "no key").unwrap();
            let error = Keys::open(dir.path(), now).unwrap_err();
            assert!(matches!(error, PkiError::Unusable { path: named } if named == path));
        }
    }
}
