//! An HTTP or HTTPS server as a source (RFC 9110).
//!
//! The first request is a `GET` for `bytes=0-`: its answer gives the length, tells whether ranges
//! work, and is already the beginning of the data. `HEAD` is never used, for some servers and
//! pre-signed URLs forbid it.
//!
//! A transfer that breaks is resumed at the byte where it broke (`body`); a file that has been
//! replaced meanwhile is an error, never a mixture. So that a redirector does not send each request
//! to another mirror, with another idea of the file, later requests go where the first one ended.

use std::{fmt, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, IF_RANGE, RANGE},
    redirect::Policy,
};

use super::ReadAt;
use crate::{
    error::{Error, Result, transient},
    limits,
};

mod body;
mod identity;
mod transport;
mod waiter;

use body::Body;
use identity::Identity;
pub use transport::TransportError;
use waiter::Waiter;

/// How to talk to servers.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Accept any certificate.
    pub insecure_tls: bool,
    /// How long a server may stay silent before the job gives up.
    pub stall_timeout: Duration,
    /// How often a request is tried without any progress in between; at least once.
    pub attempts: u32,
    /// The pause before the second try; each further one is twice as long.
    pub first_pause: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            insecure_tls: false,
            stall_timeout: limits::STALL_TIMEOUT,
            attempts: limits::ATTEMPTS,
            first_pause: limits::FIRST_PAUSE,
        }
    }
}

/// One file on a server. Clones share it.
#[derive(Clone)]
pub struct HttpSource(Arc<Inner>);

struct Inner {
    client: Client,
    /// The address that was given.
    url: Url,
    /// Where redirects from there ended. It may hold secrets, as `url` may: never show it.
    place: Mutex<Option<Url>>,
    options: HttpOptions,
    identity: Identity,
    /// The answer to the first request, until somebody streams it.
    first: Mutex<Option<Response>>,
    waiter: Waiter,
}

/// How one request ended without a usable answer.
enum Failure {
    /// Another try may succeed.
    Passing(TransportError),
    /// The server answers that it has trouble.
    Trouble(StatusCode),
    /// The server sent nothing in time.
    Silence,
    /// No use in trying again.
    Final(Error),
}

impl HttpSource {
    /// Asks for the file at `url`, trying again while the server is out of reach or in trouble.
    pub fn open(url: Url, options: &HttpOptions) -> Result<Self> {
        let client = client(options).map_err(|source| Error::Connect {
            attempts: 0,
            source: source.into(),
        })?;
        let mut inner = Inner {
            client,
            url,
            place: Mutex::new(None),
            options: options.clone(),
            identity: Identity::default(),
            first: Mutex::new(None),
            waiter: Waiter::new(options.stall_timeout).map_err(Error::Thread)?,
        };
        let mut attempt = 1;
        let response = loop {
            match inner.first_request() {
                Ok(response) => break response,
                Err(failure) if attempt >= options.attempts || failure.is_final() => {
                    return Err(failure.at_start(attempt, options));
                }
                Err(_) => inner.pause(attempt)?,
            }
            attempt += 1;
        };
        inner.identity = Identity::of(&response);
        inner.first = Mutex::new(Some(response));
        Ok(Self(Arc::new(inner)))
    }

    /// The length in bytes, where the server tells it.
    pub fn size(&self) -> Option<u64> {
        self.0.identity.size
    }

    /// Whether the server has shown that it serves parts of the file.
    pub fn has_ranges(&self) -> bool {
        self.0.identity.ranges && self.0.identity.size.is_some()
    }

    /// All bytes from the beginning.
    pub fn stream(&self) -> impl io::Read + Send + use<> {
        let first = self.0.first.lock().take();
        Body::new(Arc::clone(&self.0), 0, self.0.identity.size, first)
    }

    /// Ends all waiting for the server: reads fail from now on.
    pub(super) fn abandon(&self) {
        self.0.waiter.abandon();
    }
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("identity", &self.0.identity)
            .finish_non_exhaustive()
    }
}

