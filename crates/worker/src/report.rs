//! Telling in the log how far a job is.

use std::{thread, time::Duration};

use image::Progress;
use parking_lot::{Condvar, Mutex};

/// How often the counters are looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// A line is logged whenever this many percent more are done.
const STEP: u32 = 10;

/// Set when there is nothing to tell any more.
#[derive(Default)]
struct Over {
    flag: Mutex<bool>,
    raised: Condvar,
}

/// Runs `work` and logs its progress about every ten percent.
pub(crate) fn while_running<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    let over = Over::default();
    thread::scope(|scope| {
        scope.spawn(|| over.watch(progress));
        let result = work();
        *over.flag.lock() = true;
        over.raised.notify_all();
        result
    })
}

impl Over {
    fn watch(&self, progress: &Progress) {
        let mut told = 0;
        let mut over = self.flag.lock();
        while !*over {
            self.raised
                .wait_while_for(&mut over, |over| !*over, INTERVAL);
            told = tell(progress, told);
        }
    }
}

/// Logs a line if another step is done. Returns the last step that has been told.
fn tell(progress: &Progress, told: u32) -> u32 {
    let percent = progress.percent();
    let mut reached = told;
    while reached < 100 && percent >= f64::from(reached + STEP) {
        reached += STEP;
    }
    if reached > told && reached < 100 {
        let (read, written) = (progress.bytes_read(), progress.bytes_written());
        tracing::info!("{reached} % done: {read} bytes read, {written} bytes written");
    }
    reached
}
