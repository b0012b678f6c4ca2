//! Bodies of every format, to a whole API server: decoders, patches, apply and validation.
//!
//! The first byte chooses the kind of request. Nothing is stored, so that inputs stay independent.
//!
//! ```text
//! cargo +nightly fuzz run api_bodies -- -max_len=4096
//! ```
#![no_main]

use std::sync::LazyLock;

use apiserver::extend::Extensions;
use apiserver::{ApiServer, ApiService, User};
use http::{Request, StatusCode};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Method, collection, name and media type.
const REQUESTS: [(&str, &str, &str, &str); 12] = [
    ("POST", CONFIGS, "", "application/json"),
    ("POST", CONFIGS, "", "application/yaml"),
    ("POST", CONFIGS, "", "application/vnd.kubernetes.protobuf"),
    ("POST", PODS, "", "application/json"),
    ("POST", DEFINITIONS, "", "application/json"),
    ("PUT", CONFIGS, "/a", "application/json"),
    ("PATCH", CONFIGS, "/a", "application/json-patch+json"),
    ("PATCH", CONFIGS, "/a", "application/merge-patch+json"),
    ("PATCH", CONFIGS, "/a", "application/apply-patch+yaml"),
    ("PATCH", PODS, "/p", "application/strategic-merge-patch+json"),
    ("PATCH", PODS, "/p", "application/apply-patch+yaml"),
    ("PATCH", PODS, "/p/status", "application/apply-patch+yaml"),
];

struct Server {
    runtime: Runtime,
    service: ApiService,
    _dir: tempfile::TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let server = runtime.block_on(ApiServer::open(dir.path(), Extensions::default()));
    let service = server.expect("a server").service(User::new("fuzzer", &["system:masters"]));
    let server = Server {
        runtime,
        service,
        _dir: dir,
    };
    let config = r#"{"metadata":{"name":"a"},"data":{"x":"1"}}"#;
    let pod = r#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    for (path, object) in [(CONFIGS, config), (PODS, pod)] {
        let code = server.send("POST", path, "application/json", object.as_bytes());
        assert_eq!(code, StatusCode::CREATED);
    }
    server
});

impl Server {
    fn send(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> StatusCode {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .body(Full::from(body.to_vec()))
            .expect("a request");
        let answer = self.runtime.block_on(self.service.clone().oneshot(request));
        answer.expect("an answer").status()
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, body)) = input.split_first() else {
        return;
    };
    let (method, collection, name, media_type) = REQUESTS[usize::from(first) % REQUESTS.len()];
    let path = format!("{collection}{name}?dryRun=All&fieldManager=fuzzer");
    // A panic in the server is an answer of 500.
    let code = SERVER.send(method, &path, media_type, body);
    assert!(code.as_u16() < 500, "{code}");
});
