//! Bodies in other formats than JSON, and bodies that nobody can read.

use http::{Request, StatusCode};
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

async fn post(api: &Api, media_type: &str, query: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post(format!("{CONFIGS}{query}")).header("content-type", media_type);
    read(api.send(request, body.to_owned()).await).await
}

#[tokio::test]
async fn objects_come_as_yaml_too() {
    let api = Api::start(Extensions::default()).await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: |\n    1\n";
    let (code, made) = post(&api, "application/yaml", "", yaml).await;
    assert_eq!(
        (code, &made["data"]),
        (StatusCode::CREATED, &json!({"x": "1\n"}))
    );
    let put = Request::put(format!("{CONFIGS}/a")).header("content-type", "application/yaml");
    let (code, changed) = read(api.send(put, yaml.replace("    1", "    2")).await).await;
    assert_eq!(
        (code, &changed["data"]),
        (StatusCode::OK, &json!({"x": "2\n"}))
    );
    let delete = Request::delete(format!("{CONFIGS}/a")).header("content-type", "application/yaml");
    let options = "apiVersion: v1\nkind: DeleteOptions\npreconditions: {uid: other}\n";
    let (code, _) = read(api.send(delete, options).await).await;
    assert_eq!(code, StatusCode::CONFLICT);
}

#[tokio::test]
async fn yaml_that_says_things_twice_is_refused_when_validation_is_strict() {
    let api = Api::start(Extensions::default()).await;
    let yaml = "metadata:\n  name: a\ndata:\n  x: y\n  x: z\ndada: {}\n";
    let (code, status) = post(&api, "application/yaml", "?fieldValidation=Strict", yaml).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("line 5: key \"x\" already set in map"),
        "{message}"
    );
    assert!(message.contains("unknown field \"dada\""), "{message}");
    let (code, made) = post(&api, "application/yaml", "?fieldValidation=Ignore", yaml).await;
    assert_eq!(
        (code, &made["data"]["x"]),
        (StatusCode::CREATED, &json!("z"))
    );
}

#[tokio::test]
async fn unreadable_bodies_are_shown_with_their_beginning() {
    let api = Api::start(Extensions::default()).await;
    let json = "application/json";
    let long = format!("{{\"metadata\": {{\"name\": \"{}\"", "x".repeat(40));
    let cases = [
        (
            json,
            "",
            "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
        ),
        (
            json,
            "{a",
            "couldn't get version/kind; json parse error: invalid character 'a' looking for beginning of object key \
                      string ({a)",
        ),
        (
            json,
            &long,
            "couldn't get version/kind; json parse error: unexpected end of JSON input ({\"metadata\": {\"name\": \"xxxxxxx ...)",
        ),
        (
            json,
            "x",
            "couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of value (78)",
        ),
    ];
    for (media_type, body, fault) in cases {
        let (code, status) = post(&api, media_type, "", body).await;
        assert_eq!(
            (code, &status["reason"]),
            (StatusCode::BAD_REQUEST, &json!("BadRequest"))
        );
        assert_eq!(
            status["message"],
            format!("the object provided is unrecognized (must be of type ConfigMap): {fault}")
        );
    }
    let (code, status) = post(&api, "application/yaml", "", "a: b: c").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("error converting YAML to JSON: yaml: "),
        "{message}"
    );
    let (code, status) = post(&api, "text/plain", "", "{}").await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        status["message"],
        "the body of the request was in an unknown format - accepted media types include: \
         application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
}
