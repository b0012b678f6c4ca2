//! Waiting for a condition, the only way in which a test may wait.

use std::time::{Duration, Instant};

/// A deadline for what takes seconds on a busy machine: it is there to end a test that hangs, not
/// to measure.
pub const LONG: Duration = Duration::from_secs(90);

/// Asks again and again until `condition` gives a value, and panics after `deadline`.
///
/// The pauses between two tries are short, so nothing depends on their length.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {deadline:?} in vain for {what}"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where tests may pause"
        )]
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
