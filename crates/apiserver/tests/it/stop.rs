//! What clients see when the server stops.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use longshore_apiserver::discovery;
use longshore_apiserver::extend::{Body, BoxError, Extensions, Subresource, SubresourceRequest};
use longshore_apiserver::status::Status;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::Cluster;

/// Less than the server grants to requests that do not end.
const PROMPTLY: Duration = Duration::from_secs(4);

/// Says one line, and then never ends.
struct Endless;

impl Subresource for Endless {
    fn call(&self, _: SubresourceRequest) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        let line = Ok::<_, BoxError>(Frame::data(Bytes::from("begun\n")));
        let frames = stream::iter([line]).chain(stream::pending());
        let body = StreamBody::new(frames).boxed_unsync();
        Box::pin(async { Ok(Response::new(body)) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_server() {
    let about = discovery::Subresource {
        group: String::new(),
        resource: "configmaps".into(),
        subresource: "endless".into(),
        kind: "ConfigMap".into(),
        verbs: vec!["get".into()],
    };
    let cluster = Cluster::with(Extensions::default().subresource(about, Endless)).await;
    cluster.ok(&["create", "configmap", "a"]).await;
    let mut clients = Vec::new();
    for path in [
        "/api/v1/namespaces/default/configmaps/a/endless",
        "/api/v1/namespaces/default/configmaps?watch=1",
    ] {
        let mut client = cluster
            .command()
            .args(["get", "--raw", path])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().is_some(), "{path}");
        clients.push((client, lines));
    }
    tokio::time::timeout(PROMPTLY, cluster.stop())
        .await
        .unwrap();
    for (mut client, _lines) in clients {
        assert!(client.wait().await.unwrap().success());
    }
}
