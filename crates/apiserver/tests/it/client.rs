//! kube-rs through the in-process service, without a socket.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, events, reflector, watcher};
use kube::{Client, ResourceExt};
use longshore_apiserver::extend::Extensions;
use longshore_apiserver::{ApiServer, User};
use serde_json::json;
use tempfile::TempDir;

async fn server() -> (ApiServer, Client, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(dir.path(), Extensions::default())
        .await
        .unwrap();
    let user = User::new("controller", &["system:masters"]);
    let client = Client::new(server.service(user), "default");
    (server, client, dir)
}

fn config(name: &str) -> ConfigMap {
    let data = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let mut config = ConfigMap {
        data: Some(data),
        ..ConfigMap::default()
    };
    config.metadata.name = Some(name.into());
    config
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_changes_for_hours() {
    let (_server, client, _dir) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config("before"))
        .await
        .unwrap();
    let (reader, writer) = reflector::store();
    let stream = watcher(api.clone(), watcher::Config::default());
    let mut stream = reflector::reflector(writer, stream)
        .applied_objects()
        .boxed();
    assert_eq!(stream.next().await.unwrap().unwrap().name_any(), "before");

    // Many watches end and begin in this time.
    tokio::select! {
        found = stream.next() => panic!("{found:?}"),
        () = tokio::time::sleep(Duration::from_hours(3)) => {}
    }
    api.create(&PostParams::default(), &config("after"))
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().name_any(), "after");
    api.delete("before", &DeleteParams::default())
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"data": {"k": "w"}}));
    api.patch("after", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(
        stream.next().await.unwrap().unwrap().data.unwrap()["k"],
        "w"
    );
    let names: Vec<_> = reader
        .state()
        .iter()
        .map(|config| config.name_any())
        .collect();
    assert_eq!(names, ["after"]);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_has_an_end() {
    let (_server, client, _dir) = server().await;
    let api: Api<Namespace> = Api::all(client);
    let mut stream = watcher(api, watcher::Config::default().streaming_lists()).boxed();
    let mut names = Vec::new();
    loop {
        match stream.next().await.unwrap().unwrap() {
            watcher::Event::InitApply(namespace) => names.push(namespace.name_any()),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(
        names,
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
}

#[tokio::test]
async fn pages_make_up_the_list() {
    let (_server, client, _dir) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for n in 0..7 {
        api.create(&PostParams::default(), &config(&format!("c{n}")))
            .await
            .unwrap();
    }
    let mut parameters = ListParams::default().limit(3);
    let mut names = Vec::new();
    loop {
        let page = api.list(&parameters).await.unwrap();
        names.extend(page.items.iter().map(ResourceExt::name_any));
        let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
            break;
        };
        parameters = parameters.continue_token(&token);
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
}

#[tokio::test]
async fn concurrent_patches_all_count() {
    let (_server, client, _dir) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config("a"))
        .await
        .unwrap();
    let patches = (0..20).map(|n| {
        let api = api.clone();
        async move {
            let patch = Patch::Merge(json!({"data": {format!("n{n}"): "x"}}));
            api.patch("a", &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    });
    futures::future::join_all(patches).await;
    assert_eq!(api.get("a").await.unwrap().data.unwrap().len(), 21);
}

#[tokio::test]
async fn pods_that_run_get_time_to_end() {
    let (_server, client, _dir) = server().await;
    let api: Api<Pod> = Api::default_namespaced(client);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"generateName": "p-"},
        "spec": {"nodeName": "node-0", "containers": [{"name": "c", "image": "i"}]},
    }))
    .unwrap();
    let name = api
        .create(&PostParams::default(), &pod)
        .await
        .unwrap()
        .name_any();
    assert!(name.starts_with("p-") && name.len() == 7, "{name}");
    let marked = api
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    assert!(marked.metadata.deletion_timestamp.is_some());
    let now = DeleteParams::default().grace_period(0);
    assert!(api.delete(&name, &now).await.unwrap().is_right());
    assert!(api.get_opt(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn a_namespace_waits_for_its_finalizer() {
    let (_server, client, _dir) = server().await;
    let api: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some("n".into());
    api.create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let mut marked = api
        .delete("n", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(
        marked.status.as_ref().unwrap().phase.as_deref(),
        Some("Terminating")
    );
    let inside: Api<ConfigMap> = Api::namespaced(client.clone(), "n");
    let refused = inside
        .create(&PostParams::default(), &config("a"))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("because it is being terminated"),
        "{refused}"
    );

    marked.spec.as_mut().unwrap().finalizers = None;
    let body = serde_json::to_vec(&marked).unwrap();
    let request = http::Request::put("/api/v1/namespaces/n/finalize")
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    client.request::<Namespace>(request).await.unwrap();
    assert!(api.get_opt("n").await.unwrap().is_none());
}

#[tokio::test]
async fn both_forms_of_events_are_one() {
    let (_server, client, _dir) = server().await;
    let reporter = events::Reporter {
        controller: "tester".into(),
        instance: None,
    };
    let recorder = events::Recorder::new(client.clone(), reporter);
    let about = k8s_openapi::api::core::v1::ObjectReference {
        kind: Some("ConfigMap".into()),
        name: Some("a".into()),
        namespace: Some("default".into()),
        ..Default::default()
    };
    let event = events::Event {
        type_: events::EventType::Normal,
        reason: "Tested".into(),
        note: Some("it works".into()),
        action: "Test".into(),
        secondary: None,
    };
    recorder.publish(&event, &about).await.unwrap();
    recorder.publish(&event, &about).await.unwrap();
    let api: Api<Event> = Api::default_namespaced(client);
    let selector = ListParams::default().fields("involvedObject.name=a,reason=Tested");
    let found = api.list(&selector).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message.as_deref(), Some("it works"));
    assert_eq!(found[0].reporting_component.as_deref(), Some("tester"));
    assert_eq!(found[0].series.as_ref().unwrap().count, Some(2));
}

#[tokio::test]
async fn a_reopened_server_goes_on() {
    let (server, client, dir) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config("a"))
        .await
        .unwrap();
    server.close();
    api.create(&PostParams::default(), &config("b"))
        .await
        .unwrap_err();

    let again = ApiServer::open(dir.path(), Extensions::default())
        .await
        .unwrap();
    let user = User::new("controller", &["system:masters"]);
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(again.service(user), "default"));
    assert_eq!(api.get("a").await.unwrap(), made);
    let next = api
        .create(&PostParams::default(), &config("b"))
        .await
        .unwrap();
    let revision = |config: &ConfigMap| config.resource_version().unwrap().parse::<u64>().unwrap();
    assert!(revision(&next) > revision(&made));
}
