//! The worked examples of the patch formats' own specifications, through the API.

use http::{Request, StatusCode};
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};

const THINGS: &str = "/apis/example.org/v1/namespaces/default/things";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A server with a kind that takes any document as its spec.
async fn started() -> Api {
    let api = Api::start(Extensions::default()).await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "x-kubernetes-preserve-unknown-fields": true}}}}}]},
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, made) = api.create(path, &definition).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    api
}

async fn patch(
    api: &Api,
    path: &str,
    format: &str,
    body: impl Into<String>,
) -> (StatusCode, Value) {
    let media_type = format!("application/{format}-patch+json");
    let request = Request::patch(path).header("content-type", media_type);
    read(api.send(request, body.into()).await).await
}

/// Makes a thing with a document in it, patches it, and returns the answer.
async fn patched(
    api: &Api,
    name: &str,
    document: &Value,
    format: &str,
    body: String,
) -> (StatusCode, Value) {
    let thing = json!({"apiVersion": "example.org/v1", "kind": "Thing",
        "metadata": {"name": name}, "spec": {"d": document}});
    let (code, made) = api.create(THINGS, &thing).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    patch(api, &format!("{THINGS}/{name}"), format, body).await
}

/// RFC 6902, appendix A: document, patch, result; without a result the patch fails.
fn json_patches() -> Vec<(&'static str, Value, &'static str, Option<Value>)> {
    vec![
        (
            "a1",
            json!({"foo": "bar"}),
            r#"[{"op": "add", "path": "/spec/d/baz", "value": "qux"}]"#,
            Some(json!({"baz": "qux", "foo": "bar"})),
        ),
        (
            "a2",
            json!({"foo": ["bar", "baz"]}),
            r#"[{"op": "add", "path": "/spec/d/foo/1", "value": "qux"}]"#,
            Some(json!({"foo": ["bar", "qux", "baz"]})),
        ),
        (
            "a3",
            json!({"baz": "qux", "foo": "bar"}),
            r#"[{"op": "remove", "path": "/spec/d/baz"}]"#,
            Some(json!({"foo": "bar"})),
        ),
        (
            "a4",
            json!({"foo": ["bar", "qux", "baz"]}),
            r#"[{"op": "remove", "path": "/spec/d/foo/1"}]"#,
            Some(json!({"foo": ["bar", "baz"]})),
        ),
        (
            "a5",
            json!({"baz": "qux", "foo": "bar"}),
            r#"[{"op": "replace", "path": "/spec/d/baz", "value": "boo"}]"#,
            Some(json!({"baz": "boo", "foo": "bar"})),
        ),
        (
            "a6",
            json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
            r#"[{"op": "move", "from": "/spec/d/foo/waldo", "path": "/spec/d/qux/thud"}]"#,
            Some(json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
        ),
        (
            "a7",
            json!({"foo": ["all", "grass", "cows", "eat"]}),
            r#"[{"op": "move", "from": "/spec/d/foo/1", "path": "/spec/d/foo/3"}]"#,
            Some(json!({"foo": ["all", "cows", "eat", "grass"]})),
        ),
        (
            "a8",
            json!({"baz": "qux", "foo": ["a", 2, "c"]}),
            r#"[{"op": "test", "path": "/spec/d/baz", "value": "qux"},
                {"op": "test", "path": "/spec/d/foo/1", "value": 2}]"#,
            Some(json!({"baz": "qux", "foo": ["a", 2, "c"]})),
        ),
        (
            "a9",
            json!({"baz": "qux"}),
            r#"[{"op": "test", "path": "/spec/d/baz", "value": "bar"}]"#,
            None,
        ),
        (
            "a10",
            json!({"foo": "bar"}),
            r#"[{"op": "add", "path": "/spec/d/child", "value": {"grandchild": {}}}]"#,
            Some(json!({"foo": "bar", "child": {"grandchild": {}}})),
        ),
        (
            "a11",
            json!({"foo": "bar"}),
            r#"[{"op": "add", "path": "/spec/d/baz", "value": "qux", "xyz": 123}]"#,
            Some(json!({"foo": "bar", "baz": "qux"})),
        ),
        (
            "a12",
            json!({"foo": "bar"}),
            r#"[{"op": "add", "path": "/spec/d/baz/bat", "value": "qux"}]"#,
            None,
        ),
        (
            "a13",
            json!({"foo": "bar"}),
            r#"[{"op": "add", "path": "/spec/d/baz", "value": "qux", "op": "remove"}]"#,
            None,
        ),
        (
            "a14",
            json!({"/": 9, "~1": 10}),
            r#"[{"op": "test", "path": "/spec/d/~01", "value": 10}]"#,
            Some(json!({"/": 9, "~1": 10})),
        ),
        (
            "a15",
            json!({"/": 9, "~1": 10}),
            r#"[{"op": "test", "path": "/spec/d/~01", "value": "10"}]"#,
            None,
        ),
        (
            "a16",
            json!({"foo": ["bar"]}),
            r#"[{"op": "add", "path": "/spec/d/foo/-", "value": ["abc", "def"]}]"#,
            Some(json!({"foo": ["bar", ["abc", "def"]]})),
        ),
    ]
}

