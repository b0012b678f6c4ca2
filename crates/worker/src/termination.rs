//! The message that outlives the container: the kubelet copies it into the Pod's status.

use std::{fs, io, path::Path};

use serde::Serialize;

/// The kubelet keeps no more than this, in bytes.
const LONGEST: usize = 4096;

/// What a worker reports when it has made the disk. Its form is that of CDI's importer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Success {
    /// Whether every block of the disk is allocated.
    pub preallocation_applied: bool,
    /// A word for people.
    pub message: String,
}

impl Success {
    /// An import that has gone well.
    pub fn import(preallocation_applied: bool) -> Self {
        Self {
            preallocation_applied,
            message: "Import Complete".to_owned(),
        }
    }
}

/// Leaves the message of a success.
pub fn success(log: &Path, success: &Success) -> io::Result<()> {
    fs::write(log, serde_json::to_string(success)?)
}

/// Leaves the message of a failure: one line of at most 4096 bytes.
pub fn failure(log: &Path, sentence: &str) -> io::Result<()> {
    let line = sentence.replace(['\n', '\r'], " ");
    fs::write(log, &line[..line.floor_char_boundary(LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_the_kubelet() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        failure(&log, &"ä\n".repeat(4000)).unwrap();
        let message = fs::read_to_string(&log).unwrap();
        assert!(message.len() <= LONGEST && !message.contains('\n'));

        success(&log, &Success::import(false)).unwrap();
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            r#"{"preallocationApplied":false,"message":"Import Complete"}"#
        );
    }
}