impl ReadAt for HttpSource {
    fn size(&self) -> u64 {
        self.0.identity.size.unwrap_or(0)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let length = buffer.len();
        let end = offset.saturating_add(length as u64);
        if end > ReadAt::size(self) {
            return Err(super::past_end(offset, length, ReadAt::size(self)));
        }
        let mut body = Body::new(Arc::clone(&self.0), offset, Some(end), None);
        let mut filled = 0;
        while filled < length {
            match body.read(&mut buffer[filled..])? {
                0 => return Err(super::past_end(offset, length, ReadAt::size(self))),
                count => filled += count,
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The request that opens the source.
    fn first_request(&self) -> Result<Response, Failure> {
        let response = self.fetch(Some("bytes=0-"), None)?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            // No byte of an empty file can be had by a range.
            StatusCode::RANGE_NOT_SATISFIABLE => self.whole(),
            status => Err(Failure::of(status)),
        }
    }

    /// Asks for everything, without a range.
    fn whole(&self) -> Result<Response, Failure> {
        let response = self.fetch(None, None)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(Failure::of(status)),
        }
    }

    /// Asks where the file was found before; if it is there no more, asks once where that was
    /// learnt.
    fn fetch(&self, range: Option<&str>, if_range: Option<&str>) -> Result<Response, Failure> {
        let place = self.place.lock().clone();
        if let Some(place) = place {
            let moved = place != self.url;
            let response = self.send(place, range, if_range)?;
            if !(moved && expired(response.status())) {
                return Ok(response);
            }
        }
        let response = self.send(self.url.clone(), range, if_range)?;
        if response.status().is_success() {
            *self.place.lock() = Some(with_credentials(response.url(), &self.url));
        }
        Ok(response)
    }

    fn send(
        &self,
        url: Url,
        range: Option<&str>,
        if_range: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut request = self.client.get(url).header(ACCEPT_ENCODING, "identity");
        for (name, value) in [(RANGE, range), (IF_RANGE, if_range)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        self.waiter.answer(request.send())
    }

    /// Waits before try number `attempt + 1`.
    fn pause(&self, attempt: u32) -> Result<()> {
        let factor = 1_u32
            .checked_shl(attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let pause = self
            .options
            .first_pause
            .saturating_mul(factor)
            .min(limits::LONGEST_PAUSE);
        self.waiter.pause(pause)
    }

    fn stalled(&self, offset: u64) -> Error {
        Error::Stalled {
            offset,
            seconds: self.options.stall_timeout.as_secs(),
        }
    }
}

impl Failure {
    /// The verdict on an answer whose status is not the expected one.
    fn of(status: StatusCode) -> Self {
        if transient(status.as_u16()) {
            Self::Trouble(status)
        } else {
            Self::Final(refused(status))
        }
    }

    fn is_final(&self) -> bool {
        match self {
            Self::Passing(error) => error.is_permanent(),
            Self::Trouble(_) => false,
            Self::Silence | Self::Final(_) => true,
        }
    }

    /// The error of a source that could not be opened.
    fn at_start(self, attempts: u32, options: &HttpOptions) -> Error {
        match self {
            Self::Passing(source) => Error::Connect { attempts, source },
            Self::Trouble(status) => refused(status),
            Self::Silence => Error::Stalled {
                offset: 0,
                seconds: options.stall_timeout.as_secs(),
            },
            Self::Final(error) => error,
        }
    }
}

/// Whether an address that a redirect gave, which may be signed for a short time, seems to be valid
/// no more.
fn expired(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE
    )
}

/// The place with the credentials of `url` where they belong to the same server: the client takes
/// them out of an address when it uses it.
fn with_credentials(place: &Url, url: &Url) -> Url {
    let mut place = place.clone();
    if place.origin() == url.origin() && place.username().is_empty() && place.password().is_none() {
        // These fail for addresses without a host only.
        let _ = place.set_username(url.username());
        let _ = place.set_password(url.password());
    }
    place
}

fn refused(status: StatusCode) -> Error {
    Error::Status {
        code: status.as_u16(),
        reason: status.canonical_reason().unwrap_or("(no standard reason)"),
    }
}

/// One client for all requests: connections are kept and used again.
///
/// HTTP/2 is not offered, because it would put all ranges on one connection. No transparent
/// decompression is compiled in: offsets are those of the bytes on the server.
fn client(options: &HttpOptions) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent("longshore-importer")
        .http1_only()
        .connect_timeout(limits::CONNECT_TIMEOUT)
        .redirect(Policy::limited(limits::REDIRECTS))
        // An address may hold a secret; where it redirects to need not know it.
        .referer(false)
        .pool_max_idle_per_host(limits::MAX_WORKERS)
        .tls_danger_accept_invalid_certs(options.insecure_tls)
        .build()
}
