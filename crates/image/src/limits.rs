//! Every bound on memory, work and output, with its reason.
//!
//! The resident memory of a job is about [`MAX_WORKERS`] × ([`FETCH_SPAN`] + [`RUN_BYTES`]) plus
//! the HTTP client: some 40 MiB, whatever the image's size.

use std::time::Duration;

/// The largest disk that is accepted, in bytes: more than most file systems hold in one file.
pub const MAX_VIRTUAL_SIZE: u64 = 64 << 40;

/// The largest L1 table of a qcow2 image, in bytes: the bound that QEMU itself keeps.
pub const MAX_L1_BYTES: u64 = 32 << 20;

/// How much of an image is looked at to recognise it, in bytes: the largest qcow2 header with the
/// name of a backing file, and then some.
pub const HEAD_BYTES: usize = 4096;

/// A source that starts as text and is shorter than this, in bytes, is taken for a document.
///
/// Error pages and listings are smaller; disks are larger.
pub const TEXT_BYTES: usize = 1 << 20;

/// The bytes of a container that are fetched in one piece: large enough that the latency of a
/// request does not matter, small enough that several fit in memory.
pub const FETCH_SPAN: u64 = 2 << 20;

/// Unneeded bytes between two needed ones that are fetched anyway, because asking twice costs more.
pub const FETCH_GAP: u64 = 64 << 10;

/// The most bytes of the disk that one batch yields, so that highly compressed images are spread
/// over all workers and progress moves.
pub const BATCH_BYTES: u64 = 8 << 20;

/// Decoded bytes that are collected before they are written, and also the largest qcow2 cluster.
pub const RUN_BYTES: usize = 2 << 20;

/// How many mapping entries are held and sorted at a time.
pub const WINDOW_ENTRIES: usize = 16 << 10;

/// The bytes of mapping tables that are fetched in one piece.
pub const TABLE_SPAN: u64 = 1 << 20;

/// Fewest workers: while one waits for the network another decodes.
pub const MIN_WORKERS: usize = 3;

/// Most workers, which is what bounds memory and the number of connections.
pub const MAX_WORKERS: usize = 6;

/// The window that a zstd cluster may use, as a power of two: four times the largest cluster.
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// One piece of a stream handed from one thread to the next, in bytes.
pub const STREAM_CHUNK: usize = 512 << 10;

/// How many such pieces may wait.
pub const STREAM_DEPTH: usize = 4;

/// What a qcow2 container may take beyond the largest disk of its volume, in bytes, when it is
/// spooled: its tables, and a little slack.
pub const SPOOL_SLACK: u64 = 64 << 20;

/// Zeros are looked for in blocks of this many bytes, the block size of most file systems.
pub const ZERO_BLOCK: usize = 4 << 10;

/// Runs of zeros shorter than this, in bytes, are written: a fragmented file costs more.
pub const SHORTEST_HOLE: usize = 32 << 10;

/// Write-back is started each time this many bytes have been written, and the window before is
/// dropped from the page cache.
pub const WRITEBACK_WINDOW: u64 = 16 << 20;

/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a source may stay silent before the job gives up.
pub const STALL_TIMEOUT: Duration = Duration::from_mins(10);

/// How often a request is tried without any progress in between.
pub const ATTEMPTS: u32 = 6;

/// The pause before the second try; each further one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause between two tries.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often one transfer may be resumed in all, so that a server that sends a byte at a time and
/// hangs up does not hold a job for ever.
pub const RESUMPTIONS: u32 = 10_000;

/// How many redirects are followed.
pub const REDIRECTS: usize = 10;
