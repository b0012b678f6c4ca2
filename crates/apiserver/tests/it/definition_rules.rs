//! Validation rules of CustomResourceDefinitions.
//!
//! Tests that begin with `conformance_` are named after the published behaviour that they show.

use http::StatusCode;
use serde_json::{Value, json};

use crate::api::Api;
use crate::definitions::{api, define, patch, version, widget, widgets};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

/// A server with Widgets whose spec obeys `rule`.
async fn ruled(properties: &Value, rule: &str) -> Api {
    let api = api().await;
    define(&api, &definition(properties, rule)).await;
    api
}

fn definition(properties: &Value, rule: &str) -> Value {
    let spec = json!({"type": "object", "properties": properties,
        "x-kubernetes-validations": [{"rule": rule}]});
    widgets(&json!([version("v1", &spec)]))
}

fn numbers() -> Value {
    json!({"x": {"type": "integer"}, "y": {"type": "integer"}})
}

async fn refused_definition(definition: &Value, expected: &str) {
    let (code, refused) = api().await.create(DEFINITIONS, definition).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["message"].as_str().unwrap().contains(expected),
        "{refused:#}"
    );
    let cause = &refused["details"]["causes"][0];
    let field = cause["field"].as_str().unwrap();
    assert!(
        field.contains("x-kubernetes-validations[0].rule"),
        "{field}"
    );
}

#[tokio::test]
async fn conformance_must_not_fail_validation_for_create_of_a_custom_resource_that_satisfies_the_rules()
 {
    let api = ruled(&numbers(), "self.x + self.y > 0").await;
    let (code, _) = api
        .create(WIDGETS, &widget("a", &json!({"x": 1, "y": 0})))
        .await;
    assert_eq!(code, StatusCode::CREATED);
}

#[tokio::test]
async fn conformance_must_fail_validation_for_create_of_a_custom_resource_that_does_not_satisfy_the_rules()
 {
    let api = ruled(&numbers(), "self.x + self.y > 0").await;
    let (code, refused) = api
        .create(WIDGETS, &widget("a", &json!({"x": 0, "y": 0})))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused["message"],
        "Widget.example.org \"a\" is invalid: spec: Invalid value: \"object\": failed rule: self.x \
         + self.y > 0"
    );
    assert_eq!(
        refused["details"]["causes"][0]["reason"],
        "FieldValueInvalid"
    );
}

#[tokio::test]
async fn conformance_must_fail_create_of_a_definition_whose_rule_refers_to_a_property_that_does_not_exist()
 {
    let definition = definition(&numbers(), "self.z == 100");
    refused_definition(&definition, "undefined field 'z'").await;
}

#[tokio::test]
async fn conformance_must_fail_create_of_a_definition_whose_rule_contains_a_syntax_error() {
    refused_definition(&definition(&numbers(), "self = 42"), "Syntax error").await;
}

#[tokio::test]
async fn conformance_must_fail_create_of_a_definition_whose_rule_exceeds_the_estimated_cost_limit()
{
    let spec = json!({"type": "object", "properties": {"x": {"type": "array", "items": {
        "type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}});
    let definition = widgets(&json!([version("v1", &spec)]));
    refused_definition(&definition, "exceeds budget").await;
}

#[tokio::test]
async fn conformance_must_fail_create_of_a_custom_resource_that_exceeds_the_runtime_cost_limit() {
    let list = json!({"list": {"type": "array", "maxItems": 725, "items": {"type": "integer"}}});
    let api = ruled(&list, "self.list.all(x, self.list.all(y, x == y))").await;
    let (code, refused) = api
        .create(WIDGETS, &widget("a", &json!({"list": vec![20; 725]})))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("call cost exceeds limit")
    );
}

#[tokio::test]
async fn conformance_must_fail_update_of_a_custom_resource_that_does_not_satisfy_a_transition_rule()
{
    let api = ruled(&numbers(), "self.x > oldSelf.x").await;
    let (code, _) = api.create(WIDGETS, &widget("a", &json!({"x": 10}))).await;
    assert_eq!(code, StatusCode::CREATED);
    let path = format!("{WIDGETS}/a");
    let (code, refused) = patch(&api, &path, &json!({"spec": {"x": 9}})).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("failed rule: self.x > oldSelf.x")
    );
    let (code, _) = patch(&api, &path, &json!({"spec": {"x": 11}})).await;
    assert_eq!(code, StatusCode::OK);
}

#[tokio::test]
async fn rules_wait_until_the_object_has_the_shape_they_expect() {
    let api = ruled(&numbers(), "self.x + self.y > 0").await;
    let (_, refused) = api
        .create(WIDGETS, &widget("a", &json!({"x": "one", "y": 0})))
        .await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("must be of type integer"), "{message}");
    assert!(
        message.contains("some validation rules were not checked"),
        "{message}"
    );
}

#[tokio::test]
async fn rules_at_the_root_see_the_name() {
    let api = api().await;
    let mut only = version("v1", &json!({"type": "object"}));
    only["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "self.metadata.name.startsWith('a')", "message": "only a"}]);
    define(&api, &widgets(&json!([only]))).await;
    let create = async |name: &str| api.create(WIDGETS, &widget(name, &json!({}))).await;
    assert_eq!(create("abc").await.0, StatusCode::CREATED);
    let (_, refused) = create("b").await;
    let expected = "Widget.example.org \"b\" is invalid: <nil>: Invalid value: \"object\": only a";
    assert_eq!(refused["message"], expected);
}

#[tokio::test]
async fn rules_hold_for_the_status_as_well() {
    let api = api().await;
    let mut with_status = version("v1", &json!({"type": "object"}));
    with_status["subresources"] = json!({"status": {}});
    with_status["schema"]["openAPIV3Schema"]["properties"]["status"] = json!({"type": "object",
        "properties": {"health": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.health in ['ok', 'unhealthy']"}]});
    define(&api, &widgets(&json!([with_status]))).await;
    api.create(WIDGETS, &widget("a", &json!({}))).await;
    let path = format!("{WIDGETS}/a/status");
    let (code, _) = patch(&api, &path, &json!({"status": {"health": "so so"}})).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let (code, done) = patch(&api, &path, &json!({"status": {"health": "ok"}})).await;
    assert_eq!(
        (code, &done["metadata"]["generation"]),
        (StatusCode::OK, &json!(1))
    );
}
