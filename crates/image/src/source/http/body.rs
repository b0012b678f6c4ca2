//! A part of a file on a server, read to its end through as many connections as it takes.

use std::{
    io::{self, Read},
    sync::Arc,
};

use reqwest::{StatusCode, blocking::Response};

use super::{Failure, Inner, TransportError, identity::ContentRange, refused};
use crate::{
    error::{Error, Result},
    limits,
};

/// A forward reader from an offset to `end`, or to wherever the server ends the file.
pub(super) struct Body {
    source: Arc<Inner>,
    response: Option<Response>,
    position: u64,
    end: Option<u64>,
    /// Tries since the last byte.
    attempt: u32,
    resumptions: u32,
}

/// Why the current connection is of no more use.
enum Break {
    Cut(TransportError),
    TooShort,
    Trouble(StatusCode),
}

impl Body {
    /// `response`, where there is one, must stand at `position`.
    pub(super) fn new(
        source: Arc<Inner>,
        position: u64,
        end: Option<u64>,
        response: Option<Response>,
    ) -> Self {
        Self {
            source,
            response,
            position,
            end,
            attempt: 1,
            resumptions: 0,
        }
    }

    /// Reads some bytes; none at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let wanted = self.wanted(buffer.len());
            if wanted == 0 {
                return Ok(0);
            }
            let Some(response) = &mut self.response else {
                if let Err(failure) = self.connect() {
                    self.recover(failure)?;
                }
                continue;
            };
            match response.read(&mut buffer[..wanted]) {
                Ok(0) if self.end.is_none() => return Ok(0),
                Ok(0) => self.resume(Break::TooShort)?,
                Ok(count) => {
                    self.position += count as u64;
                    self.attempt = 1;
                    return Ok(count);
                }
                Err(error) => self.broken(error)?,
            }
        }
    }

    /// How many bytes may be read into a buffer of `length`.
    fn wanted(&self, length: usize) -> usize {
        let left = self
            .end
            .map_or(u64::MAX, |end| end.saturating_sub(self.position));
        length.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Sends a request for what is missing and leaves the answer at `position`.
    fn connect(&mut self) -> Result<(), Failure> {
        let identity = &self.source.identity;
        let mut response = if identity.ranges {
            let last = self
                .end
                .map(|end| (end - 1).to_string())
                .unwrap_or_default();
            let range = format!("bytes={}-{last}", self.position);
            self.source.send(&range, identity.validator())?
        } else {
            self.source.whole()?
        };
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let what = format!("it has no byte at {} any more", self.position);
                return Err(Failure::Final(Error::Changed { what }));
            }
            status => return Err(Failure::of(status)),
        }
        identity.check(&response).map_err(Failure::Final)?;
        let start = ContentRange::of(&response).map_or(0, |range| range.start);
        if start > self.position {
            let what = format!("a range came back from {start}, not from {}", self.position);
            return Err(Failure::Final(Error::Changed { what }));
        }
        skip(&mut response, self.position - start)?;
        self.response = Some(response);
        Ok(())
    }

    /// Decides about a read that failed.
    fn broken(&mut self, error: io::Error) -> Result<()> {
        let error = TransportError::from(error);
        if error.is_silence() {
            return Err(self.source.stalled(self.position));
        }
        self.resume(Break::Cut(error))
    }

    /// Decides about a request that failed.
    fn recover(&mut self, failure: Failure) -> Result<()> {
        match failure {
            Failure::Passing(error) if !error.is_permanent() => self.resume(Break::Cut(error)),
            Failure::Passing(source) => Err(Error::Connect {
                attempts: self.attempt,
                source,
            }),
            Failure::Trouble(status) => self.resume(Break::Trouble(status)),
            Failure::Silence => Err(self.source.stalled(self.position)),
            Failure::Final(error) => Err(error),
        }
    }

    /// Drops the connection and waits before the next try, or gives up.
    fn resume(&mut self, reason: Break) -> Result<()> {
        self.response = None;
        self.resumptions += 1;
        let attempts = self.attempt;
        if attempts >= self.source.options.attempts || self.resumptions > limits::RESUMPTIONS {
            let (offset, expected) = (self.position, self.source.identity.size);
            let source = match reason {
                Break::Trouble(status) => return Err(refused(status)),
                Break::Cut(error) => Some(error),
                Break::TooShort => None,
            };
            return Err(Error::Interrupted {
                offset,
                expected,
                attempts,
                source,
            });
        }
        tracing::debug!(
            offset = self.position,
            attempts,
            "the transfer broke off: resuming"
        );
        self.attempt += 1;
        self.source.pause(attempts)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(Self::read(self, buffer)?)
    }
}

/// Discards what a server without ranges sends again.
fn skip(response: &mut Response, count: u64) -> Result<(), Failure> {
    let mut left = count;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        match response.read(&mut buffer[..length]) {
            Ok(0) => {
                let what = format!("it ends {left} bytes earlier than before");
                return Err(Failure::Final(Error::Changed { what }));
            }
            Ok(read) => left -= read as u64,
            Err(error) => return Err(TransportError::from(error).into()),
        }
    }
    Ok(())
}
