//! CustomResourceDefinitions: what they say of themselves, and what they make the server serve.
//!
//! Tests that begin with `conformance_` are named after the published behaviour that they show.

use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use longshore_apiserver::extend::{Body, Extensions};
use serde_json::{Value, json};

use crate::api::{Api, read};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

/// A definition of Widgets with these versions.
pub(crate) fn widgets(versions: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"}, "versions": versions}})
}

/// A served and stored version whose objects have this spec.
pub(crate) fn version(name: &str, spec: &Value) -> Value {
    json!({"name": name, "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": spec, "status": {"type": "object",
                "x-kubernetes-preserve-unknown-fields": true}}}}})
}

pub(crate) async fn api() -> Api {
    Api::start(Extensions::default()).await
}

/// Creates a definition, and returns it as it is served.
pub(crate) async fn define(api: &Api, definition: &Value) -> Value {
    let (code, answer) = api.create(DEFINITIONS, definition).await;
    assert_eq!(code, StatusCode::CREATED, "{answer:#}");
    answer
}

pub(crate) async fn patch(api: &Api, path: &str, patch: &Value) -> (StatusCode, Value) {
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    read(api.send(request, patch.to_string()).await).await
}

async fn put(api: &Api, path: &str, object: &Value) -> (StatusCode, Value) {
    read(api.send(Request::put(path), object.to_string()).await).await
}

async fn delete(api: &Api, path: &str) -> StatusCode {
    api.send(Request::delete(path), "").await.status()
}

pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": spec})
}

fn free() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn one() -> String {
    format!("{DEFINITIONS}/widgets.example.org")
}

/// Status and reason of a condition.
fn condition(definition: &Value, type_: &str) -> String {
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == type_);
    found.map_or_else(String::new, |found| {
        format!("{} {}", found["status"], found["reason"]).replace('"', "")
    })
}

/// The next lines of a watch.
async fn lines(body: &mut Body, count: usize) -> Vec<Value> {
    let (mut text, mut lines) = (Vec::new(), Vec::new());
    while lines.len() < count {
        let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = text.drain(..=end).collect();
            lines.push(serde_json::from_slice(&line).unwrap());
        }
    }
    lines
}

