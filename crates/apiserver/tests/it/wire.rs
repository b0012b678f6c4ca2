//! What the server says to clients that are not kubectl.

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::core::v1::Pod;
use longshore_apiserver::discovery;
use longshore_apiserver::extend::{
    Admission, AdmissionRequest, Body, Extensions, Operation, Subresource, SubresourceRequest,
};
use longshore_apiserver::status::Status;
use serde_json::{Value, json};

use crate::api::{Api, read};
use crate::support::Cluster;

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

fn config(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn wrong_requests_have_their_own_codes() {
    let api = Api::start(Extensions::default()).await;
    let code = async |request: http::request::Builder, body: &str| {
        let (code, status) = read(api.send(request, body.to_owned()).await).await;
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["code"], code.as_u16());
        (code.as_u16(), status["reason"].as_str().unwrap().to_owned())
    };
    let expected = |code: u16, reason: &str| (code, reason.to_owned());
    assert_eq!(
        code(Request::get("/nothing"), "").await,
        expected(404, "NotFound")
    );
    assert_eq!(
        code(Request::get("/api/v1/wobbles"), "").await,
        expected(404, "NotFound")
    );
    assert_eq!(
        code(Request::post(CONFIGS), "{").await,
        expected(400, "BadRequest")
    );
    assert_eq!(
        code(Request::post(CONFIGS), "[]").await,
        expected(400, "BadRequest")
    );
    let large = "x".repeat(3 * 1024 * 1024 + 1);
    let too_large = expected(413, "RequestEntityTooLarge");
    assert_eq!(code(Request::post(CONFIGS), &large).await, too_large);
    let text = Request::post(CONFIGS).header("content-type", "text/plain");
    assert_eq!(
        code(text, "{}").await,
        expected(415, "UnsupportedMediaType")
    );
    let html = Request::get(CONFIGS).header("accept", "text/html");
    assert_eq!(code(html, "").await, expected(406, "NotAcceptable"));
    let everywhere = Request::post("/api/v1/configmaps");
    assert_eq!(
        code(everywhere, "{}").await,
        expected(405, "MethodNotAllowed")
    );
    let future = format!("{CONFIGS}?resourceVersion=99999");
    assert_eq!(
        code(Request::get(future), "").await,
        expected(504, "Timeout")
    );
    let unlimited = format!("{CONFIGS}?limit=many");
    assert_eq!(
        code(Request::get(unlimited), "").await,
        expected(400, "BadRequest")
    );
}

#[tokio::test]
async fn objects_do_not_grow_without_bound() {
    let api = Api::start(Extensions::default()).await;
    let megabyte = "x".repeat(1024 * 1024);
    let mut object = config("a");
    object["data"] = json!({"k": megabyte});
    let (code, _) = api.create(CONFIGS, &object).await;
    assert_eq!(code, StatusCode::CREATED);
    let patch = json!({"data": {"l": megabyte}}).to_string();
    let request = Request::patch(format!("{CONFIGS}/a"))
        .header("content-type", "application/merge-patch+json");
    let (code, status) = read(api.send(request, patch).await).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    assert_eq!(
        status["message"],
        "configmaps \"a\" is too large: an object is at most 1572864 bytes of JSON"
    );
    object["metadata"]["name"] = "b".into();
    object["data"]["l"] = megabyte.into();
    let (code, _) = api.create(CONFIGS, &object).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn preconditions_guard_deletion() {
    let api = Api::start(Extensions::default()).await;
    let (_, made) = api.create(CONFIGS, &config("a")).await;
    let path = format!("{CONFIGS}/a");
    let options = |uid: &str| json!({"preconditions": {"uid": uid}}).to_string();
    let (code, status) = read(api.send(Request::delete(&path), options("other")).await).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("Precondition failed: UID"),
        "{status}"
    );
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let (code, status) = read(api.send(Request::delete(&path), options(uid)).await).await;
    assert_eq!(
        (code, &status["status"]),
        (StatusCode::OK, &json!("Success"))
    );
    assert_eq!(status["details"]["uid"], uid);
}

