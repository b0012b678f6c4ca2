//! Waiting for a server, on ordinary threads.

use std::{io, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    sync::watch,
    time,
};

use super::{Failure, TransportError};
use crate::error::{Error, Result};

/// Waits for answers: until they come, the server has been silent for too long, or nobody wants
/// them any more.
pub(super) struct Waiter {
    runtime: Runtime,
    stall_timeout: Duration,
    abandoned: watch::Sender<bool>,
}

impl Waiter {
    pub(super) fn new(stall_timeout: Duration) -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()?;
        let (abandoned, _) = watch::channel(false);
        Ok(Self {
            runtime,
            stall_timeout,
            abandoned,
        })
    }

    /// Waits for an answer, or the next part of one.
    pub(super) fn answer<T>(
        &self,
        answer: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, Failure> {
        let in_time = async { time::timeout(self.stall_timeout, answer).await };
        match self.unless_abandoned(in_time).map_err(Failure::Final)? {
            Ok(answer) => answer.map_err(|error| Failure::Passing(TransportError::from(error))),
            Err(_) => Err(Failure::Silence),
        }
    }

    /// Waits for `pause` to pass.
    pub(super) fn pause(&self, pause: Duration) -> Result<()> {
        self.unless_abandoned(async { time::sleep(pause).await })
    }

    fn unless_abandoned<T>(&self, wanted: impl Future<Output = T>) -> Result<T> {
        let mut abandoned = self.abandoned.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = abandoned.wait_for(|raised| *raised) => Err(Error::Abandoned),
                result = wanted => Ok(result),
            }
        })
    }

    /// Ends all waiting, now and later.
    pub(super) fn abandon(&self) {
        self.abandoned.send_replace(true);
    }
}
