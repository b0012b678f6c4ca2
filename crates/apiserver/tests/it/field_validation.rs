//! What becomes of fields that a kind does not have, or that come twice.
//!
//! Tests that begin with `conformance_` are named after the published behaviour that they show.

use http::{Request, StatusCode};
use serde_json::json;

use crate::api::{Api, read};
use crate::definitions::{api, define, version, widgets};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

/// Creates an object strictly, and returns the code and what the server says.
async fn strict(api: &Api, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::post(format!("{path}?fieldValidation=Strict"));
    let (code, answer) = read(api.send(request, body.to_owned()).await).await;
    (
        code,
        answer["message"].as_str().unwrap_or_default().to_owned(),
    )
}

async fn warnings(api: &Api, path: &str, body: &str) -> Vec<String> {
    let response = api.send(Request::post(path), body.to_owned()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let values = response.headers().get_all("warning").iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

async fn custom(spec: serde_json::Value) -> Api {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &spec)]))).await;
    api
}

#[tokio::test]
async fn conformance_should_detect_unknown_and_duplicate_fields_of_a_typed_object() {
    let api = api().await;
    let claim = r#"{"metadata": {"name": "a"}, "spec": {"unknownField": 1, "accessModes": [],
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}"#;
    assert_eq!(
        strict(&api, CLAIMS, claim).await,
        (
            StatusCode::BAD_REQUEST,
            "PersistentVolumeClaim in version \"v1\" cannot be handled as a PersistentVolumeClaim: \
             strict decoding error: unknown field \"spec.unknownField\", duplicate field \
             \"spec.accessModes\""
                .to_owned()
        )
    );
    assert_eq!(
        warnings(&api, CLAIMS, claim).await,
        [
            r#"299 - "unknown field \"spec.unknownField\"""#,
            r#"299 - "duplicate field \"spec.accessModes\"""#
        ]
    );
}

#[tokio::test]
async fn conformance_should_create_apply_a_cr_with_unknown_fields_when_preserving_them() {
    let api = custom(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
    let body = r#"{"metadata": {"name": "a"}, "spec": {"foo": {"bar": 1}}}"#;
    assert_eq!(strict(&api, WIDGETS, body).await.0, StatusCode::CREATED);
    let twice = r#"{"metadata": {"name": "b"}, "spec": {"foo": 1, "foo": 2}}"#;
    let (code, message) = strict(&api, WIDGETS, twice).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        message.contains("strict decoding error: duplicate field \"spec.foo\""),
        "{message}"
    );
}

#[tokio::test]
async fn conformance_should_detect_unknown_and_duplicate_fields_of_a_cr_with_a_schema() {
    let spec = json!({"type": "object", "properties": {"foo": {"type": "string"}}});
    let api = custom(spec).await;
    let body = r#"{"metadata": {"name": "a"}, "spec": {"foo": "a", "unknown": 1, "foo": "b"}}"#;
    let (code, message) = strict(&api, WIDGETS, body).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let expected = "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: \
                    unknown field \"spec.unknown\", duplicate field \"spec.foo\"";
    assert_eq!(message, expected);
    assert_eq!(warnings(&api, WIDGETS, body).await.len(), 2);
    let (_, stored) = api.get(&format!("{WIDGETS}/a")).await;
    assert_eq!(stored["spec"], json!({"foo": "b"}));

    let path = format!("{WIDGETS}/a?fieldValidation=Strict");
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    let (code, refused) = read(api.send(request, r#"{"spec": {"bar": 1}}"#).await).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{refused}");
}

#[tokio::test]
async fn conformance_should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr()
 {
    let spec = json!({"type": "object", "properties": {"template": {"type": "object",
        "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object",
            "properties": {"foo": {"type": "string"}}}}}}});
    let api = custom(spec).await;
    let body = r#"{"metadata": {"name": "a", "unknownMeta": 1}, "spec": {"template": {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "unknownSubMeta": 2},
        "spec": {"foo": "x"}}}}"#;
    let (code, message) = strict(&api, WIDGETS, body).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    for field in [
        "metadata.unknownMeta",
        "spec.template.metadata.unknownSubMeta",
    ] {
        assert!(
            message.contains(&format!("unknown field \"{field}\"")),
            "{message}"
        );
    }
}