#[tokio::test]
async fn numbers_that_typed_readers_cannot_hold_are_refused() {
    let api = Api::start(Extensions::default()).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |port: u64| {
        json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "containers": [
            {"name": "a", "image": "a", "livenessProbe": {"httpGet": {"port": port}}}]}})
    };
    let (code, status) = api.create(pods, &pod(3_000_000_000)).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        status["message"],
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number \
         3000000000 into Go value of type int32"
    );
    let (code, _) = api.create(pods, &pod(80)).await;
    assert_eq!(code, StatusCode::CREATED);

    let path = format!("{pods}/a");
    let delete = async |query: &str, body: &str| {
        let request = Request::delete(format!("{path}{query}"));
        read(api.send(request, body.to_owned()).await).await
    };
    let (code, status) = delete("", r#"{"gracePeriodSeconds": 9223372036854775808}"#).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        status["message"],
        "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: cannot \
         unmarshal number 9223372036854775808 into Go struct field \
         DeleteOptions.gracePeriodSeconds of type int64"
    );
    let (code, _) = delete("?gracePeriodSeconds=9223372036854775808", "").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let (code, marked) = delete("", r#"{"gracePeriodSeconds": -5}"#).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 1);
    let (_, list) = api.get(pods).await;
    serde_json::from_value::<k8s_openapi::List<Pod>>(list).unwrap();
}

