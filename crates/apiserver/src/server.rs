//! The server as a whole: in process as a [`tower::Service`], and on a TLS port.

mod activity;
mod connection;
mod listen;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;

use crate::access::pki::PkiError;
use crate::access::token::Tokens;
use crate::access::{Policies, User};
use crate::builtin;
use crate::extend::{Body, BoxError, Extensions};
use crate::objects::{Objects, Turns};
use crate::registry::Registry;
use crate::serve::Handler;
use crate::status::Status;
use crate::store::{self, Store};

pub use listen::{Limits, ListenError, Listener};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The keys that sign tokens cannot be used.
    #[error(transparent)]
    Keys(#[from] PkiError),
    /// What every server has cannot be made.
    #[error("cannot make the first objects")]
    First(#[source] Status),
}

/// A Kubernetes API over a data folder. Clones are handles to the same server.
#[derive(Debug, Clone)]
pub struct ApiServer {
    handler: Arc<Handler>,
}

impl ApiServer {
    /// Opens the data folder and makes everything ready to answer. The keys that sign tokens are in
    /// its folder `pki`.
    pub async fn open(dir: &Path, extensions: Extensions) -> Result<Self, StartError> {
        let store = Store::open(dir)?;
        let tokens = Tokens::open(&dir.join("pki"))?;
        let registry = Registry::new(builtin::kinds());
        let objects = Objects {
            store,
            registry,
            extensions,
            turns: Turns::default(),
            policies: Policies::default(),
        };
        objects.load_definitions().await;
        objects
            .make_system_namespaces()
            .await
            .map_err(StartError::First)?;
        objects
            .make_system_classes()
            .await
            .map_err(StartError::First)?;
        objects
            .make_default_policy()
            .await
            .map_err(StartError::First)?;
        Ok(Self {
            handler: Arc::new(Handler::new(objects, tokens)),
        })
    }

    /// The API for callers in this process, who act as `user`. Needs no socket and no real time.
    pub fn service(&self, user: User) -> ApiService {
        ApiService {
            handler: Arc::clone(&self.handler),
            user: Arc::new(user),
        }
    }

    /// The newest revision that was given out.
    pub fn revision(&self) -> u64 {
        self.handler.objects.store.revision()
    }

    /// Ends writing and gives the data folder back. Requests that write fail from then on.
    pub fn close(&self) {
        self.handler.objects.store.close();
    }
}

/// The API as a service, for one user. `kube::Client::new(service, "default")` takes it.
#[derive(Debug, Clone)]
pub struct ApiService {
    handler: Arc<Handler>,
    user: Arc<User>,
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        request.extensions_mut().insert(Arc::clone(&self.user));
        let handler = Arc::clone(&self.handler);
        Box::pin(async move { Ok(handler.handle(request).await) })
    }
}
