//! Reading by ranges: each worker fetches, decodes and writes one batch after the other.
//!
//! The calling thread walks the tables and queues batches; the queue is bounded, so it never gets
//! far ahead. While one worker waits for the network, another decodes.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use parking_lot::Mutex;

use crate::{
    error::{Error, Result},
    format::{Batch, Layout, batch::Decoder},
    limits,
    progress::{Phase, Progress},
    sink::SparseFile,
    source::{ReadAt, Source},
};

/// One transfer by ranges.
pub(super) struct Run<'a> {
    source: &'a dyn ReadAt,
    layout: &'a dyn Layout,
    sink: &'a SparseFile,
    phase: Phase,
    /// What to count bytes for, and to tell when the job has failed.
    over: Option<(&'a Source, &'a Progress)>,
}

/// The first error of any thread.
#[derive(Default)]
struct Failure(Mutex<Option<Error>>);

impl<'a> Run<'a> {
    /// A transfer out of a file that is counted elsewhere.
    pub(super) fn new(
        source: &'a dyn ReadAt,
        layout: &'a dyn Layout,
        sink: &'a SparseFile,
        phase: Phase,
    ) -> Self {
        Self {
            source,
            layout,
            sink,
            phase,
            over: None,
        }
    }

    /// Counts the bytes that are read, and abandons `source` when a thread fails.
    pub(super) fn over(self, source: &'a Source, progress: &'a Progress) -> Self {
        Self {
            over: Some((source, progress)),
            ..self
        }
    }

    /// Writes everything that is not zeros.
    pub(super) fn run(&self) -> Result<()> {
        let workers = thread::available_parallelism().map_or(1, |cores| cores.get() * 2);
        let workers = workers.clamp(limits::MIN_WORKERS, limits::MAX_WORKERS);
        let (sender, receiver) = sync_channel(workers);
        let (receiver, failure) = (Mutex::new(receiver), Failure::default());
        thread::scope(|scope| {
            for number in 0..workers {
                thread::Builder::new()
                    .name(format!("copy-{number}"))
                    .spawn_scoped(scope, || self.work(&receiver, &failure))
                    .map_err(Error::Thread)?;
            }
            self.plan(sender, &failure);
            Ok::<_, Error>(())
        })?;
        failure.0.into_inner().map_or(Ok(()), Err)
    }

    /// Queues all batches, until they end or a worker fails.
    fn plan(&self, queue: SyncSender<Batch>, failure: &Failure) {
        let planned = self.layout.batches(self.source, &mut |batch| {
            if failure.is_set() {
                return Err(Error::Abandoned);
            }
            queue.send(batch).map_err(|_| Error::Abandoned)
        });
        // The workers end when the queue does.
        drop(queue);
        if let Err(error) = planned {
            self.fail(failure, error);
        }
    }

    /// Takes batches until there are no more. After a failure they are dropped, so that the thread
    /// that queues them gets to notice it.
    fn work(&self, queue: &Mutex<Receiver<Batch>>, failure: &Failure) {
        let mut decoder = match Decoder::new(self.layout.compression()) {
            Ok(decoder) => Some(decoder),
            Err(error) => {
                self.fail(failure, error);
                None
            }
        };
        loop {
            let batch = queue.lock().recv();
            let Ok(batch) = batch else { return };
            let Some(decoder) = decoder.as_mut().filter(|_| !failure.is_set()) else {
                continue;
            };
            if let Err(error) = self.copy(decoder, &batch) {
                self.fail(failure, error);
            }
        }
    }

    fn copy(&self, decoder: &mut Decoder, batch: &Batch) -> Result<()> {
        decoder.decode(self.source, batch, &mut |guest, bytes| {
            self.sink.write_sparse(guest, bytes)
        })?;
        let length = batch.range.end - batch.range.start;
        if let Some((_, progress)) = self.over {
            progress.add_read(length);
        }
        self.phase.advance(length);
        Ok(())
    }

    fn fail(&self, failure: &Failure, error: Error) {
        failure.0.lock().get_or_insert(error);
        if let Some((source, _)) = self.over {
            source.abandon();
        }
    }
}

impl Failure {
    fn is_set(&self) -> bool {
        self.0.lock().is_some()
    }
}
