//! Watches, as Kubernetes' conformance tests of "Watchers" have them.

use futures::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyDataStream;
use longshore_apiserver::extend::{Body, Extensions};
use serde_json::{Value, json};

use crate::api::{Api, read};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

/// A running watch.
struct Watch {
    stream: BodyDataStream<Body>,
    events: std::vec::IntoIter<Value>,
}

impl Watch {
    async fn start(api: &Api, query: &str) -> Self {
        let path = format!("{CONFIGS}?watch=1&{query}");
        let response = api.send(Request::get(path), "").await;
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            stream: BodyDataStream::new(response.into_body()),
            events: Vec::new().into_iter(),
        }
    }

    /// The next event; none when the watch has ended.
    async fn event(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.events.next() {
                return Some(event);
            }
            let chunk = self.stream.next().await?.unwrap();
            let lines = chunk
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            let events: Vec<_> = lines
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect();
            self.events = events.into_iter();
        }
    }

    /// What happens next, to which object, and what its data is then.
    async fn next(&mut self) -> (String, String, Value) {
        let event = self.event().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["object"];
        (
            text(&event["type"]),
            text(&object["metadata"]["name"]),
            object["data"]["k"].clone(),
        )
    }

    /// What is left until the watch ends by itself.
    async fn rest(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}

fn seen(type_: &str, name: &str, data: impl Into<Value>) -> (String, String, Value) {
    (type_.into(), name.into(), data.into())
}

async fn create(api: &Api, name: &str, label: &str) -> String {
    let object = json!({"metadata": {"name": name, "labels": {"on": label}}, "data": {"k": "1"}});
    let (code, made) = api.create(CONFIGS, &object).await;
    assert_eq!(code, StatusCode::CREATED);
    version(&made)
}

async fn merge(api: &Api, name: &str, patch: Value) -> String {
    let request = Request::patch(format!("{CONFIGS}/{name}"))
        .header("content-type", "application/merge-patch+json");
    let (code, changed) = read(api.send(request, patch.to_string()).await).await;
    assert_eq!(code, StatusCode::OK);
    version(&changed)
}

