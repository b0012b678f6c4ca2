//! Runs a reconcile for each key that was triggered: at most once at a time per key, never losing a
//! trigger that comes while it runs, and with exponential back-off after a failure. A trigger shortens
//! a back-off, though not below [`MIN_PAUSE`]: a reconcile that writes before it fails triggers itself.
//!
//! Keys that wait are taken in the order in which they came, or by rank where they have one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::ApiError;

/// How much of a back-off no trigger takes away.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// When to look at a key again if nothing changes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Only a change matters.
    OnChange,
    /// After this long.
    After(Duration),
}

/// What a reconcile can fail with.
pub(crate) trait ReconcileError: std::error::Error {
    /// A failure that resolves itself, such as a lost race, or that a user has asked for and is told
    /// of otherwise, such as a quota. It needs no administrator's attention.
    fn is_routine(&self) -> bool;

    /// What the failure came of, for people.
    fn explain(&self) -> String {
        self.source().map(ToString::to_string).unwrap_or_default()
    }
}

impl ReconcileError for ApiError {
    fn is_routine(&self) -> bool {
        self.is_conflict() || self.is_not_found() || self.is_forbidden()
    }

    fn explain(&self) -> String {
        self.answer()
    }
}

/// How hard a queue works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Reconciles in flight.
    pub(crate) concurrency: usize,
    /// First delay after a failure; doubles with each further one.
    pub(crate) min_delay: Duration,
    /// Longest delay after a failure.
    pub(crate) max_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// For work that only waits for the API server of this process.
    pub(crate) const DEFAULT: Self = Self {
        concurrency: 16,
        min_delay: Duration::from_millis(10),
        max_delay: Duration::from_mins(1),
    };

    /// The delay after `failures` failures in a row.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.min_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay)
    }
}

/// Triggers that are there together are taken together, so that ranks count.
const BATCH: usize = 1024;

/// Reconciles what `triggers` names until that stream ends.
pub(crate) async fn drive<K, F, Fut, E>(
    triggers: impl Stream<Item = K>,
    limits: Limits,
    reconcile: F,
) where
    K: Clone + Eq + Hash + Ord + Display,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Next, E>>,
    E: ReconcileError,
{
    drive_ranked(triggers, limits, |_| (), reconcile).await;
}