async fn watch(api: &Api, path: &str) -> Body {
    let response: Response<Body> = api.send(Request::get(path), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

#[tokio::test]
async fn conformance_creating_and_deleting_custom_resource_definition_objects_works() {
    let api = api().await;
    let made = define(&api, &widgets(&json!([version("v1", &free())]))).await;
    assert_eq!(condition(&made, "Established"), "True InitialNamesAccepted");
    assert_eq!(condition(&made, "NamesAccepted"), "True NoConflicts");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(delete(&api, &one()).await, StatusCode::OK);
    assert_eq!(api.get(&one()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get(WIDGETS).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn conformance_listing_custom_resource_definition_objects_works() {
    let api = api().await;
    for plural in ["alphas", "betas"] {
        let mut definition = widgets(&json!([version("v1", &free())]));
        definition["metadata"] = json!({"name": format!("{plural}.example.org"),
            "labels": {"test": "listing"}});
        definition["spec"]["names"] = json!({"kind": plural.to_uppercase(), "plural": plural});
        define(&api, &definition).await;
    }
    let selected = format!("{DEFINITIONS}?labelSelector=test%3Dlisting");
    let (_, list) = api.get(&selected).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let request = Request::delete(&selected);
    assert_eq!(api.send(request, "").await.status(), StatusCode::OK);
    assert_eq!(api.get(&selected).await.1["items"], json!([]));
}

#[tokio::test]
async fn conformance_getting_updating_patching_custom_resource_definition_status_sub_resource_works()
 {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    let path = format!("{}/status", one());
    let (code, mut status) = api.get(&path).await;
    assert_eq!(code, StatusCode::OK);
    let extra = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E",
        "message": "Set from an e2e test", "lastTransitionTime": "2024-01-01T00:00:00Z"});
    status["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(extra);
    let (code, updated) = put(&api, &path, &status).await;
    assert_eq!(code, StatusCode::OK, "{updated:#}");
    assert_eq!(condition(&updated, "StatusUpdate"), "True E2E");
    let annotated = json!({"status": {"conditions": updated["status"]["conditions"]}});
    let (code, patched) = patch(&api, &path, &annotated).await;
    assert_eq!(
        (code, condition(&patched, "StatusUpdate").as_str()),
        (StatusCode::OK, "True E2E")
    );
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let (_, labelled) = patch(&api, &one(), &label).await;
    assert_eq!(condition(&labelled, "StatusUpdate"), "True E2E");
}

#[tokio::test]
async fn conformance_watch_on_custom_resource_definition_objects_works() {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    let mut stream = watch(&api, &format!("{WIDGETS}?watch=true")).await;
    api.create(WIDGETS, &widget("a", &json!({}))).await;
    let path = format!("{WIDGETS}/a");
    patch(&api, &path, &json!({"metadata": {"labels": {"x": "y"}}})).await;
    delete(&api, &path).await;
    let types: Vec<_> = lines(&mut stream, 3)
        .await
        .iter()
        .map(|e| e["type"].clone())
        .collect();
    assert_eq!(types, ["ADDED", "MODIFIED", "DELETED"]);

    // A definition that goes takes its objects with it, and then the watch ends.
    api.create(WIDGETS, &widget("b", &json!({}))).await;
    delete(&api, &one()).await;
    let types: Vec<_> = lines(&mut stream, 2)
        .await
        .iter()
        .map(|e| e["type"].clone())
        .collect();
    assert_eq!(types, ["ADDED", "DELETED"]);
    assert!(stream.frame().await.is_none());
}

#[tokio::test]
async fn a_watch_ends_when_its_kind_is_defined_otherwise_and_only_then() {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    let mut stream = watch(&api, &format!("{WIDGETS}?watch=true")).await;
    patch(&api, &one(), &json!({"metadata": {"labels": {"a": "b"}}})).await;
    api.create(WIDGETS, &widget("a", &json!({}))).await;
    assert_eq!(lines(&mut stream, 1).await[0]["type"], "ADDED");
    let mut changed = version("v1", &free());
    changed["additionalPrinterColumns"] =
        json!([{"name": "X", "type": "string", "jsonPath": ".spec.x"}]);
    patch(&api, &one(), &json!({"spec": {"versions": [changed]}})).await;
    assert!(stream.frame().await.is_none());
}

#[tokio::test]
async fn conformance_custom_resource_defaulting_for_requests_and_from_storage_works() {
    let api = api().await;
    let plain = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    define(&api, &widgets(&json!([version("v1", &plain)]))).await;
    let (_, old) = api
        .create(WIDGETS, &widget("old", &json!({"a": "x"})))
        .await;
    assert_eq!(old["spec"], json!({"a": "x"}));

    let defaulted = json!({"type": "object", "properties": {"a": {"type": "string", "default": "A"},
        "b": {"type": "string", "default": "B"}}});
    let versions = json!({"spec": {"versions": [version("v1", &defaulted)]}});
    patch(&api, &one(), &versions).await;
    let (_, new) = api.create(WIDGETS, &widget("new", &json!({}))).await;
    assert_eq!(new["spec"], json!({"a": "A", "b": "B"}));
    let (_, read) = api.get(&format!("{WIDGETS}/old")).await;
    assert_eq!(read["spec"], json!({"a": "x", "b": "B"}));
    assert_eq!(
        read["metadata"]["resourceVersion"],
        old["metadata"]["resourceVersion"]
    );
    let (_, list) = api.get(WIDGETS).await;
    assert_eq!(list["items"][1]["spec"]["b"], "B");

    // What a schema no longer knows is not read any more either.
    let versions = json!({"spec": {"versions": [version("v1",
        &json!({"type": "object", "properties": {"b": {"type": "string"}}}))]}});
    patch(&api, &one(), &versions).await;
    let (_, read) = api.get(&format!("{WIDGETS}/new")).await;
    assert_eq!(read["spec"], json!({"b": "B"}));
}

#[tokio::test]
async fn conformance_versions_come_go_and_are_renamed() {
    let api = api().await;
    let other = |name: &str, served: bool| {
        let mut version = version(name, &free());
        version["storage"] = false.into();
        version["served"] = served.into();
        version
    };
    let first = version("v1", &free());
    define(&api, &widgets(&json!([first, other("v2", true)]))).await;
    api.create(WIDGETS, &widget("a", &json!({"x": 1}))).await;
    let at = |version: &str| format!("/apis/example.org/{version}/namespaces/default/widgets/a");
    let (_, seen) = api.get(&at("v2")).await;
    assert_eq!(
        (&seen["apiVersion"], &seen["spec"]),
        (&"example.org/v2".into(), &json!({"x": 1}))
    );

    // Not served any more, and then renamed.
    patch(
        &api,
        &one(),
        &json!({"spec": {"versions": [first, other("v2", false)]}}),
    )
    .await;
    assert_eq!(api.get(&at("v2")).await.0, StatusCode::NOT_FOUND);
    let (_, groups) = api.get("/openapi/v3").await;
    assert!(
        groups["paths"].get("apis/example.org/v2").is_none(),
        "{groups:#}"
    );
    patch(
        &api,
        &one(),
        &json!({"spec": {"versions": [first, other("v3", true)]}}),
    )
    .await;
    assert_eq!(api.get(&at("v3")).await.0, StatusCode::OK);
    let (_, groups) = api.get("/openapi/v3").await;
    assert!(groups["paths"].get("apis/example.org/v3").is_some());

    // Another storage version: what was stored in the old one is still read.
    let mut old = first.clone();
    old["storage"] = false.into();
    let stored = version("v3", &free());
    let (_, changed) = patch(&api, &one(), &json!({"spec": {"versions": [old, stored]}})).await;
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v3"]));
    assert_eq!(api.get(&at("v1")).await.1["apiVersion"], "example.org/v1");

    // The old one may go when nothing is stored in it.
    let only = json!({"spec": {"versions": [stored]}});
    let (code, refused) = patch(&api, &one(), &only).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("status.storedVersions[0]: Invalid value: \"v1\": missing from"));
    let status = json!({"status": {"storedVersions": ["v3"]}});
    let (code, _) = patch(&api, &format!("{}/status", one()), &status).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(patch(&api, &one(), &only).await.0, StatusCode::OK);
    assert_eq!(api.get(&at("v3")).await.1["spec"], json!({"x": 1}));
}

#[tokio::test]
async fn deprecated_versions_warn_with_every_answer() {
    let api = api().await;
    let mut old = version("v1", &free());
    old["deprecated"] = true.into();
    define(&api, &widgets(&json!([old]))).await;
    let warning = async || {
        let response = api.send(Request::get(WIDGETS), "").await;
        response.headers()["warning"].to_str().unwrap().to_owned()
    };
    assert_eq!(
        warning().await,
        "299 - \"example.org/v1 Widget is deprecated\""
    );
    old["deprecationWarning"] = "use v2".into();
    patch(&api, &one(), &json!({"spec": {"versions": [old]}})).await;
    assert_eq!(warning().await, "299 - \"use v2\"");
}

#[tokio::test]
async fn names_are_accepted_when_they_become_free() {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    let mut other = widgets(&json!([version("v1", &free())]));
    other["metadata"]["name"] = "gadgets.example.org".into();
    other["spec"]["names"] = json!({"kind": "Gadget", "plural": "gadgets", "singular": "widget"});
    let made = define(&api, &other).await;
    assert_eq!(condition(&made, "NamesAccepted"), "False SingularConflict");
    assert_eq!(condition(&made, "Established"), "False NotAccepted");
    let gadgets = "/apis/example.org/v1/namespaces/default/gadgets";
    assert_eq!(api.get(gadgets).await.0, StatusCode::NOT_FOUND);
    delete(&api, &one()).await;
    let (_, now) = api.get(&format!("{DEFINITIONS}/gadgets.example.org")).await;
    assert_eq!(condition(&now, "NamesAccepted"), "True NoConflicts");
    assert_eq!(condition(&now, "Established"), "True InitialNamesAccepted");
    assert_eq!(api.get(gadgets).await.0, StatusCode::OK);
}

#[tokio::test]
async fn protected_groups_need_a_review() {
    let api = api().await;
    let mut definition = widgets(&json!([version("v1", &free())]));
    definition["metadata"]["name"] = "widgets.sigs.k8s.io".into();
    definition["spec"]["group"] = "sigs.k8s.io".into();
    let (code, refused) = api.create(DEFINITIONS, &definition).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("protected groups must have approval")
    );
    definition["metadata"]["annotations"] =
        json!({"api-approved.kubernetes.io": "https://example.org/review"});
    let made = define(&api, &definition).await;
    let found = condition(&made, "KubernetesAPIApprovalPolicyConformant");
    assert_eq!(found, "True ApprovedAnnotation");
}

#[tokio::test]
async fn faulty_definitions_are_refused_with_every_cause() {
    let api = api().await;
    let cases = [
        (
            "/spec/conversion",
            json!({"strategy": "Webhook"}),
            "spec.conversion.strategy: Unsupported value: \"Webhook\"",
        ),
        (
            "/spec/preserveUnknownFields",
            json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true",
        ),
        (
            "/spec/names/listKind",
            json!("Widget"),
            "kind and listKind may not be the same",
        ),
        (
            "/spec/versions/0/deprecationWarning",
            json!("old"),
            "can only be set for deprecated versions",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.none"}]),
            "does not refer to a valid field",
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".metadata.name"}]),
            "must not point to fields in metadata",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "A", "type": "text", "jsonPath": "spec"}]),
            "must be one of boolean,date,integer,number,string",
        ),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ".status.n"}}),
            "scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/default",
            json!({"size": "x"}),
            "properties[spec].default.size: Invalid value: \"string\"",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/default",
            json!({"more": 1}),
            "properties[spec].default: Invalid value: map[string]interface {}{\"more\":1}: must not have unknown fields",
        ),
    ];
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"}}});
    for (pointer, value, expected) in cases {
        let mut definition = widgets(&json!([version("v1", &spec)]));
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        definition.pointer_mut(parent).unwrap()[field] = value;
        let (code, refused) = api.create(DEFINITIONS, &definition).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{expected}");
        assert!(
            refused["message"].as_str().unwrap().contains(expected),
            "{refused:#}"
        );
        assert_eq!(refused["reason"], "Invalid");
    }
}