#[tokio::test]
async fn rfc_6902_appendix_a() {
    let api = started().await;
    for (name, document, body, expected) in json_patches() {
        let (code, answer) = patched(&api, name, &document, "json", body.to_owned()).await;
        if let Some(expected) = expected {
            let shown = (code, &answer["spec"]["d"]);
            assert_eq!(shown, (StatusCode::OK, &expected), "{name}");
        } else {
            assert!(matches!(code.as_u16(), 400 | 422), "{name}: {answer}");
            let (_, present) = api.get(&format!("{THINGS}/{name}")).await;
            assert_eq!(present["spec"]["d"], document);
        }
    }
}

#[tokio::test]
async fn rfc_7386_appendix_a() {
    let api = started().await;
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!([1, 2]),
            json!({"a": "b", "c": null}),
            json!({"a": "b"}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ];
    for (index, (document, change, expected)) in cases.into_iter().enumerate() {
        let body = json!({"spec": {"d": change}}).to_string();
        let (code, answer) = patched(&api, &format!("c{index}"), &document, "merge", body).await;
        assert_eq!(
            (code, &answer["spec"]["d"]),
            (StatusCode::OK, &expected),
            "{index}"
        );
    }
}

/// The Deployment of the Kubernetes documentation, "Update API Objects in Place Using kubectl
/// patch".
fn demo(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "nginx"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "30%"}},
            "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {
                "containers": [{"name": format!("{name}-ctr"), "image": image}],
                "tolerations": [{"effect": "NoSchedule", "key": "dedicated", "value": "test-team"}],
            }},
        },
    })
}

#[tokio::test]
async fn lists_are_merged_or_replaced_as_the_documentation_shows() {
    let api = Api::start(Extensions::default()).await;
    let (code, made) = api.create(DEPLOYMENTS, &demo("patch-demo", "nginx")).await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    let path = format!("{DEPLOYMENTS}/patch-demo");
    let names = |object: &Value| -> Vec<String> {
        let containers = object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap();
        containers
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };

    let containers = json!([{"name": "patch-demo-ctr-2", "image": "redis"}]);
    let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let (_, shown) = patch(&api, &path, "strategic-merge", change.to_string()).await;
    assert_eq!(names(&shown), ["patch-demo-ctr-2", "patch-demo-ctr"]);

    let tolerations = json!([{"effect": "NoSchedule", "key": "disktype", "value": "ssd"}]);
    let change = json!({"spec": {"template": {"spec": {"tolerations": tolerations}}}});
    let (_, shown) = patch(&api, &path, "strategic-merge", change.to_string()).await;
    assert_eq!(
        shown["spec"]["template"]["spec"]["tolerations"],
        tolerations
    );

    let containers =
        json!([{"name": "patch-demo-ctr-3", "image": "gcr.io/google-samples/hello-app:2.0"}]);
    let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let (_, shown) = patch(&api, &path, "merge", change.to_string()).await;
    assert_eq!(names(&shown), ["patch-demo-ctr-3"]);
}

#[tokio::test]
async fn unions_keep_what_is_listed_as_the_documentation_shows() {
    let api = Api::start(Extensions::default()).await;
    let (code, made) = api
        .create(DEPLOYMENTS, &demo("retainkeys-demo", "nginx"))
        .await;
    assert_eq!(code, StatusCode::CREATED, "{made:#}");
    let path = format!("{DEPLOYMENTS}/retainkeys-demo");
    let change = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let (code, shown) = patch(&api, &path, "strategic-merge", change.to_string()).await;
    assert_eq!(code, StatusCode::OK, "{shown:#}");
    assert_eq!(shown["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[tokio::test]
async fn custom_kinds_have_no_strategic_patches() {
    let api = started().await;
    let (code, status) = patched(&api, "a", &json!({}), "strategic-merge", "{}".into()).await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        status["message"],
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
}