/// The same, with the lowest rank first of the keys that wait.
pub(crate) async fn drive_ranked<K, R, F, Fut, E>(
    triggers: impl Stream<Item = K>,
    limits: Limits,
    rank: impl Fn(&K) -> R,
    reconcile: F,
) where
    K: Clone + Eq + Hash + Ord + Display,
    R: Ord,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Next, E>>,
    E: ReconcileError,
{
    let mut queue = Queue::new(rank);
    let mut running = FuturesUnordered::new();
    let triggers = triggers.ready_chunks(BATCH);
    futures::pin_mut!(triggers);
    loop {
        while running.len() < limits.concurrency
            && let Some(key) = queue.start()
        {
            let outcome = reconcile(key.clone());
            running.push(async move { (key, outcome.await) });
        }
        let due = queue.next_due();
        tokio::select! {
            keys = triggers.next() => match keys {
                Some(keys) => keys.into_iter().for_each(|key| queue.add(key, Instant::now())),
                None => return,
            },
            Some((key, outcome)) = running.next(), if !running.is_empty() => {
                queue.finish(key, outcome, &limits);
            }
            () = sleep_until(due), if due.is_some() => queue.add_due(Instant::now()),
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

struct Queue<K, R, F> {
    rank: F,
    /// What is to run next, by rank and then by arrival.
    ready: BTreeMap<(R, u64), K>,
    arrivals: u64,
    /// What `ready` holds.
    waiting: HashSet<K>,
    running: HashSet<K>,
    /// Triggered while running: to run once more.
    again: HashSet<K>,
    delayed: BTreeSet<(Instant, K)>,
    failures: HashMap<K, Failures>,
}

/// How often a key failed since its last success.
#[derive(Debug)]
struct Failures {
    count: u32,
    /// Triggers wait until then.
    pause_end: Instant,
}

impl<K, R, F> Queue<K, R, F> {
    fn new(rank: F) -> Self {
        Self {
            rank,
            ready: BTreeMap::new(),
            arrivals: 0,
            waiting: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            delayed: BTreeSet::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K, R, F> Queue<K, R, F>
where
    K: Clone + Eq + Hash + Ord + Display,
    R: Ord,
    F: Fn(&K) -> R,
{
    /// Takes a trigger.
    fn add(&mut self, key: K, now: Instant) {
        let pause_end = self.failures.get(&key).map(|failed| failed.pause_end);
        match pause_end.filter(|end| *end > now) {
            Some(end) if !self.running.contains(&key) => {
                self.delayed.insert((end, key));
            }
            _ => self.enqueue(key),
        }
    }

    fn enqueue(&mut self, key: K) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.arrivals += 1;
            self.ready.insert(((self.rank)(&key), self.arrivals), key);
        }
    }

    fn start(&mut self) -> Option<K> {
        let (_, key) = self.ready.pop_first()?;
        self.waiting.remove(&key);
        self.delayed.retain(|(_, delayed)| *delayed != key);
        self.running.insert(key.clone());
        Some(key)
    }

    fn finish<E: ReconcileError>(&mut self, key: K, outcome: Result<Next, E>, limits: &Limits) {
        self.running.remove(&key);
        let now = Instant::now();
        let delay = match outcome {
            Ok(next) => {
                self.failures.remove(&key);
                match next {
                    Next::OnChange => None,
                    Next::After(delay) => Some(delay),
                }
            }
            Err(error) => {
                let count = self.failures.get(&key).map_or(0, |failed| failed.count) + 1;
                log_failure(&key, &error, count);
                let delay = limits.delay(count);
                let pause_end = now + delay.min(MIN_PAUSE);
                let failures = Failures { count, pause_end };
                self.failures.insert(key.clone(), failures);
                Some(delay)
            }
        };
        if self.again.remove(&key) {
            self.add(key, now);
        } else if let Some(delay) = delay {
            self.delayed.insert((now + delay, key));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    fn add_due(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now)
            && let Some((_, key)) = self.delayed.pop_first()
        {
            self.enqueue(key);
        }
    }
}

fn log_failure<E: ReconcileError>(key: &impl Display, error: &E, failures: u32) {
    let cause = error.explain();
    if error.is_routine() {
        tracing::debug!(%key, %error, %cause, failures, "reconcile is tried again");
    } else {
        tracing::warn!(%key, %error, %cause, failures, "reconcile failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused;

    impl ReconcileError for Refused {
        fn is_routine(&self) -> bool {
            true
        }
    }

    type Unranked = Queue<String, (), fn(&String)>;

    fn unranked() -> Unranked {
        Queue::new(|_| ())
    }

    fn finish(queue: &mut Unranked, key: &str, outcome: Result<Next, Refused>) {
        queue.finish(key.to_owned(), outcome, &Limits::default());
    }

    #[test]
    fn a_trigger_during_a_run_causes_exactly_one_more() {
        let mut queue = unranked();
        queue.add("a".to_owned(), Instant::now());
        queue.add("a".to_owned(), Instant::now());
        assert_eq!(queue.start().as_deref(), Some("a"));
        queue.add("a".to_owned(), Instant::now());
        queue.add("a".to_owned(), Instant::now());
        assert_eq!(queue.start(), None);
        finish(&mut queue, "a", Ok(Next::OnChange));
        assert_eq!(queue.start().as_deref(), Some("a"));
        finish(&mut queue, "a", Ok(Next::OnChange));
        assert_eq!(queue.start(), None);
    }

    #[test]
    fn failures_back_off_and_a_success_forgives_them() {
        let mut queue = unranked();
        queue.add("a".to_owned(), Instant::now());
        queue.start();
        finish(&mut queue, "a", Err(Refused));
        let due = queue.next_due().unwrap();
        queue.add_due(due);
        assert_eq!(queue.start().as_deref(), Some("a"));
        finish(&mut queue, "a", Ok(Next::OnChange));
        assert!(queue.failures.is_empty());
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_trigger_shortens_a_back_off_to_a_pause() {
        let limits = Limits {
            concurrency: 1,
            min_delay: Duration::from_mins(1),
            max_delay: Duration::from_mins(1),
        };
        let mut queue = unranked();
        queue.add("a".to_owned(), Instant::now());
        queue.start();
        // Its own write.
        queue.add("a".to_owned(), Instant::now());
        queue.finish("a".to_owned(), Err(Refused), &limits);
        let failed = Instant::now();
        queue.add("a".to_owned(), failed);
        assert_eq!(queue.start(), None);
        let due = queue.next_due().unwrap();
        assert!(due <= failed + MIN_PAUSE, "{due:?}");
        queue.add_due(due);
        assert_eq!(queue.start().as_deref(), Some("a"));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn the_lowest_rank_goes_first_and_equals_in_turn() {
        let mut queue = Queue::new(|key: &String| key.len());
        for key in ["long", "b", "a"] {
            queue.add(key.to_owned(), Instant::now());
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.start()).collect();
        assert_eq!(order, ["b", "a", "long"]);
    }

    #[test]
    fn delays_double_up_to_the_limit() {
        let limits = Limits {
            concurrency: 1,
            min_delay: Duration::from_secs(1),
            max_delay: Duration::from_mins(5),
        };
        let delays: Vec<_> = [1, 2, 3, 9, 10, 4_000]
            .map(|n| limits.delay(n).as_secs())
            .into();
        assert_eq!(delays, [1, 2, 4, 256, 300, 300]);
    }
}
