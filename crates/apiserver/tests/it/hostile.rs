//! Clients that mean no good, and those that have lost their way.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::config::Kubeconfig;
use longshore_apiserver::extend::{BoxError, Extensions};
use longshore_apiserver::server::Limits;
use longshore_apiserver::{ApiServer, User};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt as _;

use crate::crash::spawn;
use crate::support::Cluster;

/// Far more than any of the limits here.
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// Limits that a test can wait for.
fn impatient() -> Limits {
    Limits {
        handshake: SHORT,
        headers: SHORT,
        request: SHORT,
        answer: SHORT,
        idle: SHORT,
        ..Limits::default()
    }
}

/// How the administrator connects.
fn connector(dir: &Path, protocol: &str) -> TlsConnector {
    let read = |name: &str| std::fs::read(dir.join("pki").join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&read("ca.crt")).unwrap())
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(&read("admin.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("admin.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    address: SocketAddr,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, tcp).await
}

/// What the server still sends until it closes the connection.
async fn until_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut off is closed as well.
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes));
    let _ = read.await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status code of an answer to some bytes, and the rest.
async fn ask(address: SocketAddr, connector: &TlsConnector, bytes: &[u8]) -> (u16, String) {
    let mut stream = connect(address, connector).await.unwrap();
    // The server may have had enough before the end.
    let _ = stream.write_all(bytes).await;
    let text = until_closed(&mut stream).await;
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or_default(), text)
}

