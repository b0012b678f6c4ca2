//! The id of a volume: a name that is safe as one element of a path.

use std::fmt;

/// The longest id in bytes; the CSI specification's limit for names and ids.
const MAX_LENGTH: usize = 128;

/// The id of a volume, the same as the name it was created under. Always one visible path element:
/// not empty, at most 128 bytes, no separator, no control character, no leading dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VolumeId(String);

/// Why a text is no [`VolumeId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVolumeId {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// More than 128 bytes.
    #[error("it has {length} bytes, more than {MAX_LENGTH}")]
    TooLong {
        /// How many.
        length: usize,
    },
    /// It would name a parent, a hidden entry or the driver's own folder.
    #[error("it begins with a dot")]
    LeadingDot,
    /// It would leave the folder or break a line of a log.
    #[error("it contains {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
}

impl VolumeId {
    /// Checks a text from outside.
    pub fn new(text: &str) -> Result<Self, InvalidVolumeId> {
        if text.is_empty() {
            return Err(InvalidVolumeId::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(InvalidVolumeId::TooLong { length: text.len() });
        }
        if text.starts_with('.') {
            return Err(InvalidVolumeId::LeadingDot);
        }
        match text
            .chars()
            .find(|character| *character == '/' || character.is_control())
        {
            Some(character) => Err(InvalidVolumeId::Character { character }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_path_element() {
        for good in ["pvc-2c0e", "a", "ünïcode name", &"x".repeat(128)] {
            assert_eq!(VolumeId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/",
            ".longshore",
            "a\0b",
            "a\nb",
            &"x".repeat(129),
        ] {
            assert!(VolumeId::new(bad).is_err(), "{bad:?}");
        }
    }
}
