//! From a container's log file to a reader, line by line.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, watch};

use super::line::{self, Line};
use super::{Logs, log_file, put_aside, restarts};
use crate::node::folder::PodFolder;

/// Chunks on their way to a reader who may be slow.
const IN_FLIGHT: usize = 16;

/// What to read of a log; the parameters of `GET pods/log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Wait for more until the container ends.
    pub follow: bool,
    /// The start before the present one.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only so many lines at the end.
    pub tail_lines: Option<usize>,
    /// Only what was said at or after this time.
    pub since: Option<Timestamp>,
    /// Only so many bytes.
    pub limit_bytes: Option<usize>,
}

/// Why there is no log to read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The container has not started, or not so often.
    #[error("there is no such log")]
    Missing,
    /// The log cannot be read.
    #[error("cannot read the log {path}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl Logs {
    /// Opens the log of a container for reading. The stream ends at the log's present end or, when
    /// it follows, with the container.
    pub fn read(
        &self,
        (node, pod_uid, container): (&str, &str, &str),
        options: LogOptions,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, LogsError> {
        let folder = PodFolder::new(&self.data_dir, node, pod_uid)
            .container(container)
            .map_err(|_| LogsError::Missing)?;
        let folder = folder.path();
        let mut starts = restarts(folder).map_err(|source| LogsError::Unreadable {
            path: folder.to_owned(),
            source,
        })?;
        starts.sort_unstable();
        let start = starts.iter().nth_back(usize::from(options.previous));
        let file = log_file(folder, *start.ok_or(LogsError::Missing)?);
        let writes = if options.follow {
            self.writes_to(&file)
        } else {
            None
        };
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let reader = Reader {
            file,
            writes,
            remaining: options.limit_bytes.unwrap_or(usize::MAX),
            options,
            sender,
        };
        tokio::spawn(reader.run());
        Ok(stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        }))
    }
}

/// The last bytes of a log, without times, for a container that left no other last word.
pub(in crate::node) fn last_words(file: &Path, max_lines: usize, max_bytes: usize) -> String {
    let Ok(content) = std::fs::read(file) else {
        return String::new();
    };
    let mut lines: Vec<_> = content
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(line::parse)
        .collect();
    let skipped = lines.len().saturating_sub(max_lines);
    let mut text = Vec::new();
    for line in lines.drain(skipped..) {
        append(&mut text, &line, false);
    }
    let skipped = text.len().saturating_sub(max_bytes);
    String::from_utf8_lossy(text.get(skipped..).unwrap_or_default()).into_owned()
}

fn append(text: &mut Vec<u8>, line: &Line<'_>, with_time: bool) {
    if with_time {
        text.extend_from_slice(line.time);
        text.push(b' ');
    }
    text.extend_from_slice(line.text);
    if !line.is_part {
        text.push(b'\n');
    }
}

/// One reading of a log.
struct Reader {
    file: PathBuf,
    writes: Option<watch::Receiver<()>>,
    options: LogOptions,
    /// The bytes that may still be sent.
    remaining: usize,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

/// The reader went away or has what it asked for.
struct Done;

impl Reader {
    async fn run(mut self) {
        if let Err(error) = self.try_run().await {
            // A reader that went away needs no error.
            let _ = self.sender.send(Err(error)).await;
        }
    }

    async fn try_run(&mut self) -> io::Result<()> {
        let mut current = self.open().await?;
        if let Some(tail) = self.options.tail_lines {
            if self.send_tail(&mut current, tail).await?.is_err() {
                return Ok(());
            }
        } else {
            if let Ok(file) = File::open(put_aside(&self.file)).await
                && self.send_all(&mut BufReader::new(file)).await?.is_err()
            {
                return Ok(());
            }
            if self.send_all(&mut current).await?.is_err() {
                return Ok(());
            }
        }
        let Some(mut writes) = self.writes.take() else {
            return Ok(());
        };
        self.follow(&mut writes, current).await
    }

    async fn open(&self) -> io::Result<BufReader<File>> {
        Ok(BufReader::new(File::open(&self.file).await?))
    }

    /// Sends what is written until the writer is done or the reader is.
    async fn follow(
        &mut self,
        writes: &mut watch::Receiver<()>,
        mut current: BufReader<File>,
    ) -> io::Result<()> {
        loop {
            let is_over = tokio::select! {
                change = writes.changed() => change.is_err(),
                () = self.sender.closed() => return Ok(()),
            };
            if self.send_all(&mut current).await?.is_err() {
                return Ok(());
            }
            if let Some(newest) = self.successor(current.get_ref()).await? {
                current = newest;
                if self.send_all(&mut current).await?.is_err() {
                    return Ok(());
                }
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// The file in which what is new stands when `current` was put aside meanwhile. For a moment
    /// there is none, and none any more when the Pod was removed.
    async fn successor(&self, current: &File) -> io::Result<Option<BufReader<File>>> {
        let newest = match self.open().await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            newest => newest?,
        };
        let is_other = newest.get_ref().metadata().await?.ino() != current.metadata().await?.ino();
        Ok(is_other.then_some(newest))
    }

    async fn send_all(&mut self, file: &mut BufReader<File>) -> io::Result<Result<(), Done>> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            if file.read_until(b'\n', &mut buffer).await? == 0 {
                return Ok(Ok(()));
            }
            if self.send(&buffer).await.is_err() {
                return Ok(Err(Done));
            }
        }
    }

    /// Sends the last lines, with both files as one.
    async fn send_tail(
        &mut self,
        current: &mut BufReader<File>,
        tail: usize,
    ) -> io::Result<Result<(), Done>> {
        let mut last = VecDeque::new();
        if let Ok(file) = File::open(put_aside(&self.file)).await {
            collect_tail(&mut BufReader::new(file), tail, &mut last).await?;
        }
        collect_tail(current, tail, &mut last).await?;
        for line in last {
            if self.send(&line).await.is_err() {
                return Ok(Err(Done));
            }
        }
        Ok(Ok(()))
    }

    async fn send(&mut self, line: &[u8]) -> Result<(), Done> {
        let Some(line) = line::parse(line) else {
            return Ok(());
        };
        if self.options.since.is_some_and(|since| line.at < since) {
            return Ok(());
        }
        let mut text = Vec::with_capacity(line.text.len() + line.time.len() + 2);
        append(&mut text, &line, self.options.timestamps);
        text.truncate(self.remaining);
        self.remaining -= text.len();
        self.sender.send(Ok(text.into())).await.map_err(|_| Done)?;
        if self.remaining == 0 {
            Err(Done)
        } else {
            Ok(())
        }
    }
}

/// Keeps the last lines of a file; each part of a very long line counts as one.
async fn collect_tail(
    file: &mut BufReader<File>,
    tail: usize,
    last: &mut VecDeque<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let mut buffer = Vec::new();
        if file.read_until(b'\n', &mut buffer).await? == 0 {
            return Ok(());
        }
        last.push_back(buffer);
        if last.len() > tail {
            last.pop_front();
        }
    }
}
