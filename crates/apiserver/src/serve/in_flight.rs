//! How many requests are worked on at a time.
//!
//! Administrators and this process' own controllers are always let in, so that a flood of others'
//! requests can be ended. Watches and streams are not counted: they wait most of the time.

use std::sync::Arc;

use http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::User;
use crate::status::Status;

/// Most requests at a time that read, and that change something (a kube-apiserver's defaults).
pub(super) const READING: usize = 400;
pub(super) const CHANGING: usize = 200;

/// The places for requests.
#[derive(Debug)]
pub(super) struct InFlight {
    reading: Arc<Semaphore>,
    changing: Arc<Semaphore>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(READING)),
            changing: Arc::new(Semaphore::new(CHANGING)),
        }
    }
}

impl InFlight {
    /// A place for a request until the permit is dropped; none for those that need none.
    pub(super) fn enter(
        &self,
        user: &User,
        method: &Method,
    ) -> Result<Option<OwnedSemaphorePermit>, Status> {
        let places = match *method {
            Method::GET | Method::HEAD => &self.reading,
            _ => &self.changing,
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => Ok(Some(place)),
            Err(_) if user.groups.iter().any(|group| group == "system:masters") => Ok(None),
            Err(_) => Err(Status::too_many_requests()),
        }
    }

    /// How many requests read and change something at this moment.
    pub(super) fn now(&self) -> (usize, usize) {
        let taken = |all: usize, places: &Semaphore| all - places.available_permits();
        (
            taken(READING, &self.reading),
            taken(CHANGING, &self.changing),
        )
    }
}