#[tokio::test]
async fn a_large_and_deep_definition_is_answered_at_once() {
    let api = api().await;
    let mut spec = json!({"type": "string"});
    for _ in 0..1000 {
        spec = json!({"type": "object", "properties": {"x": spec}});
    }
    let (code, _) = api
        .create(DEFINITIONS, &widgets(&json!([version("v1", &spec)])))
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let field = |n: usize| {
        (
            format!("field-{n}"),
            json!({"type": "string", "maxLength": 9}),
        )
    };
    let fields: serde_json::Map<_, _> = (0..20_000).map(field).collect();
    let spec = json!({"type": "object", "properties": fields});
    define(&api, &widgets(&json!([version("v1", &spec)]))).await;
    let bomb = json!({"type": "object", "properties": {"x": {"type": "string",
        "pattern": "((a{1,1000}){1,1000}){1,1000}"}}});
    let versions = json!({"spec": {"versions": [version("v1", &bomb)]}});
    let (code, refused) = patch(&api, &one(), &versions).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("must be a valid regular expression")
    );
}

#[tokio::test]
async fn a_definition_of_3_mib_is_refused_and_the_largest_one_is_served() {
    let api = api().await;
    let sized = |size: usize| {
        let field = |n: usize| {
            let about = "A long story about the field. ".repeat(30);
            (
                format!("field{n}"),
                json!({"type": "string", "description": about}),
            )
        };
        let fields: serde_json::Map<_, _> = (0..size / 960).map(field).collect();
        let spec = json!({"type": "object", "properties": fields});
        widgets(&json!([version("v1", &spec)]))
    };
    let mib = 1 << 20;
    let body = sized(3 * mib + 256 * 1024);
    assert!(body.to_string().len() > 3 * mib);
    let (code, refused) = api.create(DEFINITIONS, &body).await;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE, "{refused:#}");
    // Such a body may be sent, but is more than one object may be.
    let body = sized(3 * mib - 256 * 1024);
    let (code, refused) = api.create(DEFINITIONS, &body).await;
    assert!(!code.is_success(), "{code}");
    assert_eq!(refused["kind"], "Status");
    assert_eq!(api.get(&one()).await.0, StatusCode::NOT_FOUND);

    define(&api, &sized(mib)).await;
    let (code, _) = api
        .create(WIDGETS, &widget("a", &json!({"field7": "x", "none": 1})))
        .await;
    assert_eq!(code, StatusCode::CREATED);
    let (_, made) = api.get(&format!("{WIDGETS}/a")).await;
    assert_eq!(made["spec"], json!({"field7": "x"}));
}

