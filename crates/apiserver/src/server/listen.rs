//! The TLS port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::ApiServer;
use super::connection::Connection;
use crate::access::pki::{Lifetimes, Pki};

/// Time for requests that run when a connection or the server ends.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);
/// How often it is looked whether certificates are due.
const RENEWAL: Duration = Duration::from_hours(1);
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
}

/// What a port takes from its clients before it closes their connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections at a time; further ones are closed at once.
    pub connections: u32,
    /// Time for a TLS handshake, and for an HTTP/2 client's sign of life.
    pub handshake: Duration,
    /// Time for a request's headers, also for the next ones of an HTTP/1 connection, and the silence
    /// after which an HTTP/2 client is asked for a sign of life.
    pub headers: Duration,
    /// Time for a request's body and for the work on it. Watches and other streams only begin in it.
    pub request: Duration,
    /// Time for taking an answer of known length, or the next piece of a stream.
    pub answer: Duration,
    /// How long a connection may go without any request.
    pub idle: Duration,
}

impl Default for Limits {
    /// Generous to clients that mean well. A connection takes some 30 KiB of memory.
    fn default() -> Self {
        Self {
            connections: 4000.min(open_files() / 2),
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            request: Duration::from_mins(1),
            answer: Duration::from_mins(2),
            idle: Duration::from_mins(3),
        }
    }
}

/// How many files this process may have open.
fn open_files() -> u32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    u32::try_from(current).unwrap_or(u32::MAX)
}

/// A bound port that is not served yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    limits: Limits,
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
        Ok(Self {
            tcp,
            address,
            limits: Limits::default(),
        })
    }

    /// Serves with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
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
    /// little for the rest. Certificates are renewed in time; connections that are open stay.
    pub async fn serve(
        self,
        server: ApiServer,
        pki: &Pki,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), ListenError> {
        let places = Arc::new(Semaphore::new(self.limits.connections as usize));
        let (closing, _) = watch::channel(false);
        let mut stop = std::pin::pin!(stop);
        let mut renewal = tokio::time::interval(RENEWAL);
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                _ = renewal.tick() => {
                    renew(pki);
                    continue;
                }
                () = &mut stop => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // A connection without a place is closed, so that its client can try again.
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                let connection = Connection {
                    handler: Arc::clone(&server.handler),
                    acceptor: TlsAcceptor::from(pki.server_config()),
                    limits: self.limits,
                    closing: closing.subscribe(),
                    _place: place,
                };
                tokio::spawn(connection.serve(stream));
            }
        }
        drop(self.tcp);
        closing.send_replace(true);
        // When all places are free again, everyone is gone.
        drop(places.acquire_many(self.limits.connections).await);
        Ok(())
    }
}

/// Replaces certificates that come to their end, beside everything else.
fn renew(pki: &Pki) {
    let pki = pki.clone();
    tokio::task::spawn_blocking(move || match pki.renew(&Lifetimes::default()) {
        Ok(true) => tracing::info!("certificates were renewed"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "cannot renew the certificates"),
    });
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
