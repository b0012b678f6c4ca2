//! The TLS port.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::ApiServer;
use crate::access::User;
use crate::access::pki::{Pki, PkiError};
use crate::extend::BoxError;
use crate::serve::Handler;

/// Time for a TLS handshake, for a request's headers, and for a sign of life.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a silent HTTP/2 client is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Most requests and watches at a time on one HTTP/2 connection.
const STREAMS: u32 = 1000;
/// Time for requests that run when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error("{address} is in use by another program; choose another address")]
    InUse {
        /// The address.
        address: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// A bound port that is not served yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `host:port`; port 0 takes a free one.
    pub async fn bind(address: &str) -> Result<Self, ListenError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse {
                address: address.into(),
            },
            _ => ListenError::Bind {
                address: address.into(),
                source,
            },
        };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients on this machine.
    pub fn url(&self) -> String {
        match self.address {
            address if address.ip().is_unspecified() => {
                format!("https://127.0.0.1:{}", address.port())
            }
            address => format!("https://{address}"),
        }
    }

    /// Serves until `stop` ends; then ends watches and other streams, and waits a
    /// little for the rest.
    pub async fn serve(
        self,
        server: ApiServer,
        pki: &Pki,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), ListenError> {
        let acceptor = TlsAcceptor::from(Arc::new(pki.server_config()?));
        let graceful = GracefulShutdown::new();
        let (closing, _) = watch::channel(false);
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = Connection {
                        handler: Arc::clone(&server.handler),
                        acceptor: acceptor.clone(),
                        closing: closing.subscribe(),
                        watcher: graceful.watcher(),
                    };
                    tokio::spawn(connection.serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.tcp);
        closing.send_replace(true);
        if tokio::time::timeout(FAREWELL, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some requests did not end in time and were cut off");
        }
        Ok(())
    }
}

struct Connection {
    handler: Arc<Handler>,
    acceptor: TlsAcceptor,
    closing: watch::Receiver<bool>,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake timed out"),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let user = certificates
            .and_then(<[_]>::first)
            .and_then(User::from_certificate)
            .map(Arc::new);
        let (handler, closing) = (self.handler, self.closing);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            request.extensions_mut().insert(closing.clone());
            if let Some(user) = &user {
                request.extensions_mut().insert(Arc::clone(user));
            }
            let handler = Arc::clone(&handler);
            async move { Ok::<_, Infallible>(handler.handle(request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(HANDSHAKE);
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended with an error");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = first.address().to_string();
        let error = Listener::bind(&address).await.unwrap_err();
        assert!(matches!(&error, ListenError::InUse { address: named } if *named == address));
        let error = Listener::bind("192.0.2.1:1").await.unwrap_err();
        assert!(matches!(error, ListenError::Bind { .. }));
    }
}
