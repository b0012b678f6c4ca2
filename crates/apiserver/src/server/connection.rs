//! One connection, from its TLS handshake to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Limits;
use super::activity::{Activity, Verdict};
use super::listen::FAREWELL;
use crate::access::User;
use crate::extend::{Body, BoxError};
use crate::serve::{Handler, closed};

/// Most requests and watches at a time on one HTTP/2 connection.
const STREAMS: u32 = 1000;
/// Most bytes of the headers of a request, its path among them.
const HEADERS: u32 = 64 * 1024;
/// Most headers of a request.
const HEADER_COUNT: usize = 100;
/// Silence after which the kernel asks a peer for a sign of life, how often, and how many times.
const KEEP_ALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COUNT: u32 = 4;

/// What a new connection is served with.
pub(super) struct Connection {
    pub(super) handler: Arc<Handler>,
    pub(super) acceptor: TlsAcceptor,
    pub(super) limits: Limits,
    pub(super) closing: watch::Receiver<bool>,
    /// Its place among the connections that are allowed.
    pub(super) _place: OwnedSemaphorePermit,
}

/// Lets the kernel find out that a silent peer is gone, as that of a watch may be.
fn watch_peer(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_COUNT)
}

impl Connection {
    pub(super) async fn serve(self, stream: TcpStream) {
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
        if let Err(error) = watch_peer(&stream) {
            tracing::debug!(%error, "cannot ask whether a peer is still there");
        }
        let handshake = self.acceptor.accept(stream);
        let handshake = tokio::time::timeout(self.limits.handshake, handshake);
        let mut closing = self.closing.clone();
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            () = closed(&mut closing) => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.talk(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        }
    }

    async fn talk(self, stream: TlsStream<TcpStream>) {
        let certificates = stream.get_ref().1.peer_certificates();
        let user = certificates
            .and_then(<[_]>::first)
            .and_then(User::from_certificate)
            .map(Arc::new);
        let activity = Activity::new();
        let service = service_fn(|request: Request<Incoming>| {
            let open = activity.begin();
            let answer = self.answer(user.clone(), request);
            async move { Ok::<_, Infallible>(open.answer(answer.await)) }
        });
        let builder = self.builder();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut closing = self.closing.clone();
        loop {
            let look = match activity.verdict(&self.limits) {
                Verdict::Wait(look) => look,
                Verdict::Idle => break,
                Verdict::Stalled => return tracing::debug!("a client does not take its answer"),
            };
            tokio::select! {
                ended = connection.as_mut() => return log_end(ended),
                () = closed(&mut closing) => break,
                () = tokio::time::sleep_until(look) => {}
            }
        }
        // What has begun may come to its end; nothing new begins.
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(FAREWELL, connection).await {
            log_end(ended);
        } else {
            tracing::warn!("a connection did not end in time and was cut off");
        }
    }

    fn answer(
        &self,
        user: Option<Arc<User>>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let mut request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
        request.extensions_mut().insert(self.closing.clone());
        if let Some(user) = user {
            request.extensions_mut().insert(user);
        }
        let handler = Arc::clone(&self.handler);
        let limit = self.limits.request;
        async move { handler.handle_within(limit, request).await }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers)
            .max_headers(HEADER_COUNT)
            .max_buf_size(HEADERS as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADERS)
            .keep_alive_interval(self.limits.headers)
            .keep_alive_timeout(self.limits.handshake);
        builder
    }
}

fn log_end(ended: Result<(), BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended with an error");
    }
}