#[tokio::test]
async fn the_scale_of_an_object_is_read_and_written() {
    let api = api().await;
    let mut scaled = version(
        "v1",
        &json!({"type": "object",
        "properties": {"replicas": {"type": "integer"}, "max": {"type": "integer"}}}),
    );
    scaled["subresources"] = json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}});
    define(&api, &widgets(&json!([scaled]))).await;
    api.create(WIDGETS, &widget("a", &json!({"replicas": 1, "max": 9})))
        .await;
    let status = json!({"status": {"replicas": 1, "selector": "app=a"}});
    patch(&api, &format!("{WIDGETS}/a/status"), &status).await;
    let path = format!("{WIDGETS}/a/scale");
    let (code, mut scale) = api.get(&path).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        (&scale["apiVersion"], &scale["kind"]),
        (&"autoscaling/v1".into(), &"Scale".into())
    );
    assert_eq!(scale["spec"], json!({"replicas": 1}));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=a"}));

    let (code, patched) = patch(&api, &path, &json!({"spec": {"replicas": 3}})).await;
    assert_eq!(
        (code, &patched["spec"]["replicas"]),
        (StatusCode::OK, &json!(3))
    );
    let (_, object) = api.get(&format!("{WIDGETS}/a")).await;
    assert_eq!(object["spec"], json!({"replicas": 3, "max": 9}));
    assert_eq!(object["metadata"]["generation"], 2);
    scale["spec"]["replicas"] = 5.into();
    assert_eq!(put(&api, &path, &scale).await.0, StatusCode::CONFLICT);
    scale["metadata"]["resourceVersion"] = patched["metadata"]["resourceVersion"].clone();
    assert_eq!(put(&api, &path, &scale).await.1["spec"]["replicas"], 5);
    let (code, _) = patch(&api, &path, &json!({"spec": {"replicas": -1}})).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, resources) = api.get("/apis/example.org/v1").await;
    let mut resources = resources["resources"].as_array().unwrap().iter();
    let found = resources
        .find(|resource| resource["name"] == "widgets/scale")
        .unwrap();
    assert_eq!(
        (&found["group"], &found["kind"]),
        (&"autoscaling".into(), &"Scale".into())
    );
}

