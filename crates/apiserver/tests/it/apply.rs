//! Server-side apply. Tests named "should …" show published conformance behaviour.

use http::{Request, StatusCode};
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};
use crate::support::Cluster;

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JOBS: &str = "/apis/example.org/v1/namespaces/default/cronthings";

async fn started() -> Api {
    Api::start(Extensions::default()).await
}

/// Sends a patch; `query` begins behind the `?`.
async fn patch(
    api: &Api,
    path: &str,
    media_type: &str,
    query: &str,
    body: &Value,
) -> (StatusCode, Value) {
    let request = Request::patch(format!("{path}?{query}")).header("content-type", media_type);
    read(api.send(request, body.to_string()).await).await
}

async fn apply(api: &Api, path: &str, query: &str, config: &Value) -> (StatusCode, Value) {
    patch(api, path, "application/apply-patch+yaml", query, config).await
}

/// Applies as a manager, which must succeed.
async fn applied(api: &Api, path: &str, manager: &str, config: &Value) -> Value {
    let (code, object) = apply(api, path, &format!("fieldManager={manager}"), config).await;
    assert!(code.is_success(), "{object:#}");
    object
}

async fn merged(api: &Api, path: &str, manager: &str, change: &Value) -> Value {
    let query = format!("fieldManager={manager}");
    let (code, object) = patch(api, path, "application/merge-patch+json", &query, change).await;
    assert_eq!(code, StatusCode::OK, "{object:#}");
    object
}

fn config(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn pod(labels: &Value, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]},
    })
}

/// Managers, operations, subresources and fields of an object.
fn owners(object: &Value) -> Vec<(String, String, String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |entry: &Value| {
        assert_eq!(entry["fieldsType"], "FieldsV1");
        assert!(entry["time"].is_string());
        (
            text(&entry["manager"]),
            text(&entry["operation"]),
            text(&entry["subresource"]),
            entry["fieldsV1"].clone(),
        )
    };
    entries.into_iter().flatten().map(row).collect()
}

fn row(manager: &str, operation: &str, fields: Value) -> (String, String, String, Value) {
    (manager.into(), operation.into(), String::new(), fields)
}

async fn define_job(api: &Api) {
    let ports = json!({
        "type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "items": {"type": "object", "required": ["containerPort", "protocol"], "properties": {
            "containerPort": {"type": "integer"}, "protocol": {"type": "string"},
            "name": {"type": "string"},
        }},
    });
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"cronSpec": {"type": "string"}, "ports": ports}},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}},
        })
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "cronthings.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "CronThing", "plural": "cronthings"},
            "versions": [version("v1", true), version("v1beta1", false)]},
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, made) = api.create(path, &definition).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
}

fn job(version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("example.org/{version}"), "kind": "CronThing",
        "metadata": {"name": "j"}, "spec": spec,
    })
}

#[tokio::test]
async fn should_create_an_applied_object_if_it_does_not_already_exist() {
    let api = started().await;
    let path = format!("{PODS}/p");
    let (code, made) = apply(&api, &path, "fieldManager=m", &pod(&json!({"a": "b"}), "i")).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    assert_eq!(api.get(&path).await.0, StatusCode::OK);
    let fields = json!({
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
            ".": {}, "f:name": {}, "f:image": {},
            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                ".": {}, "f:containerPort": {},
            }},
        }}},
    });
    assert_eq!(owners(&made), [row("m", "Apply", fields)]);
    // The same again changes nothing.
    let (code, again) = apply(&api, &path, "fieldManager=m", &pod(&json!({"a": "b"}), "i")).await;
    assert_eq!((code, again), (StatusCode::OK, made));
}

