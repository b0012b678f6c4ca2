//! Pauses between attempts, each twice as long as the one before.

use std::time::Duration;

/// A container that ran this long is well: its next failure is a first one.
const RECOVERED: Duration = Duration::from_mins(10);

/// Pauses that double up to a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// For restarts of a container: one second to five minutes.
    pub(super) fn restarts() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_mins(5))
    }

    /// For something that is missing and may appear at any time: a quarter of a second to ten
    /// seconds.
    pub(super) fn missing() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(10))
    }

    fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// The next pause after something that ran for a time.
    pub(super) fn pause_after(&mut self, ran: Duration) -> Duration {
        if ran >= RECOVERED {
            self.next = self.first;
        }
        self.pause()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_limit_and_begin_anew_after_a_good_run() {
        let mut backoff = Backoff::restarts();
        let pauses: Vec<u64> = (0..11)
            .map(|_| backoff.pause_after(Duration::ZERO).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.pause_after(Duration::from_mins(11)).as_secs(), 1);
    }
}
