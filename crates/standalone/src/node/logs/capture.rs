//! From a container's pipes to its log file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::line::{self, Stream};
use super::{Logs, MAX_FILE, put_aside};

/// The longest line that is kept whole, in bytes.
const MAX_LINE: usize = 16 << 10;

/// Writes what comes out of two pipes to a new file until both end. A file that cannot be written
/// loses what is said, but the pipes are read on: a full disk must not stop the container.
pub(in crate::node) fn capture(
    logs: &Logs,
    file: PathBuf,
    stdout: impl AsyncRead + Send + Unpin + 'static,
    stderr: impl AsyncRead + Send + Unpin + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut writer = Writer {
        file: create(&file)?,
        written: 0,
        news: logs.announce(&file),
        path: file,
        is_lossy: false,
    };
    Ok(tokio::spawn(async move {
        let mut output = Source::new(Stream::Output, stdout);
        let mut error = Source::new(Stream::Error, stderr);
        while output.is_open || error.is_open {
            let lines = tokio::select! {
                lines = output.read(), if output.is_open => lines,
                lines = error.read(), if error.is_open => lines,
            };
            writer.write(&lines);
        }
    }))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

/// One pipe, cut into lines.
struct Source<R> {
    stream: Stream,
    pipe: R,
    is_open: bool,
    /// The line whose end has not come yet.
    pending: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Source<R> {
    fn new(stream: Stream, pipe: R) -> Self {
        Self {
            stream,
            pipe,
            is_open: true,
            pending: Vec::new(),
        }
    }

    /// Waits for more and returns it as lines of the file. Loses nothing when it is dropped while
    /// it waits.
    async fn read(&mut self) -> Vec<u8> {
        let mut chunk = [0; MAX_LINE];
        let length = self.pipe.read(&mut chunk).await.unwrap_or(0);
        let now = Timestamp::now();
        let mut lines = Vec::new();
        self.is_open = length > 0;
        for piece in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
            if let Some(end) = piece.strip_suffix(b"\n") {
                self.pending.extend_from_slice(end);
                line::write(&mut lines, now, self.stream, false, &self.pending);
                self.pending.clear();
            } else {
                self.pending.extend_from_slice(piece);
            }
        }
        if self.pending.len() >= MAX_LINE || (!self.is_open && !self.pending.is_empty()) {
            line::write(&mut lines, now, self.stream, true, &self.pending);
            self.pending.clear();
        }
        lines
    }
}

/// The file, which is put aside when it is full.
struct Writer {
    path: PathBuf,
    file: File,
    written: u64,
    news: watch::Sender<()>,
    is_lossy: bool,
}

impl Writer {
    fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        match self.try_write(lines) {
            Ok(()) => self.is_lossy = false,
            Err(error) if !self.is_lossy => {
                self.is_lossy = true;
                tracing::warn!(file = %self.path.display(), %error, "container output is lost");
            }
            Err(_) => {}
        }
        self.news.send_replace(());
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.written += lines.len() as u64;
        if self.written >= MAX_FILE {
            fs::rename(&self.path, put_aside(&self.path))?;
            self.file = create(&self.path)?;
            self.written = 0;
        }
        Ok(())
    }
}