#[tokio::test]
async fn should_work_for_subresources() {
    let api = started().await;
    let path = format!("{PODS}/p");
    applied(&api, &path, "m", &pod(&json!({"a": "b"}), "i")).await;
    let mut status = pod(&json!({"ignored": "x"}), "other");
    status["status"] = json!({"conditions": [{"type": "MyStatus", "status": "True"}]});
    let shown = applied(&api, &format!("{path}/status"), "agent", &status).await;
    assert_eq!(shown["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(shown["spec"]["containers"][0]["image"], "i");
    let conditions = json!({"f:status": {"f:conditions": {"k:{\"type\":\"MyStatus\"}": {
        ".": {}, "f:status": {}, "f:type": {},
    }}}});
    let expected = ("agent".into(), "Apply".into(), "status".into(), conditions);
    assert!(owners(&shown).contains(&expected), "{shown:#}");
    // What an apply to the object itself says of its status does not count.
    let shown = applied(&api, &path, "m", &status).await;
    assert_eq!(shown["status"]["conditions"][0]["type"], "MyStatus");
    assert!(owners(&shown).contains(&expected));
    assert!(
        owners(&shown)
            .iter()
            .any(|(manager, .., fields)| { manager == "m" && fields.get("f:status").is_none() })
    );
}

#[tokio::test]
async fn should_remove_a_field_if_it_is_owned_but_removed_in_the_apply_request() {
    let api = started().await;
    let path = format!("{PODS}/p");
    applied(
        &api,
        &path,
        "m",
        &pod(&json!({"app": "a", "gone": "x"}), "i"),
    )
    .await;
    let shown = applied(&api, &path, "m", &pod(&json!({"app": "a"}), "i")).await;
    assert_eq!(shown["metadata"]["labels"], json!({"app": "a"}));
    let mut bare = pod(&json!({}), "i");
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    let shown = applied(&api, &path, "m", &bare).await;
    assert!(shown["metadata"].get("labels").is_none());
}

#[tokio::test]
async fn should_not_remove_a_field_if_an_owner_unsets_the_field_but_other_managers_still_have_ownership_of_the_field()
 {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    applied(&api, &path, "one", &config(&json!({"x": "1", "y": "2"}))).await;
    applied(&api, &path, "two", &config(&json!({"x": "1"}))).await;
    let shown = applied(&api, &path, "one", &config(&json!({"y": "2"}))).await;
    assert_eq!(shown["data"], json!({"x": "1", "y": "2"}));
    let shown = applied(&api, &path, "two", &config(&json!({}))).await;
    assert_eq!(shown["data"], json!({"y": "2"}));
}

#[tokio::test]
async fn should_ignore_conflict_errors_if_force_apply_is_used() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    applied(&api, &path, "one", &config(&json!({"x": "1", "y": "1"}))).await;
    let theirs = config(&json!({"x": "2", "y": "1"}));
    let (code, status) = apply(&api, &path, "fieldManager=two", &theirs).await;
    assert_eq!(
        (code, &status["reason"]),
        (StatusCode::CONFLICT, &json!("Conflict"))
    );
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .data.x"
    );
    assert_eq!(
        status["details"],
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"one\"",
                           "field": ".data.x"}]})
    );
    let (code, shown) = apply(&api, &path, "fieldManager=two&force=true", &theirs).await;
    assert_eq!((code, &shown["data"]["x"]), (StatusCode::OK, &json!("2")));
    let both = json!({"f:data": {"f:x": {}, "f:y": {}}});
    let left = json!({"f:data": {"f:y": {}}});
    let expected = [row("one", "Apply", left), row("two", "Apply", both)];
    assert_eq!(owners(&shown), expected);
}

