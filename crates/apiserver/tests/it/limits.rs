//! LimitRanges: what objects get, and what they may not ask for.

use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod};
use kube::Client;
use kube::api::{Api, PostParams};
use longshore_apiserver::extend::Extensions;
use longshore_apiserver::{ApiServer, User};
use serde_json::{Value, json};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, resources: Value) -> Pod {
    object(json!({"metadata": {"name": name}, "spec": {
        "containers": [{"name": "main", "image": "i", "resources": resources}]}}))
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => panic!("{other}"),
    }
}

/// Conformance: "LimitRange should create a LimitRange with defaults and ensure pod has those
/// defaults applied".
#[tokio::test]
async fn limit_range_should_create_a_limit_range_with_defaults_and_ensure_pod_has_those_defaults_applied()
 {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(dir.path(), Extensions::default())
        .await
        .unwrap();
    let client = Client::new(
        server.service(User::new("admin", &["system:masters"])),
        "default",
    );
    let ranges: Api<LimitRange> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let create = PostParams::default();
    let range = object(
        json!({"metadata": {"name": "limit-range"}, "spec": {"limits": [{
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"},
        "max": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "default": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"}}]}}),
    );
    ranges.create(&create, &range).await.unwrap();

    let made = pods
        .create(&create, &pod("pod-no-resources", json!({})))
        .await
        .unwrap();
    let resources = json!(made.spec.unwrap().containers[0].resources);
    assert_eq!(
        resources,
        json!({"requests": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"},
            "limits": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"}})
    );
    let annotations = made.metadata.annotations.unwrap();
    assert_eq!(
        annotations["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, ephemeral-storage, memory request for container main; cpu, \
         ephemeral-storage, memory limit for container main"
    );
    assert_eq!(made.status.unwrap().qos_class.as_deref(), Some("Burstable"));

    let partial = json!({"requests": {"cpu": "300m"}, "limits": {"cpu": "300m"}});
    let made = pods
        .create(&create, &pod("pod-partial-resources", partial))
        .await
        .unwrap();
    let resources = made.spec.unwrap().containers[0].resources.clone().unwrap();
    assert_eq!(resources.requests.unwrap()["cpu"].0, "300m");
    assert_eq!(resources.limits.unwrap()["memory"].0, "500Mi");

    let small = json!({"requests": {"cpu": "10m"}});
    let refused = pods
        .create(&create, &pod("small", small))
        .await
        .unwrap_err();
    assert_eq!(
        message(refused),
        "pods \"small\" is forbidden: minimum cpu usage per Container is 50m, but request is 10m"
    );
    let large = json!({"limits": {"cpu": "600m"}, "requests": {"cpu": "100m"}});
    let refused = pods
        .create(&create, &pod("large", large))
        .await
        .unwrap_err();
    assert_eq!(
        message(refused),
        "pods \"large\" is forbidden: maximum cpu usage per Container is 500m, but limit is 600m"
    );
}

#[tokio::test]
async fn claims_have_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer::open(dir.path(), Extensions::default())
        .await
        .unwrap();
    let client = Client::new(
        server.service(User::new("admin", &["system:masters"])),
        "default",
    );
    let ranges: Api<LimitRange> = Api::default_namespaced(client.clone());
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client);
    let create = PostParams::default();
    let range = object(json!({"metadata": {"name": "disks"}, "spec": {"limits": [{
        "type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}}]}}));
    ranges.create(&create, &range).await.unwrap();
    let claim = |size: &str| {
        object(
            json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}}}}),
        )
    };
    let refused = claims.create(&create, &claim("512Mi")).await.unwrap_err();
    assert_eq!(
        message(refused),
        "persistentvolumeclaims \"data\" is forbidden: minimum storage usage per \
         PersistentVolumeClaim is 1Gi, but request is 512Mi"
    );
    claims.create(&create, &claim("1Gi")).await.unwrap();
}
