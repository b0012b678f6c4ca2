//! One import: look, decide, run.
//!
//! There are two ways to move an image, and a detour:
//!
//! * **By ranges** (`mapped`), where the source can be read at any offset: several workers each
//!   fetch, decode and write one batch after the other.
//! * **As one stream** (`stream`), where it cannot and the image is raw: one thread reads and
//!   decompresses, another writes.
//! * A qcow2 image cannot be read forwards only. Where the source has no ranges or is compressed as
//!   a whole, the container is first **spooled** to an unnamed file beside the disk, which is then
//!   read by ranges.

use std::{
    io::{self, Cursor, Read},
    path::PathBuf,
};

use crate::{
    codec::gzip::Gunzip,
    error::{Error, Result},
    format::{
        Layout,
        detect::{self, Signature},
        qcow2, raw,
    },
    limits,
    progress::{Phase, Progress},
    sink::SparseFile,
    source::{ReadAt, Source},
};

mod mapped;
mod plan;
mod read_ahead;
mod stream;

pub use plan::{Format, Method, Plan, Wrapping};

/// The share of a job, in percent, that spooling is taken to be.
const SPOOL_PERCENT: u32 = 50;
/// The same for everything but the final flush.
const COPY_PERCENT: u32 = 95;

/// Where a disk goes and what it may take.
#[derive(Debug, Clone)]
pub struct Target {
    /// The folder, which must exist.
    pub folder: PathBuf,
    /// The disk's name in it.
    pub name: String,
    /// The largest disk that is accepted, in bytes.
    pub capacity: u64,
    /// What a smaller disk is grown to, in bytes. A disk is never made smaller.
    pub grow_to: u64,
    /// Allocate every block of the disk.
    pub preallocate: bool,
}

/// What a job has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The image's own size as a disk, in bytes.
    pub virtual_size: u64,
    /// The size of the disk that was made.
    pub disk_size: u64,
    /// The bytes received from the source.
    pub bytes_read: u64,
    /// The bytes of data written, holes not counted.
    pub bytes_written: u64,
    /// What the disk occupies on the file system.
    pub allocated: u64,
}

/// An image that has been looked at and can be imported.
pub struct Job {
    source: Source,
    progress: Progress,
    plan: Plan,
    input: Input,
}

/// What is read.
enum Input {
    /// The source itself, at any offset.
    Ranges(Box<dyn Layout>),
    /// A raw disk, forwards.
    Stream(Box<dyn Read + Send>),
    /// A container that must be spooled first.
    Spool(Box<dyn Read + Send>),
}

impl Job {
    /// Looks at the first bytes of `source` and plans the rest.
    pub fn inspect(source: Source, progress: &Progress) -> Result<Self> {
        let counted = Counted {
            inner: source.stream(),
            progress: progress.clone(),
        };
        let (head, stream) = peek(Box::new(counted))?;
        let (plan, input) = if detect::signature(&head) == Signature::Gzip {
            let (head, stream) = peek(Box::new(Gunzip::new(stream)))?;
            forwards(&head, stream, Wrapping::Gzip, None)?
        } else if let Some(random) = source.random() {
            by_ranges(&head, random, Method::of(&source))?
        } else {
            forwards(&head, stream, Wrapping::None, source.size())?
        };
        Ok(Self {
            source,
            progress: progress.clone(),
            plan,
            input,
        })
    }

    /// What will be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes the disk. On failure nothing of it remains.
    pub fn run(self, target: &Target) -> Result<Report> {
        if let Some(size) = self.plan.virtual_size {
            check_fit(size, target)?;
        }
        let sink = SparseFile::create(&target.folder, &target.name, &self.progress)?;
        if target.preallocate {
            let size = disk_size(self.plan.virtual_size.unwrap_or(0), target);
            sink.reserve(size)?;
        }
        let progress = self.progress.clone();
        let virtual_size = self.transfer(&sink, target)?;
        let disk_size = disk_size(virtual_size, target);
        let allocated = sink.finish(disk_size)?;
        progress.complete();
        Ok(Report {
            virtual_size,
            disk_size,
            bytes_read: progress.bytes_read(),
            bytes_written: progress.bytes_written(),
            allocated,
        })
    }