#[tokio::test]
async fn should_work_for_crds() {
    let api = started().await;
    define_job(&api).await;
    let path = format!("{JOBS}/j");
    let ports = |name: &str| json!([{"name": name, "containerPort": 80, "protocol": "TCP"}]);
    let wanted = job("v1", &json!({"replicas": 1, "ports": ports("x")}));
    let (code, made) = apply(&api, &path, "fieldManager=m", &wanted).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    merged(&api, &path, "scaler", &json!({"spec": {"replicas": 5}})).await;
    let (code, status) = apply(&api, &path, "fieldManager=m", &wanted).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"scaler\" using example.org/v1: .spec.replicas"
    );
    let (code, shown) = apply(&api, &path, "fieldManager=m&force=true", &wanted).await;
    assert_eq!(
        (code, &shown["spec"]["replicas"]),
        (StatusCode::OK, &json!(1))
    );

    // Elements of a list come from several managers.
    let more = json!([{"name": "y", "containerPort": 8080, "protocol": "TCP"}]);
    let shown = applied(&api, &path, "two", &job("v1", &json!({"ports": more}))).await;
    assert_eq!(shown["spec"]["ports"].as_array().unwrap().len(), 2);

    // Through a subresource nobody can say who owns what; through the object everybody can.
    let claims = json!([{"manager": "liar", "operation": "Apply", "apiVersion": "example.org/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    let change = json!({"metadata": {"managedFields": claims}});
    let shown = merged(&api, &format!("{path}/status"), "x", &change).await;
    assert!(owners(&shown).iter().all(|(manager, ..)| manager != "liar"));
    let (_, shown) = patch(&api, &path, "application/merge-patch+json", "", &change).await;
    let managers = shown["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 1);
    assert_eq!(managers[0]["manager"], "liar");
}

#[tokio::test]
async fn ownership_moves_to_an_autoscaler_as_the_documentation_shows() {
    let api = started().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/nginx";
    let deployment = |spec: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nginx"},
               "spec": spec})
    };
    let template = json!({"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": [
        {"name": "nginx", "image": "nginx:1.14.2"}]}});
    let selector = json!({"matchLabels": {"app": "nginx"}});
    let whole = json!({"replicas": 3, "selector": selector, "template": template});
    let mut rest = whole.clone();
    rest.as_object_mut().unwrap().remove("replicas");
    applied(&api, path, "kubectl", &deployment(whole)).await;

    // Whoever hands the field over owns it together with its owner, who can then let go of it.
    let replicas = deployment(json!({"replicas": 3}));
    applied(&api, path, "handover-to-hpa", &replicas).await;
    let shown = applied(&api, path, "kubectl", &deployment(rest.clone())).await;
    assert_eq!(shown["spec"]["replicas"], 3);
    let shown = merged(&api, path, "autoscaler", &json!({"spec": {"replicas": 5}})).await;
    assert!(
        owners(&shown)
            .iter()
            .all(|(manager, ..)| manager != "handover-to-hpa")
    );
    let shown = applied(&api, path, "kubectl", &deployment(rest)).await;
    assert_eq!(shown["spec"]["replicas"], 5);
    let (code, status) = apply(&api, path, "fieldManager=handover-to-hpa", &replicas).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"autoscaler\" using apps/v1: .spec.replicas"
    );
}

#[tokio::test]
async fn several_conflicts_are_told_by_manager() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    applied(&api, &path, "one", &config(&json!({"x": "1", "y": "1"}))).await;
    merged(&api, &path, "two", &json!({"data": {"z": "1"}})).await;
    let (code, status) = apply(
        &api,
        &path,
        "fieldManager=m",
        &config(&json!({"x": "2", "y": "2", "z": "2"})),
    )
    .await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        status["message"],
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.x\n- .data.y\nconflicts \
         with \"two\" using v1:\n- .data.z"
    );
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_one_value_has_one_owner() {
    let api = started().await;
    let path = format!("{PODS}/p");
    let mut placed = pod(&json!({}), "i");
    placed["spec"]["nodeSelector"] = json!({"a": "1"});
    placed["metadata"].as_object_mut().unwrap().remove("labels");
    let shown = applied(&api, &path, "m", &placed).await;
    let fields = &owners(&shown)[0].3["f:spec"];
    assert_eq!(fields["f:nodeSelector"], json!({}));

    // A volume's claim is not: the binder adds to what the user says, and they stay friends.
    let path = "/api/v1/persistentvolumes/v";
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
        "spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/v"}, "claimRef": {"name": "c", "namespace": "default"}},
    });
    applied(&api, path, "m", &volume).await;
    merged(
        &api,
        path,
        "binder",
        &json!({"spec": {"claimRef": {"uid": "1234"}}}),
    )
    .await;
    let before = api.server.revision();
    let shown = applied(&api, path, "m", &volume).await;
    assert_eq!(shown["spec"]["claimRef"]["uid"], "1234");
    assert_eq!(
        api.server.revision(),
        before,
        "another spelling of a quantity is no change"
    );
}

#[tokio::test]
async fn a_null_asks_for_nothing_to_be_there() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    let mut wanted = config(&json!({"x": null, "y": "1"}));
    wanted["metadata"]["creationTimestamp"] = Value::Null;
    wanted["metadata"]["labels"] = Value::Null;
    let shown = applied(&api, &path, "m", &wanted).await;
    assert_eq!(shown["data"], json!({"y": "1"}));
    assert_eq!(
        owners(&shown),
        [row("m", "Apply", json!({"f:data": {"f:y": {}}}))]
    );
}