#[tokio::test]
async fn built_in_workloads_are_scaled_the_same_way() {
    let api = api().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let labels = json!({"app": "a"});
    let deployment = json!({"metadata": {"name": "a"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let (code, made) = api.create(deployments, &deployment).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    let path = format!("{deployments}/a/scale");
    let (_, scale) = api.get(&path).await;
    assert_eq!(scale["spec"], json!({"replicas": 2}));
    assert_eq!(scale["status"], json!({"replicas": 0, "selector": "app=a"}));
    let (code, _) = patch(&api, &path, &json!({"spec": {"replicas": 0}})).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        api.get(&format!("{deployments}/a")).await.1["spec"]["replicas"],
        0
    );
}

#[tokio::test]
async fn conformance_selectable_fields_select_in_lists_watches_and_deletions() {
    let api = api().await;
    let mut coloured = version(
        "v1",
        &json!({"type": "object",
        "properties": {"colour": {"type": "string"}, "size": {"type": "integer"}}}),
    );
    coloured["selectableFields"] =
        json!([{"jsonPath": ".spec.colour"}, {"jsonPath": ".spec.size"}]);
    define(&api, &widgets(&json!([coloured]))).await;
    let blue = format!("{WIDGETS}?fieldSelector=spec.colour%3Dblue");
    let mut stream = watch(&api, &format!("{blue}&watch=true")).await;
    for (name, colour, size) in [("a", "blue", 1), ("b", "red", 2), ("c", "blue", 2)] {
        api.create(
            WIDGETS,
            &widget(name, &json!({"colour": colour, "size": size})),
        )
        .await;
    }
    let names = |list: &Value| {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&api.get(&blue).await.1), ["a", "c"]);
    let both = format!("{WIDGETS}?fieldSelector=spec.colour%3Dblue,spec.size%3D2");
    assert_eq!(names(&api.get(&both).await.1), ["c"]);
    patch(
        &api,
        &format!("{WIDGETS}/a"),
        &json!({"spec": {"colour": "red"}}),
    )
    .await;
    let seen: Vec<_> = lines(&mut stream, 3)
        .await
        .iter()
        .map(|e| e["type"].clone())
        .collect();
    assert_eq!(seen, ["ADDED", "ADDED", "DELETED"]);
    api.send(Request::delete(&blue), "").await;
    assert_eq!(names(&api.get(WIDGETS).await.1), ["a", "b"]);
    let (code, refused) = api
        .get(&format!("{WIDGETS}?fieldSelector=spec.other%3Dx"))
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("field label not supported: spec.other")
    );
    let (_, document) = api.get("/openapi/v3/apis/example.org/v1").await;
    let schema = &document["components"]["schemas"]["org.example.v1.Widget"];
    let field = &schema["x-kubernetes-selectable-fields"][0];
    assert_eq!(field["fieldPath"], "spec.colour");
}