async fn delete(api: &Api, name: &str) {
    let request = Request::delete(format!("{CONFIGS}/{name}"));
    assert_eq!(api.send(request, "").await.status(), StatusCode::OK);
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn add_update_and_delete_are_observed_by_those_who_select_them() {
    let api = Api::start(Extensions::default()).await;
    let mut a = Watch::start(&api, "labelSelector=on%3Da").await;
    let mut both = Watch::start(&api, "labelSelector=on+in+(a,b)").await;
    create(&api, "x", "a").await;
    create(&api, "y", "b").await;
    merge(&api, "x", json!({"data": {"k": "2"}})).await;
    delete(&api, "y").await;
    delete(&api, "x").await;
    for expected in [
        seen("ADDED", "x", "1"),
        seen("MODIFIED", "x", "2"),
        seen("DELETED", "x", "2"),
    ] {
        assert_eq!(a.next().await, expected);
    }
    for expected in [
        seen("ADDED", "x", "1"),
        seen("ADDED", "y", "1"),
        seen("MODIFIED", "x", "2"),
        seen("DELETED", "y", "1"),
        seen("DELETED", "x", "2"),
    ] {
        assert_eq!(both.next().await, expected);
    }
}

#[tokio::test]
async fn a_watch_can_start_from_a_specific_resource_version() {
    let api = Api::start(Extensions::default()).await;
    create(&api, "x", "a").await;
    let first = merge(&api, "x", json!({"data": {"k": "2"}})).await;
    merge(&api, "x", json!({"data": {"k": "3"}})).await;
    delete(&api, "x").await;
    let mut watch = Watch::start(&api, &format!("resourceVersion={first}")).await;
    assert_eq!(watch.next().await, seen("MODIFIED", "x", "3"));
    assert_eq!(watch.next().await, seen("DELETED", "x", "3"));
}

#[tokio::test]
async fn a_watch_can_be_restarted_from_the_last_version_it_saw() {
    let api = Api::start(Extensions::default()).await;
    let mut watch = Watch::start(&api, "").await;
    create(&api, "x", "a").await;
    let last = version(&watch.event().await.unwrap()["object"]);
    drop(watch);
    merge(&api, "x", json!({"data": {"k": "2"}})).await;
    delete(&api, "x").await;
    let mut watch = Watch::start(&api, &format!("resourceVersion={last}")).await;
    assert_eq!(watch.next().await, seen("MODIFIED", "x", "2"));
    assert_eq!(watch.next().await, seen("DELETED", "x", "2"));
}

#[tokio::test]
async fn an_object_is_observed_to_leave_and_return_as_its_labels_change() {
    let api = Api::start(Extensions::default()).await;
    let mut watch = Watch::start(&api, "labelSelector=on%3Da").await;
    create(&api, "x", "a").await;
    merge(&api, "x", json!({"data": {"k": "2"}})).await;
    merge(&api, "x", json!({"metadata": {"labels": {"on": "b"}}})).await;
    merge(&api, "x", json!({"data": {"k": "3"}})).await;
    merge(&api, "x", json!({"metadata": {"labels": {"on": "a"}}})).await;
    merge(&api, "x", json!({"data": {"k": "4"}})).await;
    delete(&api, "x").await;
    for expected in [
        seen("ADDED", "x", "1"),
        seen("MODIFIED", "x", "2"),
        seen("DELETED", "x", "2"),
        seen("ADDED", "x", "3"),
        seen("MODIFIED", "x", "4"),
        seen("DELETED", "x", "4"),
    ] {
        assert_eq!(watch.next().await, expected);
    }
}

#[tokio::test]
async fn all_watchers_see_the_same_order() {
    let api = Api::start(Extensions::default()).await;
    let start = create(&api, "x", "a").await;
    let mut from_start = Watch::start(&api, &format!("resourceVersion={start}")).await;
    for n in 0..20 {
        let name = format!("y{}", n % 3);
        match api.get(&format!("{CONFIGS}/{name}")).await.0 {
            StatusCode::OK if n % 2 == 0 => delete(&api, &name).await,
            StatusCode::OK => {
                merge(&api, &name, json!({"data": {"k": n.to_string()}})).await;
            }
            _ => {
                create(&api, &name, "a").await;
            }
        }
    }
    let mut expected = Vec::new();
    for _ in 0..20 {
        expected.push(from_start.event().await.unwrap());
    }
    for (index, event) in expected.iter().enumerate().take(19) {
        let from = version(&event["object"]);
        let mut later = Watch::start(&api, &format!("resourceVersion={from}")).await;
        assert_eq!(later.event().await.unwrap(), expected[index + 1]);
    }
}

#[tokio::test]
async fn a_watch_from_an_old_version_gets_410() {
    let api = Api::start(Extensions::default()).await;
    let old = create(&api, "x", "a").await;
    for n in 0..10 {
        merge(
            &api,
            "x",
            json!({"data": {"k": "x".repeat(1024 * 1024 + n)}}),
        )
        .await;
    }
    let mut watch = Watch::start(&api, &format!("resourceVersion={old}")).await;
    let error = watch.event().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    let status = &error["object"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(410), &json!("Expired"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("too old resource version: {old} (")),
        "{message}"
    );
    assert_eq!(watch.event().await, None);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_to_those_who_allow_them() {
    let api = Api::start(Extensions::default()).await;
    create(&api, "x", "a").await;
    let last = create(&api, "y", "b").await;
    let query = "labelSelector=on%3Da&timeoutSeconds=100";
    let mut watch = Watch::start(&api, &format!("{query}&allowWatchBookmarks=true")).await;
    assert_eq!(watch.next().await, seen("ADDED", "x", "1"));
    let bookmarks = watch.rest().await;
    assert!(bookmarks.len() >= 2);
    for bookmark in &bookmarks {
        assert_eq!(bookmark["type"], "BOOKMARK");
        let object = &bookmark["object"];
        assert_eq!(
            (&object["kind"], version(object)),
            (&json!("ConfigMap"), last.clone())
        );
    }
    let mut watch = Watch::start(&api, query).await;
    assert_eq!(watch.next().await, seen("ADDED", "x", "1"));
    assert_eq!(watch.rest().await, Vec::<Value>::new());
}

#[tokio::test]
async fn initial_events_are_sent_and_their_end_is_marked() {
    let api = Api::start(Extensions::default()).await;
    create(&api, "x", "a").await;
    let last = create(&api, "y", "a").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let bookmarks = "allowWatchBookmarks=true";
    for query in [
        format!("{query}&{bookmarks}"),
        format!("{query}&{bookmarks}&resourceVersion={last}"),
        format!("{query}&{bookmarks}&resourceVersion=0"),
    ] {
        let mut watch = Watch::start(&api, &query).await;
        assert_eq!(watch.next().await, seen("ADDED", "x", "1"));
        assert_eq!(watch.next().await, seen("ADDED", "y", "1"));
        let end = watch.event().await.unwrap();
        assert_eq!(end["type"], "BOOKMARK");
        let metadata = &end["object"]["metadata"];
        assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(metadata["resourceVersion"], last.as_str());
    }
    let mut unmarked = Watch::start(&api, &format!("{query}&timeoutSeconds=1")).await;
    let rest = unmarked.rest().await;
    assert!(rest.iter().all(|event| event["type"] == "ADDED"));
    let query = format!("sendInitialEvents=false&resourceVersionMatch=NotOlderThan&{bookmarks}");
    let mut without = Watch::start(&api, &query).await;
    create(&api, "z", "a").await;
    assert_eq!(without.next().await, seen("ADDED", "z", "1"));
}

#[tokio::test]
async fn parameters_of_watches_that_make_no_sense_are_refused() {
    let api = Api::start(Extensions::default()).await;
    let message = async |query: &str| {
        let (code, status) = api.get(&format!("{CONFIGS}?watch=1&{query}")).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(status["details"]["kind"], "ListOptions");
        status["message"].as_str().unwrap().to_owned()
    };
    let invalid = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: ";
    assert_eq!(
        message("sendInitialEvents=true").await,
        format!("{invalid}sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    );
    assert_eq!(
        message("resourceVersionMatch=NotOlderThan&resourceVersion=1").await,
        format!(
            "{invalid}resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
             provided"
        )
    );
    let several = message("sendInitialEvents=true&resourceVersionMatch=Exact").await;
    assert!(
        several.contains("Unsupported value: \"Exact\""),
        "{several}"
    );
}