#[tokio::test]
async fn updates_own_what_they_change() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    let request = Request::post(CONFIGS).header("user-agent", "maker/v1.2 (linux)");
    let body = config(&json!({"x": "1", "y": "1"})).to_string();
    let (_, made) = read(api.send(request, body).await).await;
    let fields = json!({"f:data": {".": {}, "f:x": {}, "f:y": {}}});
    assert_eq!(owners(&made), [row("maker", "Update", fields)]);

    let shown = merged(
        &api,
        &path,
        "fixer",
        &json!({"data": {"x": "2", "y": null, "z": "3"}}),
    )
    .await;
    let expected = [
        row("fixer", "Update", json!({"f:data": {"f:x": {}, "f:z": {}}})),
        row("maker", "Update", json!({"f:data": {}})),
    ];
    let mut found = owners(&shown);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, expected);

    // A write that changes nothing is none.
    let again = merged(&api, &path, "idler", &json!({"data": {"x": "2"}})).await;
    assert_eq!(again, shown);
}

#[tokio::test]
async fn many_updaters_become_few() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    api.create(CONFIGS, &config(&json!({"x": "1"}))).await;
    let mut shown = Value::Null;
    for n in 0..20 {
        let change = json!({"data": {format!("k{n}"): "v"}});
        shown = merged(&api, &path, &format!("m{n:02}"), &change).await;
    }
    let found = owners(&shown);
    assert_eq!(found.len(), 10);
    assert!(
        found
            .iter()
            .any(|(manager, ..)| manager == "ancient-changes")
    );
    let owned: usize = found
        .iter()
        .map(|(.., fields)| {
            fields["f:data"]
                .as_object()
                .unwrap()
                .keys()
                .filter(|k| *k != ".")
                .count()
        })
        .sum();
    assert_eq!(owned, 21);
}

#[tokio::test]
async fn ownership_can_be_given_up_and_starts_again_with_an_apply() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    let mut made = api.create(CONFIGS, &config(&json!({"x": "1"}))).await.1;
    // Clients that know nothing of owners do not delete them by accident.
    for nothing in [json!([]), Value::Null, json!("x")] {
        made["metadata"]["managedFields"] = nothing;
        made["metadata"]["resourceVersion"] = "".into();
        let request = Request::put(&path);
        let (code, shown) = read(api.send(request, made.to_string()).await).await;
        assert!(
            code == StatusCode::BAD_REQUEST || owners(&shown).len() == 1,
            "{shown:#}"
        );
    }
    let shown = merged(
        &api,
        &path,
        "m",
        &json!({"metadata": {"managedFields": [{}]}}),
    )
    .await;
    assert_eq!(shown["metadata"].get("managedFields"), None);
    let shown = merged(&api, &path, "m", &json!({"data": {"y": "1"}})).await;
    assert_eq!(shown["metadata"].get("managedFields"), None);

    let (code, status) = apply(&api, &path, "fieldManager=m", &config(&json!({"y": "2"}))).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.y"
    );
    let shown = applied(&api, &path, "m", &config(&json!({"y": "1"}))).await;
    let expected = [
        row("m", "Apply", json!({"f:data": {"f:y": {}}})),
        row(
            "before-first-apply",
            "Update",
            json!({"f:data": {".": {}, "f:x": {}, "f:y": {}}}),
        ),
    ];
    assert_eq!(owners(&shown), expected);
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused_with_the_reason() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    let good = config(&json!({"x": "1"}));
    let refused = async |query: &str, config: &Value| {
        let (code, status) = apply(&api, &path, query, config).await;
        (
            code.as_u16(),
            status["message"].as_str().unwrap().to_owned(),
        )
    };
    let (code, message) = refused("", &good).await;
    assert_eq!(code, 422);
    assert_eq!(
        message,
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for \
         apply patch"
    );
    let (code, message) = refused("fieldManager=a%0Ab", &good).await;
    assert_eq!(code, 422);
    assert!(
        message.contains("invalid character U+000A (at position 1)"),
        "{message}"
    );
    let (code, message) = refused(&format!("fieldManager={}", "x".repeat(129)), &good).await;
    assert_eq!(code, 422);
    assert!(
        message.contains("may not be more than 128 bytes"),
        "{message}"
    );

    let mut other = good.clone();
    other["kind"] = "Secret".into();
    let (code, message) = refused("fieldManager=m", &other).await;
    assert_eq!(
        (code, message.as_str()),
        (400, "invalid object type: /v1, Kind=Secret")
    );
    let mut other = good.clone();
    other["metadata"]["managedFields"] = json!([]);
    let (code, message) = refused("fieldManager=m", &other).await;
    assert_eq!(
        (code, message.as_str()),
        (400, "metadata.managedFields must be nil")
    );
    let mut other = good.clone();
    other["dada"] = json!({});
    let (code, message) = refused("fieldManager=m&fieldValidation=Ignore", &other).await;
    assert_eq!(code, 400);
    assert_eq!(
        message,
        "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .dada: field not \
         declared in schema"
    );
    let mut other = good.clone();
    other["metadata"]["name"] = "b".into();
    assert_eq!(refused("fieldManager=m", &other).await.0, 400);
    let mut other = good.clone();
    other["metadata"]["uid"] = "1234".into();
    let (code, message) = refused("fieldManager=m", &other).await;
    assert_eq!(code, 409);
    assert!(
        message.contains("no existing object was found"),
        "{message}"
    );
    applied(&api, &path, "m", &good).await;
    assert_eq!(refused("fieldManager=m", &other).await.0, 409);
    let mut other = good.clone();
    other["metadata"]["resourceVersion"] = "1".into();
    let (code, message) = refused("fieldManager=m", &other).await;
    assert_eq!(code, 409);
    assert!(
        message.contains("the object has been modified"),
        "{message}"
    );

    let (code, status) = patch(
        &api,
        &path,
        "application/merge-patch+json",
        "force=true",
        &good,
    )
    .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("force: Forbidden: may not be specified for non-apply patch"),
        "{message}"
    );
    for media_type in ["application/apply-patch+cbor", "text/plain"] {
        let (code, status) = patch(&api, &path, media_type, "fieldManager=m", &good).await;
        assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(
            status["message"],
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, \
             application/strategic-merge-patch+json, application/apply-patch+yaml"
        );
    }
}

