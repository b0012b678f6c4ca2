//! How errors read at the user.
//!
//! The texts before the colon are those of CDI's importer, which people and scripts know.

use std::error::Error as StdError;

use image::Kind;

use crate::config::ConfigError;

/// Why a worker made no disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The settings cannot be used.
    #[error("Unable to process data: the worker's settings are wrong")]
    Config(#[from] ConfigError),
    /// The server could not be reached, or refused.
    #[error("Unable to process data: Unable to connect to http data source")]
    Connect(#[source] image::Error),
    /// The image is none that can be imported.
    #[error("Unable to process data: Unable to obtain information about data source")]
    Inspect(#[source] image::Error),
    /// A raw image could not be copied.
    #[error("Unable to process data: Unable to transfer source data to target file")]
    Transfer(#[source] image::Error),
    /// An image in another format could not be converted.
    #[error(
        "Unable to process data: Unable to convert source data to target format: \
         Conversion to Raw failed"
    )]
    Convert(#[source] image::Error),
    /// A blank disk could not be made.
    #[error("Unable to process data: Unable to create a blank disk")]
    Blank(#[source] image::Error),
    /// The volume could not be prepared.
    #[error("Unable to process data: Unable to prepare the volume")]
    Volume(#[source] image::Error),
    /// The room on the volume could not be determined.
    #[error("Unable to process data: Unable to determine the room on the volume")]
    Space(#[source] std::io::Error),
}

impl Failure {
    /// Whether the same work would fail again.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Config(_) => true,
            Self::Space(_) => false,
            Self::Connect(error)
            | Self::Inspect(error)
            | Self::Transfer(error)
            | Self::Convert(error)
            | Self::Blank(error)
            | Self::Volume(error) => error.kind() != Kind::Retryable,
        }
    }

    /// The error and its causes in one line.
    pub fn sentence(&self) -> String {
        let mut sentence = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            sentence.push_str(": ");
            sentence.push_str(&cause.to_string());
            next = cause.source();
        }
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence() {
        let missing = image::Error::Status {
            code: 404,
            reason: "Not Found",
        };
        let failure = Failure::Connect(missing);
        assert_eq!(
            failure.sentence(),
            "Unable to process data: Unable to connect to http data source: \
             expected status code 200, got 404. Status: 404 Not Found"
        );
        assert!(failure.is_permanent());
    }
}