    /// Moves the data and returns the size of the image's disk.
    fn transfer(self, sink: &SparseFile, target: &Target) -> Result<u64> {
        let Self {
            source,
            progress,
            input,
            ..
        } = self;
        match input {
            Input::Stream(stream) => stream::copy(stream, &source, sink, target, &progress),
            Input::Spool(stream) => {
                let spool = stream::spool(stream, &source, target, &progress)?;
                let layout = qcow2::Reader::open(&spool)?;
                check_fit(layout.virtual_size(), target)?;
                let phase = Phase::new(&progress, SPOOL_PERCENT, COPY_PERCENT, spool.size());
                mapped::Run::new(&spool, &layout, sink, phase).run()?;
                Ok(layout.virtual_size())
            }
            Input::Ranges(layout) => {
                let Some(random) = source.random() else {
                    return Err(Error::Empty);
                };
                let phase = Phase::new(&progress, 0, COPY_PERCENT, random.size());
                mapped::Run::new(random, &*layout, sink, phase)
                    .over(&source, &progress)
                    .run()?;
                Ok(layout.virtual_size())
            }
        }
    }
}

/// Plans an image that can be read at any offset.
fn by_ranges(head: &[u8], source: &dyn ReadAt, method: Method) -> Result<(Plan, Input)> {
    let (plan, layout): (_, Box<dyn Layout>) = match detect::signature(head) {
        Signature::Qcow2 => {
            let reader = qcow2::Reader::open(source)?;
            (
                Plan::qcow2(reader.header(), Wrapping::None, method),
                Box::new(reader),
            )
        }
        Signature::Raw => {
            let plan = Plan::raw(Some(source.size()), Wrapping::None, method);
            (plan, Box::new(raw::Reader::new(source)))
        }
        signature => return Err(refused(signature)),
    };
    Ok((plan, Input::Ranges(layout)))
}

/// Plans an image of which there is only a forward stream.
fn forwards(
    head: &[u8],
    stream: Box<dyn Read + Send>,
    wrapping: Wrapping,
    size: Option<u64>,
) -> Result<(Plan, Input)> {
    match detect::signature(head) {
        Signature::Qcow2 => {
            let header = qcow2::Header::parse(head)?;
            Ok((
                Plan::qcow2(&header, wrapping, Method::Spool),
                Input::Spool(stream),
            ))
        }
        Signature::Raw => Ok((
            Plan::raw(size, wrapping, Method::Stream),
            Input::Stream(stream),
        )),
        signature => Err(refused(signature)),
    }
}

fn refused(signature: Signature) -> Error {
    let format = match signature {
        Signature::Unsupported(format) => format,
        Signature::Gzip | Signature::Qcow2 | Signature::Raw => "twice compressed",
    };
    Error::Unsupported { format }
}

/// Reads the beginning of a stream, and returns it with the whole stream.
///
/// Fails if the stream is empty, or is a document rather than an image.
fn peek(mut stream: Box<dyn Read + Send>) -> Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::new();
    read_head(&mut stream, &mut head, limits::HEAD_BYTES)?;
    if head.is_empty() {
        return Err(Error::Empty);
    }
    if detect::signature(&head) == Signature::Raw && detect::looks_like_text(&head) {
        read_head(&mut stream, &mut head, limits::TEXT_BYTES)?;
        if head.len() < limits::TEXT_BYTES {
            return Err(Error::Text {
                excerpt: detect::excerpt(&head),
            });
        }
    }
    let whole = Box::new(Cursor::new(head.clone()).chain(stream));
    head.truncate(limits::HEAD_BYTES);
    Ok((head, whole))
}

fn read_head(stream: &mut dyn Read, head: &mut Vec<u8>, length: usize) -> Result<()> {
    let missing = length.saturating_sub(head.len());
    let read = stream.take(missing as u64).read_to_end(head);
    read.map(drop).map_err(stream::failed)
}

/// A disk is a whole number of sectors of 512 bytes.
fn sectors(size: u64) -> u64 {
    size.div_ceil(512).saturating_mul(512)
}

fn disk_size(virtual_size: u64, target: &Target) -> u64 {
    sectors(virtual_size).max(target.grow_to)
}

fn check_fit(size: u64, target: &Target) -> Result<()> {
    let available = target.capacity.min(limits::MAX_VIRTUAL_SIZE);
    if sectors(size) > available {
        return Err(Error::TooLarge { size, available });
    }
    Ok(())
}

/// Counts the bytes that a source yields.
struct Counted {
    inner: Box<dyn Read + Send>,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.add_read(count as u64);
        Ok(count)
    }
}
