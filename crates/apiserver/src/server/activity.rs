//! What goes on in one connection: whether it is idle, and whether an answer is not taken.
//!
//! A request is open from its headers to the last byte of its answer. Streams such as watches may
//! be open for as long as they like, if the client takes what there is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Limits;
use crate::extend::{Body, BoxError};

/// Most bytes that are handed to the connection at once, so that what a client does not take stays
/// in sight.
const PIECE: usize = 64 * 1024;

/// The open requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    next: u64,
    /// What clients are to take soon, by number: since when. For an answer of known length that is
    /// all of it, and for a stream the next piece.
    due: BTreeMap<u64, Instant>,
    open: usize,
    idle_since: Instant,
}

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again at this time.
    Wait(Instant),
    /// Nobody has asked for anything for long.
    Idle,
    /// A client does not take what it asked for.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            next: 0,
            due: BTreeMap::new(),
            open: 0,
            idle_since: Instant::now(),
        })))
    }

    /// Notes that a request has begun.
    pub(super) fn begin(&self) -> Open {
        self.0.lock().open += 1;
        Open {
            activity: self.clone(),
            number: None,
        }
    }

    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let state = self.0.lock();
        let now = Instant::now();
        let (end, verdict) = match state.due.first_key_value() {
            Some((_, begun)) => (*begun + limits.answer, Verdict::Stalled),
            None if state.open == 0 => (state.idle_since + limits.idle, Verdict::Idle),
            None => (now + limits.idle, Verdict::Idle),
        };
        if end <= now {
            verdict
        } else {
            Verdict::Wait(end)
        }
    }
}

/// An open request; dropping it ends it.
#[derive(Debug)]
pub(super) struct Open {
    activity: Activity,
    number: Option<u64>,
}

impl Open {
    /// Keeps the request open until the answer is taken.
    pub(super) fn answer(mut self, response: Response<Body>) -> Response<Body> {
        let is_stream = response.body().size_hint().exact().is_none();
        if !is_stream {
            self.give();
        }
        response.map(|body| {
            let answer = Answer {
                body,
                rest: Bytes::new(),
                is_stream,
                open: self,
            };
            answer.boxed_unsync()
        })
    }
}

impl Open {
    /// Notes that the client has something to take.
    fn give(&mut self) {
        let mut state = self.activity.0.lock();
        let number = state.next;
        state.next += 1;
        state.due.insert(number, Instant::now());
        self.number = Some(number);
    }

    /// Notes that the client has taken it.
    fn taken(&mut self) {
        if let Some(number) = self.number.take() {
            self.activity.0.lock().due.remove(&number);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.taken();
        let mut state = self.activity.0.lock();
        state.open -= 1;
        state.idle_since = Instant::now();
    }
}

/// An answer in pieces.
struct Answer {
    body: Body,
    rest: Bytes,
    is_stream: bool,
    open: Open,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_stream {
            // The connection asks for more when it has room.
            self.open.taken();
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        if self.is_stream {
            self.open.give();
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn full(length: usize) -> Response<Body> {
        let body = Full::new(Bytes::from(vec![b'x'; length]));
        Response::new(body.map_err(BoxError::from).boxed_unsync())
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_not_taken_are_noticed() {
        let limits = Limits::default();
        let activity = Activity::new();
        let mut body = activity.begin().answer(full(100_000)).into_body();
        assert_eq!(body.size_hint().exact(), Some(100_000));
        tokio::time::advance(limits.answer / 2).await;
        assert!(matches!(activity.verdict(&limits), Verdict::Wait(_)));
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), PIECE);
        tokio::time::advance(limits.answer).await;
        assert_eq!(activity.verdict(&limits), Verdict::Stalled);
        assert_eq!(
            body.collect().await.unwrap().to_bytes().len(),
            100_000 - PIECE
        );
        assert!(matches!(activity.verdict(&limits), Verdict::Wait(_)));
        tokio::time::advance(limits.idle).await;
        assert_eq!(activity.verdict(&limits), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_not_taken_are_noticed() {
        let limits = Limits::default();
        let activity = Activity::new();
        let frames = futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"x"))));
        let stream = Response::new(StreamBody::new(frames).boxed_unsync());
        let mut body = activity.begin().answer(stream).into_body();
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
            tokio::time::advance(limits.answer * 2 / 3).await;
            assert!(matches!(activity.verdict(&limits), Verdict::Wait(_)));
        }
        tokio::time::advance(limits.answer).await;
        assert_eq!(activity.verdict(&limits), Verdict::Stalled);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_may_last() {
        let limits = Limits::default();
        let activity = Activity::new();
        let frames = futures::stream::pending::<Result<Frame<Bytes>, BoxError>>().boxed();
        let stream = Response::new(StreamBody::new(frames).boxed_unsync());
        let stream = activity.begin().answer(stream);
        tokio::time::advance(limits.answer + limits.idle).await;
        assert!(matches!(activity.verdict(&limits), Verdict::Wait(_)));
        drop(stream);
        assert!(matches!(activity.verdict(&limits), Verdict::Wait(_)));
        tokio::time::advance(limits.idle).await;
        assert_eq!(activity.verdict(&limits), Verdict::Idle);
    }
}