#[tokio::test]
async fn a_long_history_is_sent_in_pieces() {
    let api = Api::start(Extensions::default()).await;
    let (_, list) = api.get(CONFIGS).await;
    let start = list["metadata"]["resourceVersion"].as_str().unwrap();
    let text = "x".repeat(50_000);
    for n in 0..8 {
        let object = json!({"metadata": {"name": format!("c{n}")}, "data": {"a": text}});
        api.create(CONFIGS, &object).await;
    }
    let watch = format!("{CONFIGS}?watch=1&resourceVersion={start}&timeoutSeconds=1");
    let response = api.send(Request::get(&watch), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    let chunks: Vec<Bytes> = response
        .into_body()
        .into_data_stream()
        .map(Result::unwrap)
        .collect()
        .await;
    let lines: usize = chunks
        .iter()
        .map(|chunk| chunk.split(|b| *b == b'\n').count() - 1)
        .sum();
    assert_eq!((lines, chunks.len()), (8, 4));
}

#[tokio::test]
async fn propagation_leaves_its_mark_for_the_collector() {
    let api = Api::start(Extensions::default()).await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        api.create(CONFIGS, &config("a")).await;
        let path = format!("{CONFIGS}/a?propagationPolicy={policy}");
        let (code, marked) = read(api.send(Request::delete(&path), "").await).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert!(marked["metadata"]["deletionTimestamp"].is_string());
        let background = format!("{CONFIGS}/a?propagationPolicy=Background");
        api.send(Request::delete(&background), "").await;
        assert_eq!(
            api.get(&format!("{CONFIGS}/a")).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn selective_watches_see_objects_come_and_go() {
    let api = Api::start(Extensions::default()).await;
    let watch =
        format!("{CONFIGS}?watch=1&labelSelector=on&timeoutSeconds=1&allowWatchBookmarks=1");
    let stream = api.send(Request::get(&watch), "").await;
    let patch = async |body: Value| {
        let request = Request::patch(format!("{CONFIGS}/a"))
            .header("content-type", "application/merge-patch+json");
        read(api.send(request, body.to_string()).await).await
    };
    api.create(CONFIGS, &config("a")).await;
    patch(json!({"metadata": {"labels": {"on": "1"}}})).await;
    patch(json!({"data": {"k": "v"}})).await;
    patch(json!({"metadata": {"labels": null}})).await;
    let text = stream.into_body().collect().await.unwrap().to_bytes();
    let events: Vec<Value> = serde_json::Deserializer::from_slice(&text)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]);
    let bookmark = &events[3]["object"]["metadata"]["resourceVersion"];
    assert_eq!(
        bookmark,
        &events[2]["object"]["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_to_list_again() {
    let api = Api::start(Extensions::default()).await;
    let watch = format!("{CONFIGS}?watch=1&resourceVersion=4000000");
    let (_, event) = read(api.send(Request::get(&watch), "").await).await;
    assert_eq!(event["type"], "ERROR");
    assert_eq!(
        (&event["object"]["code"], &event["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
}

#[tokio::test]
async fn a_watch_for_ever_is_granted_a_day() {
    let api = Api::start(Extensions::default()).await;
    let watch = format!("{CONFIGS}?watch=1&timeoutSeconds={}", i64::MAX);
    let response = api.send(Request::get(&watch), "").await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn tables_and_bare_metadata_are_served() {
    let api = Api::start(Extensions::default()).await;
    api.create(CONFIGS, &config("a")).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, list) = read(
        api.send(Request::get(CONFIGS).header("accept", table), "")
            .await,
    )
    .await;
    assert_eq!(list["kind"], "Table");
    assert_eq!(list["rows"][0]["cells"][0], "a");
    let watch = format!("{CONFIGS}?watch=1");
    let stream = api
        .send(Request::get(&watch).header("accept", table), "")
        .await;
    api.create(CONFIGS, &config("b")).await;
    let mut chunks = stream.into_body().into_data_stream();
    let mut next = async || -> Value {
        serde_json::from_slice(&chunks.next().await.unwrap().unwrap()).unwrap()
    };
    assert_eq!(
        next().await["object"]["columnDefinitions"][0]["name"],
        "Name"
    );
    let second = next().await;
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");

    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let request = Request::get(CONFIGS).header("accept", metadata);
    let (_, list) = read(api.send(request, "").await).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][1]["metadata"]["name"], "b");
    assert_eq!(list["items"][1]["data"], Value::Null);
}

struct NoTuesdays;

impl Admission for NoTuesdays {
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<Vec<String>, Status> {
        match (request.operation, request.name) {
            (Operation::Create, "tuesday") => Err(Status::forbidden(
                request.kind,
                request.name,
                "not on a Tuesday",
            )),
            (Operation::Create, _) => Ok(vec!["think twice".into()]),
            _ => Ok(Vec::new()),
        }
    }
}

struct Echo;

impl Subresource for Echo {
    fn call(
        &self,
        request: SubresourceRequest,
    ) -> futures::future::BoxFuture<'static, Result<Response<Body>, Status>> {
        let text = format!(
            "{}: {}",
            request.name,
            request.query.get("say").unwrap_or_default()
        );
        let body = Full::new(Bytes::from(text))
            .map_err(Into::into)
            .boxed_unsync();
        Box::pin(async { Ok(Response::new(body)) })
    }
}

#[tokio::test]
async fn embedders_refuse_warn_and_serve_subresources() {
    let echo = discovery::Subresource {
        group: String::new(),
        resource: "configmaps".into(),
        subresource: "echo".into(),
        kind: "ConfigMap".into(),
        verbs: vec!["get".into()],
    };
    let extensions = Extensions::default()
        .admission(NoTuesdays)
        .subresource(echo, Echo);
    let api = Api::start(extensions).await;
    let (code, status) = api.create(CONFIGS, &config("tuesday")).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        status["message"],
        "configmaps \"tuesday\" is forbidden: not on a Tuesday"
    );
    let made = api
        .send(Request::post(CONFIGS), config("monday").to_string())
        .await;
    assert_eq!(made.headers()["warning"], "299 - \"think twice\"");

    let said = api
        .send(Request::get(format!("{CONFIGS}/monday/echo?say=hello")), "")
        .await;
    let said = said.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(said, "monday: hello");
    let (code, _) = api.get(&format!("{CONFIGS}/monday/other")).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    let (_, list) = api.get("/api/v1").await;
    let resources = list["resources"].as_array().unwrap();
    assert!(
        resources
            .iter()
            .any(|resource| resource["name"] == "configmaps/echo")
    );
}

#[tokio::test]
async fn what_is_asked_for_its_head_only_has_no_body() {
    let api = Api::start(Extensions::default()).await;
    for (path, code) in [
        ("/healthz", 200),
        ("/version", 200),
        (CONFIGS, 405),
        ("/nothing", 404),
    ] {
        let response = api.send(Request::head(path), String::new()).await;
        assert_eq!(response.status().as_u16(), code, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "{path}: {body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_health_and_version_only() {
    let cluster = Cluster::start().await;
    let url = cluster
        .ok(&[
            "config",
            "view",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])
        .await;
    let nobody = [
        "--kubeconfig=/dev/null",
        "--insecure-skip-tls-verify",
        // Nothing that is looked at here, and kubectl does not ask for more.
        "--username=none",
        "--password=none",
        "--server",
        &url,
    ];
    let raw = async |path| {
        let arguments: Vec<&str> = nobody.into_iter().chain(["get", "--raw", path]).collect();
        cluster.run(&arguments).await
    };
    assert_eq!(raw("/healthz").await.stdout, "ok");
    assert!(raw("/version").await.stdout.contains("v1.33.0"));
    let refused = raw("/api/v1/namespaces").await;
    assert!(
        refused.stderr.contains("Unauthorized"),
        "{}",
        refused.stderr
    );
}