/// Waits until there is a place for one more connection.
async fn served_again(address: SocketAddr, connector: &TlsConnector) {
    let again = async {
        while connect(address, connector).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
}

async fn goes_on(cluster: &Cluster) {
    assert_eq!(cluster.ok(&["get", "--raw", "/readyz"]).await, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_or_little_are_left() {
    let cluster = Cluster::within(impatient(), Extensions::default()).await;
    let tls = connector(cluster.dir.path(), "http/1.1");
    let mut half_open = TcpStream::connect(cluster.address).await.unwrap();
    let mut half_hello = TcpStream::connect(cluster.address).await.unwrap();
    half_hello.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let no_tls = TcpStream::connect(cluster.address).await;
    let mut no_tls = no_tls.unwrap();
    no_tls.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut silent = connect(cluster.address, &tls).await.unwrap();
    let mut slow = connect(cluster.address, &tls).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-")
        .await
        .unwrap();
    let mut idle = connect(cluster.address, &tls).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let h2 = connector(cluster.dir.path(), "h2");
    let mut silent_h2 = connect(cluster.address, &h2).await.unwrap();
    silent_h2.write_all(&PREFACE.concat()).await.unwrap();

    assert_eq!(until_closed(&mut half_open).await, "");
    assert_eq!(until_closed(&mut half_hello).await, "");
    until_closed(&mut no_tls).await;
    assert_eq!(until_closed(&mut silent).await, "");
    assert!(!until_closed(&mut slow).await.contains("200 OK"));
    assert!(until_closed(&mut idle).await.ends_with("ok"));
    until_closed(&mut silent_h2).await;
    goes_on(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_are_not_waited_for() {
    let cluster = Cluster::within(impatient(), Extensions::default()).await;
    let tls = connector(cluster.dir.path(), "http/1.1");
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n";
    let slow = format!("{head}Content-Length: 100\r\n\r\n{{");
    let (code, text) = ask(cluster.address, &tls, slow.as_bytes()).await;
    assert_eq!(code, 504);
    assert!(text.contains("request did not complete within the allotted timeout"));
    // What is too large is refused before it is sent.
    let large = format!("{head}Content-Length: 3145729\r\nConnection: close\r\n\r\n{{");
    let (code, text) = ask(cluster.address, &tls, large.as_bytes()).await;
    assert_eq!(code, 413);
    assert!(
        text.contains("Request entity too large: limit is 3145728"),
        "{text}"
    );
    let chunk = format!("80000\r\n{}\r\n", " ".repeat(0x8_0000));
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(7)
    );
    let (code, _) = ask(cluster.address, &tls, chunked.as_bytes()).await;
    assert_eq!(code, 413);
    goes_on(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded() {
    let cluster = Cluster::within(impatient(), Extensions::default()).await;
    let tls = connector(cluster.dir.path(), "http/1.1");
    let long = format!(
        "GET /api/v1/pods?labelSelector={} HTTP/1.1\r\n\r\n",
        "a".repeat(70_000)
    );
    let (code, _) = ask(cluster.address, &tls, long.as_bytes()).await;
    assert!(matches!(code, 414 | 431), "{code}");
    let head = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
    let many = "X: 1\r\n".repeat(200);
    let (code, _) = ask(
        cluster.address,
        &tls,
        format!("{head}{many}\r\n").as_bytes(),
    )
    .await;
    assert_eq!(code, 431);
    let endless = format!("{head}X: {}", "x".repeat(300_000));
    let (code, _) = ask(cluster.address, &tls, endless.as_bytes()).await;
    assert_eq!(code, 431);
    for nonsense in [
        "\r\n\r\n\0\0",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "G E T / HTTP/1.1\r\n\r\n",
    ] {
        let (code, _) = ask(cluster.address, &tls, nonsense.as_bytes()).await;
        assert!(matches!(code, 0 | 400), "{nonsense:?}: {code}");
    }
    goes_on(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_dropped() {
    let limits = Limits {
        connections: 1,
        ..impatient()
    };
    let cluster = Cluster::within(limits, Extensions::default()).await;
    let api = cluster
        .server
        .service(User::new("test", &["system:masters"]));
    let configs = "/api/v1/namespaces/default/configmaps";
    for n in 0..16 {
        let object = json!({"metadata": {"name": format!("c{n}")},
            "data": {"x": "x".repeat(1024 * 1024)}});
        let request = Request::post(configs).body(Full::new(Bytes::from(object.to_string())));
        let made = api.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    let tls = connector(cluster.dir.path(), "http/1.1");
    let mut stream = connect(cluster.address, &tls).await.unwrap();
    let request = format!("GET {configs} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // Once there is a place for another one, the server has given up on this client.
    served_again(cluster.address, &tls).await;
    let text = until_closed(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 200 OK"));
    assert!(text.len() < 16 * 1024 * 1024, "{}", text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let cluster = Cluster::within(limits, Extensions::default()).await;
    let tls = connector(cluster.dir.path(), "http/1.1");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect(cluster.address, &tls).await.unwrap());
    }
    for _ in 0..20 {
        let mut more = TcpStream::connect(cluster.address).await.unwrap();
        assert_eq!(until_closed(&mut more).await, "");
    }
    drop(held);
    served_again(cluster.address, &tls).await;
}

/// The client's first words in HTTP/2: the preface, and settings with tiny windows.
const PREFACE: [&[u8]; 2] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1],
];

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Headers of `GET path`, with which the request ends.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let block = [&[0x82, 0x87, 0x41, 1, b'x', 0x44, length], path.as_bytes()].concat();
    frame(1, 5, stream, &block)
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_not_abused() {
    let cluster = Cluster::within(impatient(), Extensions::default()).await;
    let tls = connector(cluster.dir.path(), "h2");
    let path = "/api/v1/namespaces";
    // Requests that are taken back as soon as they are made.
    let resets = (0..5000).flat_map(|n| {
        let stream = 2 * n + 1;
        [get(stream, path), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    // More requests than a connection may have, whose answers nobody takes.
    let flood = (0..3000).flat_map(|n| get(2 * n + 1, path));
    // Headers without end.
    let endless = frame(1, 1, 1, &[0x82, 0x87])
        .into_iter()
        .chain((0..200).flat_map(|_| frame(9, 0, 1, &[0x40_u8; 4000])));
    let pings = (0..20_000).flat_map(|_| frame(6, 0, 0, &[0; 8]));
    let settings = (0..20_000).flat_map(|_| frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]));
    let floods: [Vec<u8>; 5] = [
        resets.collect(),
        flood.collect(),
        endless.collect(),
        pings.collect(),
        settings.collect(),
    ];
    for bytes in floods {
        let mut stream = connect(cluster.address, &tls).await.unwrap();
        stream.write_all(&PREFACE.concat()).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let send = async {
            let _ = writer.write_all(&bytes).await;
        };
        tokio::join!(until_closed(&mut reader), send);
        goes_on(&cluster).await;
    }
}

#[tokio::test]
async fn too_many_requests_at_a_time_are_told_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(dir.path(), Extensions::default())
        .await
        .unwrap();
    let post = |groups: &[&str]| {
        let never = futures::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>();
        let request = Request::post("/api/v1/namespaces/default/configmaps");
        let request = request.body(StreamBody::new(never)).unwrap();
        server
            .service(User::new("someone", groups))
            .oneshot(request)
    };
    let binding = json!({"metadata": {"name": "someone"},
        "roleRef": {"kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "name": "someone"}]});
    let place = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let request = Request::post(place).body(Full::new(Bytes::from(binding.to_string())));
    let admin = server.service(User::new("admin", &["system:masters"]));
    let bound = admin.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(bound.status(), StatusCode::CREATED);
    let mut waiting: FuturesUnordered<_> = (0..200).map(|_| post(&[])).collect();
    assert!(futures::poll!(waiting.next()).is_pending());
    let refused = post(&[]).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["reason"], "TooManyRequests");
    // Administrators are let in all the same, and so is everyone when there is room.
    assert!(futures::poll!(Box::pin(post(&["system:masters"]))).is_pending());
    drop(waiting);
    assert!(futures::poll!(Box::pin(post(&[]))).is_pending());
}

/// Resident memory of a process, in MiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_cost_little() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const WANTED: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let mut server = spawn(dir.path()).await;
    let process = server.id().unwrap();
    let kubeconfig = Kubeconfig::read_from(dir.path().join("kubeconfig")).unwrap();
    let url = kubeconfig.clusters[0]
        .cluster
        .clone()
        .unwrap()
        .server
        .unwrap();
    let address: SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let mut files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(u64::MAX).min(WANTED + 500);
    files.current = Some(files.current.unwrap_or(most).max(most));
    setrlimit(Resource::Nofile, files).unwrap();

    let tls = connector(dir.path(), "http/1.1");
    let before = resident(process);
    let mut plain = Vec::new();
    let mut talking = Vec::new();
    for n in 0..most - 500 {
        // Every tenth gets as far as it can before the places are taken.
        if n < 3000 && n % 10 == 0 {
            talking.extend(connect(address, &tls).await);
        } else {
            plain.extend(TcpStream::connect(address).await);
        }
    }
    assert!(talking.len() > 10, "{}", talking.len());
    let grown = resident(process).saturating_sub(before);
    assert!(
        grown < 400,
        "{grown} MiB for {} connections",
        plain.len() + talking.len()
    );
    // A client that was there before is served meanwhile, and when the others go, everyone is.
    let client = talking.last_mut().unwrap();
    client
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(until_closed(client).await.ends_with("ok"));
    drop((plain, talking));
    served_again(address, &tls).await;
    server.kill().await.unwrap();
}