#[tokio::test]
async fn an_update_is_not_held_to_what_it_leaves_alone() {
    let api = api().await;
    let open = json!({"type": "object", "properties": {"name": {"type": "string"},
        "size": {"type": "integer"}, "list": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "required": ["k"],
                "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}}}});
    define(&api, &widgets(&json!([version("v1", &open)]))).await;
    let spec = json!({"name": "Long Name", "size": 1,
        "list": [{"k": "a", "v": 50}, {"k": "b", "v": 1}]});
    api.create(WIDGETS, &widget("a", &spec)).await;
    let mut strict = open;
    strict["properties"]["name"]["maxLength"] = 4.into();
    strict["properties"]["list"]["items"]["properties"]["v"]["maximum"] = 10.into();
    patch(
        &api,
        &one(),
        &json!({"spec": {"versions": [version("v1", &strict)]}}),
    )
    .await;
    let path = format!("{WIDGETS}/a");
    let change = async |spec: Value| patch(&api, &path, &json!({"spec": spec})).await.0;
    assert_eq!(change(json!({"size": 2})).await, StatusCode::OK);
    let list = json!([{"k": "b", "v": 2}, {"k": "a", "v": 50}]);
    assert_eq!(change(json!({"list": list})).await, StatusCode::OK);
    let list = json!([{"k": "b", "v": 2}, {"k": "a", "v": 51}]);
    assert_eq!(
        change(json!({"list": list})).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        change(json!({"name": "Other Name"})).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let (code, _) = api.create(WIDGETS, &widget("b", &spec)).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn status_is_a_part_of_its_own_only_where_it_is_said_to_be() {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    let mut object = widget("a", &json!({}));
    object["status"] = json!({"phase": "Ready"});
    let (_, made) = api.create(WIDGETS, &object).await;
    assert_eq!(made["status"], json!({"phase": "Ready"}));
    let status = json!({"status": {"phase": "Gone"}});
    let (_, changed) = patch(&api, &format!("{WIDGETS}/a"), &status).await;
    assert_eq!(changed["metadata"]["generation"], 2);
    let (code, _) = patch(&api, &format!("{WIDGETS}/a/status"), &status).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn values_of_the_dialect_are_checked_as_kubernetes_checks_them() {
    let api = api().await;
    let spec = json!({"type": "object", "properties": {
        "whole": {"type": "integer"}, "either": {"x-kubernetes-int-or-string": true},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "maybe": {"type": "string", "nullable": true, "default": "d"},
        "never": {"type": "string", "default": "d"},
        "when": {"type": "string", "format": "date-time"}, "odd": {"type": "string", "format": "odd"},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}}});
    define(&api, &widgets(&json!([version("v1", &spec)]))).await;
    let good = json!({"whole": 3.0, "either": "x", "set": ["a", "b"], "maybe": null, "never": null,
        "odd": "anything", "template": {"apiVersion": "v1", "kind": "Pod", "any": 1}});
    let (code, made) = api.create(WIDGETS, &widget("good", &good)).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    assert_eq!(
        (&made["spec"]["maybe"], &made["spec"]["never"]),
        (&Value::Null, &json!("d"))
    );
    let cases = [
        (
            json!({"whole": 3.5}),
            "spec.whole: Invalid value: \"number\": spec.whole in body must be of type integer: \"number\"",
        ),
        (
            json!({"set": ["a", "a"]}),
            "spec.set[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"when": "soon"}),
            "spec.when in body must be of type date-time",
        ),
        (
            json!({"template": {"kind": "Pod"}}),
            "spec.template.apiVersion: Required value: must not be empty",
        ),
    ];
    for (spec, expected) in cases {
        let (code, refused) = api.create(WIDGETS, &widget("bad", &spec)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            refused["message"].as_str().unwrap().contains(expected),
            "{refused:#}"
        );
    }
}

#[tokio::test]
async fn a_definition_that_serves_nothing_still_cleans_up() {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    api.create(WIDGETS, &widget("a", &json!({}))).await;
    let mut hidden = version("v1", &free());
    hidden["served"] = false.into();
    let (code, _) = patch(&api, &one(), &json!({"spec": {"versions": [hidden]}})).await;
    assert_eq!(code, StatusCode::OK);
    delete(&api, &one()).await;
    assert_eq!(api.get(&one()).await.0, StatusCode::NOT_FOUND);
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    assert_eq!(api.get(WIDGETS).await.1["items"], json!([]));
}

#[tokio::test]
async fn many_watches_end_together() {
    let api = api().await;
    define(&api, &widgets(&json!([version("v1", &free())]))).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(watch(&api, &format!("{WIDGETS}?watch=true")).await);
    }
    delete(&api, &one()).await;
    let ends = futures::stream::iter(streams).map(|mut stream| async move { stream.frame().await });
    let ends: Vec<_> = ends.buffer_unordered(20).collect().await;
    assert!(ends.iter().all(Option::is_none));
}
