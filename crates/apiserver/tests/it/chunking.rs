//! Large lists in chunks, as Kubernetes' conformance tests of "Servers with support for API
//! chunking" have it, and the moments that lists show.

use std::io::Read as _;

use http::header::CONTENT_ENCODING;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

async fn filled(count: usize) -> Api {
    let api = Api::start(Extensions::default()).await;
    for n in 0..count {
        create(&api, &format!("c{n}")).await;
    }
    api
}

async fn create(api: &Api, name: &str) -> String {
    let (code, made) = api.create(CONFIGS, &config(name)).await;
    assert_eq!(code, StatusCode::CREATED);
    version(&made)
}

fn config(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"parity": name.len().to_string()}}})
}

async fn merge(api: &Api, name: &str, patch: Value) {
    let request = Request::patch(format!("{CONFIGS}/{name}"))
        .header("content-type", "application/merge-patch+json");
    let (code, _) = read(api.send(request, patch.to_string()).await).await;
    assert_eq!(code, StatusCode::OK);
}

async fn delete(api: &Api, name: &str) {
    let request = Request::delete(format!("{CONFIGS}/{name}"));
    assert_eq!(api.send(request, "").await.status(), StatusCode::OK);
}

/// Makes the history forget what was before, with a few changes of a large object.
async fn forget(api: &Api) {
    for n in 0..16 {
        merge(
            api,
            "c0",
            json!({"data": {"k": "x".repeat(1024 * 1024 + n)}}),
        )
        .await;
    }
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn token(list: &Value) -> String {
    list["metadata"]["continue"].as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn chunks_make_up_the_whole_list_and_count_what_is_left() {
    let api = filled(40).await;
    let (_, whole) = api.get(CONFIGS).await;
    let mut found = Vec::new();
    let mut path = format!("{CONFIGS}?limit=17");
    for left in [23, 6, 0] {
        let (_, page) = api.get(&path).await;
        assert_eq!(version(&page), version(&whole));
        let told = page["metadata"]["remainingItemCount"].as_u64();
        assert_eq!(told.unwrap_or(0), left);
        found.extend(page["items"].as_array().unwrap().clone());
        if left > 0 {
            path = format!("{CONFIGS}?limit=17&continue={}", token(&page));
        } else {
            assert_eq!(page["metadata"]["continue"], Value::Null);
        }
    }
    assert_eq!(json!(found), whole["items"]);
}

#[tokio::test]
async fn a_list_in_chunks_is_consistent_across_pages() {
    let api = filled(6).await;
    let (_, whole) = api.get(CONFIGS).await;
    let (_, first) = api.get(&format!("{CONFIGS}?limit=2")).await;
    delete(&api, "c2").await;
    delete(&api, "c5").await;
    create(&api, "c22").await;
    merge(&api, "c3", json!({"data": {"k": "v"}})).await;
    merge(&api, "c3", json!({"data": {"k": "w"}})).await;
    create(&api, "c5").await;

    let (_, rest) = api
        .get(&format!("{CONFIGS}?continue={}", token(&first)))
        .await;
    assert_eq!(names(&rest), ["c2", "c3", "c4", "c5"]);
    assert_eq!(
        rest["items"].as_array().unwrap()[..],
        whole["items"].as_array().unwrap()[2..]
    );
    assert_eq!(version(&rest), version(&first));
    let (_, now) = api.get(CONFIGS).await;
    assert_eq!(names(&now), ["c0", "c1", "c22", "c3", "c4", "c5"]);
}

#[tokio::test]
async fn expired_continue_tokens_can_be_resumed_inconsistently() {
    let api = filled(4).await;
    let (_, first) = api.get(&format!("{CONFIGS}?limit=2")).await;
    delete(&api, "c2").await;
    create(&api, "c9").await;
    forget(&api).await;
    let (code, expired) = api
        .get(&format!("{CONFIGS}?limit=1&continue={}", token(&first)))
        .await;
    assert_eq!(code, StatusCode::GONE);
    assert_eq!(expired["reason"], "Expired");
    let message = expired["message"].as_str().unwrap();
    assert!(
        message.contains("use the continue token in this response"),
        "{message}"
    );

    let (code, next) = api
        .get(&format!("{CONFIGS}?limit=1&continue={}", token(&expired)))
        .await;
    assert_eq!((code, names(&next)), (StatusCode::OK, vec!["c3"]));
    assert_ne!(version(&next), version(&first));
    let (_, last) = api
        .get(&format!("{CONFIGS}?limit=1&continue={}", token(&next)))
        .await;
    assert_eq!((names(&last), version(&last)), (vec!["c9"], version(&next)));
}

#[tokio::test]
async fn a_token_of_one_namespace_shows_nothing_of_another() {
    let api = filled(3).await;
    let (_, first) = api.get(&format!("{CONFIGS}?limit=1")).await;
    let elsewhere = "/api/v1/namespaces/kube-system/configmaps";
    api.create(elsewhere, &config("s")).await;
    let (_, list) = api
        .get(&format!("{elsewhere}?continue={}", token(&first)))
        .await;
    assert_eq!(names(&list), Vec::<&str>::new());
}

#[tokio::test]
async fn a_list_shows_the_exact_moment_that_is_asked_for() {
    let api = filled(2).await;
    let then = create(&api, "c2").await;
    delete(&api, "c0").await;
    merge(&api, "c1", json!({"data": {"k": "v"}})).await;
    let exact = format!("{CONFIGS}?resourceVersion={then}&resourceVersionMatch=Exact");
    let (_, list) = api.get(&exact).await;
    assert_eq!(
        (names(&list), version(&list)),
        (vec!["c0", "c1", "c2"], then.clone())
    );
    assert_eq!(list["items"][1]["data"], Value::Null);
    let (_, selected) = api
        .get(&format!("{exact}&fieldSelector=metadata.name%3Dc0"))
        .await;
    assert_eq!(names(&selected), ["c0"]);
    // With a limit, an older version is the one that is meant.
    let (_, first) = api
        .get(&format!("{CONFIGS}?resourceVersion={then}&limit=1"))
        .await;
    assert_eq!(names(&first), ["c0"]);
    let (_, newer) = api.get(&format!("{CONFIGS}?resourceVersion={then}")).await;
    assert_eq!(names(&newer), ["c1", "c2"]);

    forget_after(&api).await;
    let (code, status) = api.get(&exact).await;
    assert_eq!(code, StatusCode::GONE);
    assert_eq!(
        status["message"],
        "The resourceVersion for the provided list is too old."
    );
}

async fn forget_after(api: &Api) {
    create(api, "c0").await;
    forget(api).await;
}

#[tokio::test]
async fn parameters_of_lists_that_make_no_sense_are_refused() {
    let api = filled(1).await;
    let base64 = |json: &str| {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        BASE64_URL_SAFE_NO_PAD.encode(json)
    };
    let message = async |query: String, code: u16| {
        let (found, status) = api.get(&format!("{CONFIGS}?{query}")).await;
        assert_eq!(found.as_u16(), code, "{query}: {status}");
        status["message"].as_str().unwrap().to_owned()
    };
    let invalid = "invalid continue token: continue key is not valid: ";
    assert_eq!(
        message("continue=%2A%2A%2A%2A".into(), 400).await,
        format!("{invalid}illegal base64 data at input byte 0")
    );
    let garbage = message(format!("continue={}", base64("garbage")), 400).await;
    assert!(garbage.starts_with(invalid), "{garbage}");
    let token = |revision: i64, version: &str| {
        let token = json!({"v": version, "rv": revision, "start": "default/c0\0"});
        format!("continue={}", base64(&token.to_string()))
    };
    let zero = "incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
    assert_eq!(
        message(token(0, "meta.k8s.io/v1"), 400).await,
        format!("{invalid}{zero}")
    );
    let unknown = "server does not recognize this encoded version v9";
    assert_eq!(
        message(token(1, "v9"), 400).await,
        format!("{invalid}{unknown}")
    );
    message(token(i64::MAX, "meta.k8s.io/v1"), 410).await;
    assert_eq!(
        message(
            format!("resourceVersion=1&{}", token(1, "meta.k8s.io/v1")),
            400
        )
        .await,
        "specifying resource version is not allowed when using continue"
    );
    assert_eq!(
        message("limit=many".into(), 400).await,
        "strconv.ParseInt: parsing \"many\": invalid syntax"
    );
    assert_eq!(
        message("resourceVersionMatch=Exact".into(), 422).await,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
         resourceVersionMatch is forbidden unless resourceVersion is provided"
    );
    assert_eq!(
        message("resourceVersion=0&resourceVersionMatch=Exact".into(), 422).await,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
         resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
    );
    message("resourceVersion=1&resourceVersionMatch=Some".into(), 422).await;
    message("sendInitialEvents=true".into(), 422).await;
    message("resourceVersion=x".into(), 400).await;
    // As everywhere, a limit below nothing is none.
    let (code, list) = api.get(&format!("{CONFIGS}?limit=-1")).await;
    assert_eq!((code, names(&list)), (StatusCode::OK, vec!["c0"]));
}

#[tokio::test]
async fn long_lists_are_compressed_for_those_who_ask() {
    let api = filled(1).await;
    merge(&api, "c0", json!({"data": {"k": "x".repeat(200_000)}})).await;
    let get = async |accepted: &str| {
        let request = Request::get(CONFIGS).header("accept-encoding", accepted);
        let response = api.send(request, "").await;
        let coding = response.headers().get(CONTENT_ENCODING).cloned();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (coding, bytes)
    };
    let (coding, plain) = get("identity").await;
    assert_eq!(coding, None);
    let (coding, compressed) = get("gzip").await;
    assert_eq!(coding.unwrap(), "gzip");
    assert!(compressed.len() < plain.len() / 10);
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&compressed[..])
        .read_to_end(&mut text)
        .unwrap();
    assert_eq!(text, plain);
}