#[tokio::test]
async fn elements_that_cannot_be_told_apart_are_refused() {
    let api = started().await;
    let path = format!("{PODS}/p");
    let mut twice = pod(&json!({}), "i");
    twice["spec"]["containers"] = json!([{"name": "c", "image": "a"}, {"name": "c", "image": "b"},
        {"image": "x"}]);
    let (code, status) = apply(&api, &path, "fieldManager=m", &twice).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        status["message"],
        "failed to create typed patch object (default/p; /v1, Kind=Pod): errors:\n  \
         .spec.containers: duplicate entries for key [name=\"c\"]\n  \
         .spec.containers: element 2: associative list with keys has an element that omits key \
         field \"name\" (and doesn't have default value)"
    );
}

#[tokio::test]
async fn a_dry_run_shows_what_an_apply_would_do() {
    let api = started().await;
    let path = format!("{CONFIGS}/a");
    let before = api.server.revision();
    let wanted = config(&json!({"x": "1"}));
    let (code, shown) = apply(&api, &path, "fieldManager=m&dryRun=All", &wanted).await;
    assert_eq!(
        (code, &shown["data"]["x"]),
        (StatusCode::CREATED, &json!("1"))
    );
    assert_eq!(owners(&shown).len(), 1);
    assert_eq!(api.server.revision(), before);
    assert_eq!(api.get(&path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn yaml_is_what_is_applied() {
    let api = started().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: y\n  x: z\n";
    let send = async |query: &str, text: &str| {
        let request = Request::patch(format!("{CONFIGS}/a?fieldManager=m{query}"))
            .header("content-type", "application/apply-patch+yaml");
        read(api.send(request, text.to_owned()).await).await
    };
    let (code, status) = send("&fieldValidation=Strict", text).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("strict decoding"),
        "{status}"
    );
    let (code, shown) = send("", text).await;
    assert_eq!(
        (code, &shown["data"]),
        (StatusCode::CREATED, &json!({"x": "z"}))
    );
    let (code, status) = send("", "a: [").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with("error decoding YAML"),
        "{status}"
    );
}

#[tokio::test]
async fn versions_of_a_kind_share_their_owners() {
    let api = started().await;
    define_job(&api).await;
    let path = format!("{JOBS}/j");
    let old_path = path.replace("/v1/", "/v1beta1/");
    applied(&api, &path, "m", &job("v1", &json!({"a": 1, "b": 1}))).await;
    merged(&api, &old_path, "fixer", &json!({"spec": {"a": 2}})).await;
    let (code, status) = apply(
        &api,
        &path,
        "fieldManager=m",
        &job("v1", &json!({"a": 1, "b": 1})),
    )
    .await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("\"fixer\" using example.org/v1beta1: .spec.a"),
        "{status}"
    );
    let shown = applied(&api, &old_path, "m", &job("v1beta1", &json!({"a": 2}))).await;
    assert_eq!(shown["spec"], json!({"a": 2}));
    let managers = shown["metadata"]["managedFields"].as_array().unwrap();
    let versions: Vec<_> = managers.iter().map(|entry| &entry["apiVersion"]).collect();
    assert_eq!(versions, ["example.org/v1beta1", "example.org/v1beta1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_definitions_on_the_server() {
    const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org, creationTimestamp: null}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: 'self.size > 0', message: too small}
            properties:
              size: {type: integer, default: 1, enum: [1, 2]}
              port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              names: {type: array, x-kubernetes-list-type: set, items: {type: string}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              map: {type: object, additionalProperties: {type: string, nullable: true}}
";
    let cluster = Cluster::start().await;
    let side = ["apply", "--server-side", "-f", "-"];
    let made = cluster.feed(&side, DEFINITION).await;
    assert!(made.success, "{}", made.stderr);
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd/gadgets.example.org",
    ];
    cluster.ok(&wait).await;
    let version = [
        "get",
        "crd",
        "gadgets.example.org",
        "-o",
        "jsonpath={.metadata.resourceVersion}",
    ];
    let before = cluster.ok(&version).await;
    cluster.feed(&side, DEFINITION).await;
    assert_eq!(cluster.ok(&version).await, before);

    let gadget = "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: g}\n\
                  spec: {names: [a], free: {x: [1]}, port: 80}\n";
    let made = cluster.feed(&side, gadget).await;
    assert!(made.success, "{}", made.stderr);
    let more = gadget.replace("[a]", "[b]").replace(", port: 80", "");
    let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let made = cluster.feed(&other, &more).await;
    assert!(made.success, "{}", made.stderr);
    let names = [
        "get",
        "gadget",
        "g",
        "-o",
        "jsonpath={.spec.names} {.spec.size}",
    ];
    assert_eq!(cluster.ok(&names).await, r#"["a","b"] 1"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_on_either_side() {
    let cluster = Cluster::start().await;
    let first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1', z: '1'}\n";
    let second = first.replace(", z: '1'", "").replace("x: '1'", "x: '2'");
    let feed = async |arguments: &[&str], manifest: &str| {
        let answer = cluster.feed(arguments, manifest).await;
        assert!(answer.success, "{arguments:?}: {}", answer.stderr);
        answer.stdout
    };
    let side = ["apply", "--server-side", "-f", "-"];
    feed(&["apply", "-f", "-"], first).await;
    assert_eq!(
        feed(&side, &second).await,
        "configmap/a serverside-applied\n"
    );
    let data = ["get", "cm", "a", "-o", "jsonpath={.data}"];
    assert_eq!(cluster.ok(&data).await, r#"{"x":"2"}"#);
    let shown = cluster
        .ok(&["get", "cm", "a", "-o", "json", "--show-managed-fields"])
        .await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let managers: Vec<_> = owners(&shown)
        .into_iter()
        .map(|owner| (owner.0, owner.3))
        .collect();
    assert!(
        managers.contains(&("kubectl".into(), json!({"f:data": {"f:x": {}}}))),
        "{managers:#?}"
    );
    let note =
        &shown["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert!(note.as_str().unwrap().contains(r#""x":"2""#), "{note}");

    // And back to the client's side.
    feed(&["apply", "-f", "-"], first).await;
    assert_eq!(cluster.ok(&data).await, r#"{"x":"1","z":"1"}"#);

    let (first, second) = (
        first.replace("name: a", "name: b"),
        second.replace("name: a", "name: b"),
    );
    feed(&side, &first).await;
    let data = ["get", "cm", "b", "-o", "jsonpath={.data}"];
    let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let refused = cluster.feed(&other, &second).await;
    assert!(!refused.success);
    assert!(
        refused
            .stderr
            .contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.x"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("--force-conflicts"),
        "{}",
        refused.stderr
    );
    let diff = [
        "diff",
        "--server-side",
        "--field-manager=other",
        "--force-conflicts",
        "-f",
        "-",
    ];
    let diff = cluster.feed(&diff, &second).await;
    assert!(
        diff.stdout.contains("+  x: \"2\""),
        "{}{}",
        diff.stdout,
        diff.stderr
    );
    let force = [
        "apply",
        "--server-side",
        "--field-manager=other",
        "--force-conflicts",
        "-f",
        "-",
    ];
    feed(&force, &second).await;
    assert_eq!(cluster.ok(&data).await, r#"{"x":"2","z":"1"}"#);
    assert!(
        !cluster
            .ok(&["get", "cm", "b", "-o", "yaml"])
            .await
            .contains("managedFields")
    );
}
