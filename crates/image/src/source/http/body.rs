//! A part of a file on a server, read to its end through as many connections as it takes.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use reqwest::{Response, StatusCode};

use super::{Failure, Inner, TransportError, Waiter, identity::ContentRange, refused};
use crate::{
    error::{Error, Result},
    limits,
};

/// A forward reader from an offset to `end`, or to wherever the server ends the file.
pub(super) struct Body {
    source: Arc<Inner>,
    answer: Option<Answer>,
    position: u64,
    end: Option<u64>,
    /// Tries since the last byte.
    attempt: u32,
    resumptions: u32,
}

/// An answer that is being read.
struct Answer {
    response: Response,
    /// What has come and has not been read.
    arrived: Bytes,
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
            answer: response.map(Answer::new),
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
            let Some(answer) = &mut self.answer else {
                if let Err(failure) = self.connect() {
                    self.recover(failure)?;
                }
                continue;
            };
            match answer.read(&mut buffer[..wanted], &self.source.waiter) {
                Ok(0) if self.end.is_none() => return Ok(0),
                Ok(0) => self.resume(Break::TooShort)?,
                Ok(count) => {
                    self.position += count as u64;
                    self.attempt = 1;
                    return Ok(count);
                }
                Err(failure) => self.recover(failure)?,
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
        let response = if identity.ranges {
            let last = self
                .end
                .map(|end| (end - 1).to_string())
                .unwrap_or_default();
            let range = format!("bytes={}-{last}", self.position);
            self.source.fetch(Some(&range), identity.validator())?
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
        let start = start(&response).map_err(Failure::Final)?;
        if start > self.position {
            let what = format!("a range came back from {start}, not from {}", self.position);
            return Err(Failure::Final(Error::Changed { what }));
        }
        let mut answer = Answer::new(response);
        answer.skip(self.position - start, &self.source.waiter)?;
        self.answer = Some(answer);
        Ok(())
    }

    /// Decides about a request, or an answer, that failed.
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
        self.answer = None;
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

impl Answer {
    fn new(response: Response) -> Self {
        Self {
            response,
            arrived: Bytes::new(),
        }
    }

    /// Reads some bytes; none at the end.
    fn read(&mut self, buffer: &mut [u8], waiter: &Waiter) -> Result<usize, Failure> {
        if !self.fill(waiter)? {
            return Ok(0);
        }
        let count = buffer.len().min(self.arrived.len());
        buffer[..count].copy_from_slice(&self.arrived.split_to(count));
        Ok(count)
    }

    /// Discards what a server without ranges sends again.
    fn skip(&mut self, count: u64, waiter: &Waiter) -> Result<(), Failure> {
        let mut left = count;
        while left > 0 {
            if !self.fill(waiter)? {
                let what = format!("it ends {left} bytes earlier than before");
                return Err(Failure::Final(Error::Changed { what }));
            }
            let known = usize::try_from(left).unwrap_or(usize::MAX);
            let count = known.min(self.arrived.len());
            self.arrived = self.arrived.split_off(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// Waits until something has arrived. Returns whether anything has: nothing comes at the end.
    fn fill(&mut self, waiter: &Waiter) -> Result<bool, Failure> {
        while self.arrived.is_empty() {
            match waiter.answer(self.response.chunk())? {
                Some(bytes) => self.arrived = bytes,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Where in the file an answer begins.
fn start(response: &Response) -> Result<u64> {
    match ContentRange::of(response) {
        Some(range) => Ok(range.start),
        None if response.status() == StatusCode::PARTIAL_CONTENT => Err(Error::Changed {
            what: "a range came back without its place in the file".to_owned(),
        }),
        None => Ok(0),
    }
}
