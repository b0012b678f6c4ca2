//! The progress endpoint: `https://<pod>:8443/metrics`, in the Prometheus text format.
//!
//! The certificate is made at start and signed by nobody: the endpoint tells no secrets, and those
//! who scrape it know it by its address. The server has one thread and ends with its handle.

use std::{convert::Infallible, future::ready, io, net::SocketAddr, sync::Arc, thread};

use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use image::Progress;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};
use tokio_rustls::TlsAcceptor;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The address cannot be used.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The certificate is of no use for TLS.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// The thread could not be started.
    #[error("failed to start the metrics thread")]
    Thread(#[source] io::Error),
}

/// A running endpoint.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl MetricsServer {
    /// Serves `progress` on `address`, labelled with `owner_uid`.
    pub fn start(
        address: SocketAddr,
        owner_uid: &str,
        progress: &Progress,
    ) -> Result<Self, MetricsError> {
        let listener =
            listen(address).map_err(|source| MetricsError::Listen { address, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| MetricsError::Listen { address, source })?;
        let acceptor = acceptor(address)?;
        let (stop, stopped) = oneshot::channel();
        let (progress, owner_uid) = (progress.clone(), owner_uid.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(MetricsError::Thread)?;
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                let text = move || render(&progress, &owner_uid);
                let tasks = LocalSet::new();
                let server = tasks.run_until(serve(listener, acceptor, text, stopped));
                if let Err(error) = runtime.block_on(server) {
                    tracing::warn!(%error, "the metrics endpoint has ended");
                }
            })
            .map_err(MetricsError::Thread)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            thread.join().ok();
        }
    }
}

/// The metrics of a job.
fn render(progress: &Progress, owner_uid: &str) -> String {
    let owner = owner_uid
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    let metrics = [
        (
            "kubevirt_cdi_import_progress_total",
            "counter",
            "The progress of the import in percent",
            format!("{:.2}", progress.percent()),
        ),
        (
            "longshore_import_bytes_read_total",
            "counter",
            "The bytes received from the source",
            progress.bytes_read().to_string(),
        ),
        (
            "longshore_import_bytes_written_total",
            "counter",
            "The bytes of data written to the disk, holes not counted",
            progress.bytes_written().to_string(),
        ),
    ];
    let lines = metrics.map(|(name, kind, help, value)| {
        format!(
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{ownerUID=\"{owner}\"}} {value}\n"
        )
    });
    lines.concat()
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// TLS with a certificate for `address` that is made now.
fn acceptor(address: SocketAddr) -> Result<TlsAcceptor, MetricsError> {
    let key = rcgen::generate_simple_self_signed([address.ip().to_string()])?;
    let private = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers until `stopped` resolves.
async fn serve(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    text: impl Fn() -> String + Clone + 'static,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (stream, _) = accepted?;
        let (acceptor, text) = (acceptor.clone(), text.clone());
        tokio::task::spawn_local(async move {
            // A client that does not finish its handshake or request has only itself to blame.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service =
                service_fn(move |request| ready(Ok::<_, Infallible>(answer(&request, &text))));
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

fn answer(request: &Request<Incoming>, text: impl Fn() -> String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if request.uri().path() == "/metrics" {
        let kind = http::HeaderValue::from_static("text/plain; version=0.0.4");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        *response.body_mut() = text().into();
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
