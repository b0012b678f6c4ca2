//! How the API and the server tell of themselves. Where Kubernetes publishes conformance behaviour,
//! the test has its name.

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};
use crate::support::Cluster;

/// An answer that is text, and its content type.
async fn text(api: &Api, path: &str) -> (u16, String, String) {
    let response = api.send(Request::get(path), "").await;
    let code = response.status().as_u16();
    let type_ = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, type_, String::from_utf8(bytes.into()).unwrap())
}

async fn accepting(api: &Api, path: &str, accept: &str) -> (StatusCode, Value) {
    read(
        api.send(Request::get(path).header("accept", accept), "")
            .await,
    )
    .await
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|item| item[field].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn discovery_should_validate_preferred_version_for_each_api_group() {
    let api = Api::start(Extensions::default()).await;
    let (_, list) = api.get("/apis").await;
    assert_eq!(list["kind"], "APIGroupList");
    for group in list["groups"].as_array().unwrap() {
        let name = group["name"].as_str().unwrap();
        let (code, alone) = api.get(&format!("/apis/{name}")).await;
        assert_eq!((code, &alone["kind"]), (StatusCode::OK, &json!("APIGroup")));
        assert_eq!(alone["versions"], group["versions"]);
        let preferred = &alone["preferredVersion"];
        assert!(
            alone["versions"].as_array().unwrap().contains(preferred),
            "{name}"
        );
    }
    assert_eq!(
        api.get("/apis/nothing.example.org").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn discovery_should_locate_the_group_version_and_a_resource_within_each_api_group() {
    let api = Api::start(Extensions::default()).await;
    let (_, core) = api.get("/api").await;
    assert_eq!(core["versions"], json!(["v1"]));
    assert_eq!(
        core["serverAddressByClientCIDRs"][0]["clientCIDR"],
        "0.0.0.0/0"
    );
    let (_, groups) = api.get("/apis").await;
    let groups = groups["groups"].as_array().unwrap();
    let versions = groups
        .iter()
        .flat_map(|group| group["versions"].as_array().unwrap());
    let places =
        versions.map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
    for place in places.chain(["/api/v1".to_owned()]) {
        let (code, list) = api.get(&place).await;
        assert_eq!(
            (code, &list["kind"]),
            (StatusCode::OK, &json!("APIResourceList"))
        );
        assert!(place.ends_with(list["groupVersion"].as_str().unwrap()));
        for resource in list["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            assert!(!resource["kind"].as_str().unwrap().is_empty(), "{name}");
            assert!(resource["namespaced"].is_boolean(), "{name}");
            let verbs = resource["verbs"].as_array().unwrap();
            assert!(!verbs.is_empty(), "{name}");
            // Whatever can be listed is stored, and has a hash of how.
            let listed = verbs.contains(&json!("list"));
            assert_eq!(resource["storageVersionHash"].is_string(), listed, "{name}");
            let singular = resource["singularName"].as_str().unwrap();
            assert_eq!(singular.is_empty(), name.contains('/'), "{name}");
        }
    }
}

#[tokio::test]
async fn aggregated_discovery_says_the_same_in_both_versions() {
    let api = Api::start(Extensions::default()).await;
    for version in ["v2", "v2beta1"] {
        let accept = format!(
            "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,\
             application/json"
        );
        let mut seen = Vec::new();
        for path in ["/api", "/apis"] {
            let (code, list) = accepting(&api, path, &accept).await;
            assert_eq!(code, StatusCode::OK);
            assert_eq!(list["kind"], "APIGroupDiscoveryList");
            assert_eq!(list["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
            seen.extend(list["items"].as_array().unwrap().clone());
        }
        for group in &seen {
            let name = group["metadata"]["name"].as_str();
            for version in group["versions"].as_array().unwrap() {
                let served = version["version"].as_str().unwrap();
                let place = match name {
                    None => format!("/api/{served}"),
                    Some(name) => format!("/apis/{name}/{served}"),
                };
                let (_, plain) = api.get(&place).await;
                let plain = names(&plain["resources"], "name");
                let plain: Vec<_> = plain
                    .into_iter()
                    .filter(|name| !name.contains('/'))
                    .collect();
                assert_eq!(names(&version["resources"], "resource"), plain);
            }
        }
    }
}

#[tokio::test]
async fn discovery_is_refused_in_forms_that_nobody_knows() {
    let api = Api::start(Extensions::default()).await;
    let newer = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";
    for (path, accept) in [
        ("/apis", newer),
        ("/api", "application/vnd.kubernetes.protobuf"),
        ("/api/v1", "text/html"),
        ("/apis/storage.k8s.io", "application/xml"),
        ("/version", "image/png"),
    ] {
        let (code, status) = accepting(&api, path, accept).await;
        assert_eq!(code, StatusCode::NOT_ACCEPTABLE, "{path}");
        assert_eq!(status["reason"], "NotAcceptable");
    }
    let protobuf = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(accepting(&api, "/api/v1", protobuf).await.0, StatusCode::OK);
}

#[tokio::test]
async fn documents_are_not_sent_twice() {
    let api = Api::start(Extensions::default()).await;
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (path, accept) in [
        ("/apis", v2),
        ("/openapi/v3", "*/*"),
        ("/openapi/v2", "*/*"),
    ] {
        let get = || Request::get(path).header("accept", accept);
        let first = api.send(get(), "").await;
        let tag = first.headers()["etag"].clone();
        let again = api.send(get().header("if-none-match", tag), "").await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
}

#[tokio::test]
async fn openapi_documents_have_addresses_that_change_with_them() {
    let api = Api::start(Extensions::default()).await;
    let (_, index) = api.get("/openapi/v3").await;
    let url = index["paths"]["api/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = api.send(Request::get(url), "").await;
    assert_eq!(document.status(), StatusCode::OK);
    assert_eq!(document.headers()["cache-control"], "public, immutable");
    // Who asks for an older one is sent to the present one.
    let old = url.split('=').next().unwrap().to_owned() + "=0000";
    let moved = api.send(Request::get(&old), "").await;
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(moved.headers()["location"], url);
}

#[tokio::test]
async fn every_path_that_is_told_of_is_there() {
    let api = Api::start(Extensions::default()).await;
    let (_, root) = api.get("/").await;
    let paths = root["paths"].as_array().unwrap();
    assert!(paths.contains(&json!("/apis/storage.k8s.io/v1")));
    for path in paths {
        let response = api.send(Request::get(path.as_str().unwrap()), "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn health_handlers_should_contain_necessary_checks() {
    let api = Api::start(Extensions::default()).await;
    for endpoint in ["healthz", "livez", "readyz"] {
        let plain = (200, "text/plain; charset=utf-8".to_owned(), "ok".to_owned());
        assert_eq!(text(&api, &format!("/{endpoint}")).await, plain);
        for check in ["ping", "log", "etcd"] {
            assert_eq!(text(&api, &format!("/{endpoint}/{check}")).await, plain);
        }
        let (_, _, report) = text(&api, &format!("/{endpoint}?verbose")).await;
        assert_eq!(
            report,
            format!("[+]ping ok\n[+]log ok\n[+]etcd ok\n{endpoint} check passed\n")
        );
        let excluding = format!("/{endpoint}?verbose=1&exclude=etcd&exclude=x");
        let (_, _, report) = text(&api, &excluding).await;
        assert!(report.contains("[+]etcd excluded: ok\n"), "{report}");
        assert!(
            report.contains("warn: some health checks cannot be excluded: no matches for \"x\"\n"),
            "{report}"
        );
        assert_eq!(text(&api, &format!("/{endpoint}/nothing")).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_version_should_find_the_server_version() {
    let cluster = Cluster::start().await;
    let version = cluster.ok(&["get", "--raw", "/version"]).await;
    let version: Value = serde_json::from_str(&version).unwrap();
    let number = |field: &str| version[field].as_str().unwrap().parse::<u32>().unwrap();
    assert_eq!((number("major"), number("minor")), (1, 33));
    assert!(
        version["gitVersion"]
            .as_str()
            .unwrap()
            .starts_with("v1.33.")
    );
}

#[tokio::test]
async fn metrics_count_what_was_asked_for() {
    let api = Api::start(Extensions::default()).await;
    let configs = "/api/v1/namespaces/default/configmaps";
    api.create(configs, &json!({"metadata": {"name": "a"}}))
        .await;
    api.get(&format!("{configs}/a")).await;
    api.get(&format!("{configs}/b")).await;
    let watch = api
        .send(Request::get(format!("{configs}?watch=1")), "")
        .await;
    let (code, type_, metrics) = text(&api, "/metrics").await;
    assert_eq!((code, type_.split(';').next()), (200, Some("text/plain")));
    let about = "group=\"\",version=\"v1\",resource=\"configmaps\"";
    for line in [
        format!("apiserver_request_total{{verb=\"POST\",{about},code=\"201\"}} 1"),
        format!("apiserver_request_total{{verb=\"GET\",{about},code=\"200\"}} 1"),
        format!("apiserver_request_total{{verb=\"GET\",{about},code=\"404\"}} 1"),
        format!("apiserver_request_duration_seconds_count{{verb=\"GET\",{about}}} 2"),
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0".to_owned(),
        "apiserver_storage_objects{resource=\"configmaps\"} 1".to_owned(),
        "apiserver_registered_watchers{resource=\"configmaps\"} 1".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    assert!(metrics.contains("apiserver_storage_commit_duration_seconds_count "));
    drop(watch);
    // What clients make up is not counted by name.
    for n in 0..5 {
        api.get(&format!("/apis/g{n}/v1/things")).await;
    }
    let (_, _, metrics) = text(&api, "/metrics").await;
    assert!(!metrics.contains("things"), "{metrics}");
}
