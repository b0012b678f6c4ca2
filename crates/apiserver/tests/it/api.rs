//! Verbs for tests that speak HTTP with a server in this process.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use longshore_apiserver::extend::{Body, Extensions};
use longshore_apiserver::{ApiServer, ApiService, User};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

/// A server in this process, spoken to in plain HTTP.
pub(crate) struct Api {
    pub(crate) server: ApiServer,
    service: ApiService,
    _dir: TempDir,
}

impl Api {
    pub(crate) async fn start(extensions: Extensions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path(), extensions).await.unwrap();
        Self {
            service: server.service(User::new("test", &["system:masters"])),
            server,
            _dir: dir,
        }
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        let request: Request<_> = request.body(Full::new(body.into())).unwrap();
        self.service.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.send(Request::get(path), "").await).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> (StatusCode, Value) {
        read(self.send(Request::post(path), object.to_string()).await).await
    }
}

/// Takes in an answer of JSON.
pub(crate) async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}
