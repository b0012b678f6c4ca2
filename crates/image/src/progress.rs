//! Counters that other threads may read while a job runs.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// How far a job is. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    written: AtomicU64,
    /// Of the whole job, in hundredths of a percent.
    done: AtomicU32,
}

impl Progress {
    /// The bytes received from the source so far.
    pub fn bytes_read(&self) -> u64 {
        self.0.read.load(Relaxed)
    }

    /// The bytes of data written to the disk so far; holes do not count.
    pub fn bytes_written(&self) -> u64 {
        self.0.written.load(Relaxed)
    }

    /// How much of the job is done, 0 to 100. It never falls, and 100 is reached when the disk is
    /// durable under its final name.
    pub fn percent(&self) -> f64 {
        f64::from(self.0.done.load(Relaxed)) / 100.0
    }

    /// Notes that the job is over.
    pub fn complete(&self) {
        self.0.done.store(10_000, Relaxed);
    }

    pub(crate) fn add_read(&self, bytes: u64) {
        self.0.read.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn add_written(&self, bytes: u64) {
        self.0.written.fetch_add(bytes, Relaxed);
    }
}

/// A part of a job that covers the percentages from one number to another.
#[derive(Debug)]
pub(crate) struct Phase {
    progress: Progress,
    from: u32,
    to: u32,
    total: u64,
    done: AtomicU64,
}

impl Phase {
    /// A phase of `total` units that takes the job from `from` to `to` percent.
    pub(crate) fn new(progress: &Progress, from: u32, to: u32, total: u64) -> Self {
        let (progress, done) = (progress.clone(), AtomicU64::new(0));
        Self {
            progress,
            from,
            to,
            total: total.max(1),
            done,
        }
    }

    /// Notes that `units` more are done.
    pub(crate) fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Relaxed).saturating_add(units);
        self.reach(done);
    }

    /// Notes that `units` are done in all.
    pub(crate) fn reach(&self, units: u64) {
        let width = u128::from(self.to - self.from) * 100;
        let part = width * u128::from(units.min(self.total)) / u128::from(self.total);
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        self.progress
            .0
            .done
            .fetch_max(self.from * 100 + part, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_and_never_fall() {
        let progress = Progress::default();
        Phase::new(&progress, 0, 50, 1000).advance(1000);
        assert!((progress.percent() - 50.0).abs() < 0.01);
        let second = Phase::new(&progress, 50, 95, 10);
        second.advance(1);
        second.reach(0);
        assert!((progress.percent() - 54.5).abs() < 0.01);
        second.advance(100);
        assert!((progress.percent() - 95.0).abs() < 0.01);
        progress.complete();
        assert!((progress.percent() - 100.0).abs() < 0.01);
    }
}
