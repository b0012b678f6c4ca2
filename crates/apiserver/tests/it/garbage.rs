//! Bodies and parameters that are nearly right: mutations of good ones, from a fixed seed.
//!
//! `fuzz/` has the same with a fuzzer's patience.

use http::{Method, Request, StatusCode};
use longshore_apiserver::extend::Extensions;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::api::{Api, read};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Requests that can be read: method, path, media type and body.
const SEEDS: [(&str, &str, &str, &str); 9] = [
    (
        "POST",
        CONFIGS,
        "application/json",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","labels":{"a":"b"}},"data":{"x":"é\u00e9"}}"#,
    ),
    (
        "POST",
        CONFIGS,
        "application/yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: &n b}\ndata:\n  x: |\n    1\n  y: *n\n",
    ),
    (
        "POST",
        PODS,
        "application/json",
        r#"{"metadata":{"name":"q"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"100m"}},"ports":[{"containerPort":80}]}],"tolerations":[{"operator":"Exists","tolerationSeconds":3}]}}"#,
    ),
    (
        "PATCH",
        "/api/v1/namespaces/default/configmaps/a",
        "application/json-patch+json",
        r#"[{"op":"add","path":"/data/y","value":"2"},{"op":"copy","from":"/data/x","path":"/data/z"},{"op":"move","from":"/data/y","path":"/data/w"},{"op":"test","path":"/data/x","value":"1"}]"#,
    ),
    (
        "PATCH",
        "/api/v1/namespaces/default/configmaps/a",
        "application/merge-patch+json",
        r#"{"metadata":{"annotations":{"a":null},"managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:x":{}}}}]},"data":{"x":null,"y":"2"}}"#,
    ),
    (
        "PATCH",
        "/api/v1/namespaces/default/pods/p",
        "application/strategic-merge-patch+json",
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"]},"spec":{"$setElementOrder/containers":[{"name":"c"}],"containers":[{"name":"c","image":"j","env":[{"name":"X","$patch":"delete"}]}],"volumes":[{"$retainKeys":["name","emptyDir"],"name":"v","emptyDir":{}}]}}"#,
    ),
    (
        "PATCH",
        "/api/v1/namespaces/default/pods/p",
        "application/apply-patch+yaml",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"protocol":"UDP"}]}]}}"#,
    ),
    (
        "PATCH",
        "/api/v1/namespaces/default/configmaps/a",
        "application/apply-patch+yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  finalizers: [x/y, x/z]\ndata: {x: '1', y: \"2\"}\n",
    ),
    (
        "PUT",
        "/api/v1/namespaces/default/configmaps/a",
        "application/json",
        r#"{"metadata":{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"1"}]},"binaryData":{"x":"AAAA"},"immutable":false}"#,
    ),
];

/// Parameters that can be read.
const QUERIES: [&str; 5] = [
    "labelSelector=a%3Db,c!%3Dd,e+in+(f,g),!h,i",
    "labelSelector=a notin (b, c)",
    "fieldSelector=metadata.name%3Da,metadata.namespace!%3Db",
    "limit=2&continue=abc",
    "resourceVersion=1&resourceVersionMatch=Exact",
];

/// What breaks readers.
const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\",
    "\\ud800",
    "\0",
    "\u{feff}",
    "\n",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "\"$patch\":\"replace\",",
    "\"\":",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

#[derive(Debug, Clone)]
enum Mutation {
    Overwrite(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = || any::<Index>();
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Overwrite(at, byte)),
        (place(), select(&TOKENS)).prop_map(|(at, token)| Mutation::Insert(at, token)),
        (place(), 1..24_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (place(), 1..64_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

fn mutated(text: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        match mutation {
            Mutation::Overwrite(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Mutation::Insert(at, token) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, token.bytes());
            }
            Mutation::Remove(at, length) => {
                let at = at.index(bytes.len());
                bytes.drain(at..bytes.len().min(at + length));
            }
            Mutation::Repeat(at, length) => {
                let at = at.index(bytes.len());
                let part = bytes[at..bytes.len().min(at + length)].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

async fn started() -> Api {
    let api = Api::start(Extensions::default()).await;
    let config = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "i"}]}});
    for (path, object) in [(CONFIGS, config), (PODS, pod)] {
        let (code, made) = api.create(path, &object).await;
        assert_eq!(code, StatusCode::CREATED, "{made:#}");
    }
    api
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The same cases in every run.
fn runner(cases: u32) -> TestRunner {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(ProptestConfig::with_cases(cases), rng)
}

/// An answer is an object, or says in a `Status` what the client did wrong.
fn check(code: StatusCode, answer: &Value) -> Result<(), TestCaseError> {
    prop_assert!(code.as_u16() < 500, "{answer}");
    if !code.is_success() {
        prop_assert_eq!(&answer["kind"], "Status");
        prop_assert_eq!(&answer["code"], code.as_u16());
        prop_assert!(
            answer["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    Ok(())
}

#[test]
fn nearly_right_bodies_get_proper_answers() {
    let runtime = runtime();
    let api = runtime.block_on(started());
    let before = api.server.revision();
    let mutations = proptest::collection::vec(mutation(), 0..5);
    let mut runner = runner(600);
    let done = runner.run(&(select(&SEEDS), mutations), |(seed, mutations)| {
        let (method, path, media_type, text) = seed;
        let request = Request::builder()
            .method(method.parse::<Method>().unwrap())
            .uri(format!(
                "{path}?dryRun=All&fieldManager=m&fieldValidation=Strict"
            ))
            .header("content-type", media_type);
        let body = mutated(text, &mutations);
        let (code, answer) = runtime.block_on(async { read(api.send(request, body).await).await });
        let readable = !matches!(code.as_u16(), 400 | 415);
        prop_assert!(readable || !mutations.is_empty(), "{answer}");
        check(code, &answer)
    });
    done.unwrap();
    assert_eq!(api.server.revision(), before, "dry runs leave no trace");
}

#[test]
fn nearly_right_selectors_get_proper_answers() {
    let runtime = runtime();
    let api = runtime.block_on(started());
    let mutations = proptest::collection::vec(mutation(), 0..4);
    let mut runner = runner(400);
    let done = runner.run(&(select(&QUERIES), mutations), |(seed, mutations)| {
        let query: String = mutated(seed, &mutations)
            .iter()
            .map(|&byte| match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'%'
                | b'='
                | b'&'
                | b'!'
                | b'+'
                | b',' => char::from(byte).to_string(),
                byte => format!("%{byte:02x}"),
            })
            .collect();
        let request = Request::get(format!("{CONFIGS}?{query}"));
        let (code, answer) = runtime.block_on(async { read(api.send(request, "").await).await });
        // A version of the future is waited for in vain.
        if code == StatusCode::GATEWAY_TIMEOUT {
            return Ok(());
        }
        check(code, &answer)
    });
    done.unwrap();
}
