//! Keeps tasks running: one that ends or panics is started again after a pause.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A task that ran this long before it failed starts anew with the shortest pause.
const STABLE: Duration = Duration::from_mins(1);

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks to keep running.
#[derive(Default)]
pub(crate) struct Supervisor {
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Starts a task and, whenever it ends, starts it again. All its state must be in objects.
    pub(crate) fn keep<F, Fut>(&mut self, name: &'static str, start: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(restart_for_ever(name, move || {
            Box::pin(start()) as TaskFuture
        }));
    }

    /// Runs until `shutdown` completes, then drops every task where it stands.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.tasks.shutdown().await;
    }
}

async fn restart_for_ever(name: &'static str, start: impl Fn() -> TaskFuture) {
    let mut pause = MIN_PAUSE;
    loop {
        let started = Instant::now();
        // A task of its own, so that a panic ends it alone; the set aborts it when this is dropped.
        let mut task = JoinSet::new();
        task.spawn(start());
        let outcome = task.join_next().await;
        if started.elapsed() >= STABLE {
            pause = MIN_PAUSE;
        }
        if let Some(Err(error)) = outcome {
            tracing::error!(task = name, %error, ?pause, "task failed");
        } else {
            tracing::warn!(task = name, ?pause, "task ended");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_until_shutdown() {
        let starts = Arc::new(AtomicU32::new(0));
        let third = Arc::new(Notify::new());
        let mut supervisor = Supervisor::default();
        let (count, reached) = (starts.clone(), third.clone());
        supervisor.keep("fragile", move || {
            let (count, reached) = (count.clone(), reached.clone());
            async move {
                if count.fetch_add(1, Ordering::SeqCst) == 2 {
                    reached.notify_one();
                    std::future::pending::<()>().await;
                }
                panic!("fragile");
            }
        });
        supervisor.run(third.notified()).await;
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }
}
