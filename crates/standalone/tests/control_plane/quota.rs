//! ResourceQuotas from their making to their use.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::home::{Home, claim, create, delete, gone, patch, pod, until};

fn quota(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

/// Waits until the quota says that this much is used.
async fn used(home: &Home, name: &str, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), (*amount).to_owned()))
        .collect();
    let what = format!("{expected:?}");
    until(&home.api::<ResourceQuota>(), name, &what, |quota| {
        let used = quota
            .status
            .iter()
            .flat_map(|status| status.used.iter().flatten());
        let used: BTreeMap<_, _> = used
            .map(|(name, used)| (name.clone(), used.0.clone()))
            .collect();
        used == expected
    })
    .await;
}

fn refusal<T: std::fmt::Debug>(outcome: kube::Result<T>) -> String {
    match outcome.unwrap_err() {
        kube::Error::Api(status) if status.code == 403 => status.message,
        other => panic!("{other}"),
    }
}

fn asking(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name, &[]);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

async fn try_create(home: &Home, object: Value) -> kube::Result<Pod> {
    let object: Pod = serde_json::from_value(object).unwrap();
    home.api().create(&PostParams::default(), &object).await
}

/// Conformance: "ResourceQuota should create a ResourceQuota and capture the life of a pod".
#[tokio::test]
async fn resource_quota_should_create_a_resource_quota_and_capture_the_life_of_a_pod() {
    let home = Home::start(&["n1"]).await;
    let hard = json!({"pods": "5", "requests.cpu": "1"});
    home.create::<ResourceQuota>(quota("test-quota", json!({"hard": hard})))
        .await;
    used(&home, "test-quota", &[("pods", "0"), ("requests.cpu", "0")]).await;
    home.create::<Pod>(asking("test-pod", "500m")).await;
    used(
        &home,
        "test-quota",
        &[("pods", "1"), ("requests.cpu", "500m")],
    )
    .await;
    assert_eq!(
        refusal(try_create(&home, asking("fail-pod", "600m")).await),
        "pods \"fail-pod\" is forbidden: exceeded quota: test-quota, requested: requests.cpu=600m, \
         used: requests.cpu=500m, limited: requests.cpu=1"
    );
    let now = DeleteParams::default().grace_period(0);
    home.api::<Pod>().delete("test-pod", &now).await.unwrap();
    used(&home, "test-quota", &[("pods", "0"), ("requests.cpu", "0")]).await;
}

#[tokio::test]
async fn a_pod_that_ended_gives_back_what_it_used() {
    let home = Home::start(&["n1"]).await;
    home.create::<ResourceQuota>(quota(
        "q",
        json!({"hard": {"pods": "1", "count/pods": "2"}}),
    ))
    .await;
    used(&home, "q", &[("pods", "0"), ("count/pods", "0")]).await;
    home.create::<Pod>(pod("a", &[])).await;
    refusal(try_create(&home, pod("b", &[])).await);
    let done = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    let pods = home.api::<Pod>();
    pods.patch_status("a", &PatchParams::default(), &done)
        .await
        .unwrap();
    used(&home, "q", &[("pods", "0"), ("count/pods", "1")]).await;
    home.create::<Pod>(pod("b", &[])).await;
    refusal(try_create(&home, pod("c", &[])).await);
}

/// Conformance: "ResourceQuota should create a ResourceQuota and capture the life of a configMap".
#[tokio::test]
async fn resource_quota_should_create_a_resource_quota_and_capture_the_life_of_a_config_map() {
    let home = Home::start(&[]).await;
    let config = |name: &str| json!({"metadata": {"name": name}});
    furnished(&home.api()).await;
    home.create::<ConfigMap>(config("before")).await;
    home.create::<ResourceQuota>(quota("q", json!({"hard": {"count/configmaps": "9"}})))
        .await;
    let found = until(
        &home.api::<ResourceQuota>(),
        "q",
        "counted",
        |quota: &ResourceQuota| {
            quota
                .status
                .as_ref()
                .is_some_and(|status| status.used.is_some())
        },
    )
    .await;
    let before: u32 = found.status.unwrap().used.unwrap()["count/configmaps"]
        .0
        .parse()
        .unwrap();
    home.create::<ConfigMap>(config("test-configmap")).await;
    used(
        &home,
        "q",
        &[("count/configmaps", &(before + 1).to_string())],
    )
    .await;
    delete(&home.api::<ConfigMap>(), "test-configmap").await;
    used(&home, "q", &[("count/configmaps", &before.to_string())]).await;
}

/// Conformance: "ResourceQuota should create a ResourceQuota and capture the life of a persistent
/// volume claim with a storage class".
#[tokio::test]
async fn resource_quota_should_create_a_resource_quota_and_capture_the_life_of_a_persistent_volume_claim()
 {
    let home = Home::start(&[]).await;
    let of_class = "gold.storageclass.storage.k8s.io/requests.storage";
    let hard = json!({"persistentvolumeclaims": "5", "requests.storage": "1Gi", of_class: "20Mi"});
    home.create::<ResourceQuota>(quota("q", json!({"hard": hard})))
        .await;
    let nothing = [
        ("persistentvolumeclaims", "0"),
        ("requests.storage", "0"),
        (of_class, "0"),
    ];
    used(&home, "q", &nothing).await;
    home.create::<PersistentVolumeClaim>(claim("data", "gold", json!({})))
        .await;
    let some = [
        ("persistentvolumeclaims", "1"),
        ("requests.storage", "16Mi"),
        (of_class, "16Mi"),
    ];
    used(&home, "q", &some).await;
    let second = serde_json::from_value(claim("more", "gold", json!({}))).unwrap();
    let claims = home.api::<PersistentVolumeClaim>();
    let refused = refusal(claims.create(&PostParams::default(), &second).await);
    assert!(
        refused.contains(&format!("exceeded quota: q, requested: {of_class}=16Mi")),
        "{refused}"
    );
    delete(&claims, "data").await;
    gone(&claims, "data").await;
    used(&home, "q", &nothing).await;
}

/// Conformance: "ResourceQuota should create a ResourceQuota and capture the life of a custom
/// resource".
#[tokio::test]
async fn resource_quota_should_create_a_resource_quota_and_capture_the_life_of_a_custom_resource() {
    let home = Home::start(&[]).await;
    let definition = json!({
        "metadata": {"name": "boats.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    home.create_cluster::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>(definition).await;
    let name = "count/boats.example.com";
    home.create::<ResourceQuota>(quota("q", json!({"hard": {name: "1"}})))
        .await;
    used(&home, "q", &[(name, "0")]).await;
    let gvk = kube::api::GroupVersionKind::gvk("example.com", "v1", "Boat");
    let boat = kube::api::ApiResource::from_gvk_with_plural(&gvk, "boats");
    let boats: Api<DynamicObject> = Api::namespaced_with(home.client.clone(), "default", &boat);
    let create = PostParams::default();
    boats
        .create(&create, &DynamicObject::new("a", &boat))
        .await
        .unwrap();
    used(&home, "q", &[(name, "1")]).await;
    refusal(boats.create(&create, &DynamicObject::new("b", &boat)).await);
    boats.delete("a", &DeleteParams::default()).await.unwrap();
    used(&home, "q", &[(name, "0")]).await;
}

/// Conformance: "ResourceQuota should verify ResourceQuota with best effort scope".
#[tokio::test]
async fn resource_quota_should_verify_resource_quota_with_best_effort_scope() {
    let home = Home::start(&["n1"]).await;
    for scope in ["BestEffort", "NotBestEffort"] {
        let name = format!("quota-{}", scope.to_lowercase());
        home.create::<ResourceQuota>(quota(
            &name,
            json!({"hard": {"pods": "5"}, "scopes": [scope]}),
        ))
        .await;
        used(&home, &name, &[("pods", "0")]).await;
    }
    let now = DeleteParams::default().grace_period(0);
    home.create::<Pod>(pod("idle", &[])).await;
    used(&home, "quota-besteffort", &[("pods", "1")]).await;
    used(&home, "quota-notbesteffort", &[("pods", "0")]).await;
    home.api::<Pod>().delete("idle", &now).await.unwrap();
    used(&home, "quota-besteffort", &[("pods", "0")]).await;
    home.create::<Pod>(asking("busy", "1m")).await;
    used(&home, "quota-notbesteffort", &[("pods", "1")]).await;
    used(&home, "quota-besteffort", &[("pods", "0")]).await;
}

/// Conformance: "ResourceQuota should apply changes to a resourcequota status" and "should be able to
/// update and delete ResourceQuota".
#[tokio::test]
async fn resource_quota_should_apply_changes_to_a_resource_quota_status() {
    let home = Home::start(&[]).await;
    home.create::<ResourceQuota>(quota("q", json!({"hard": {"pods": "5", "secrets": "2"}})))
        .await;
    used(&home, "q", &[("pods", "0"), ("secrets", "0")]).await;
    let quotas = home.api::<ResourceQuota>();
    let claim = Patch::Merge(json!({"status": {"hard": {"pods": "9"}, "used": {"pods": "7"}}}));
    let patched = quotas
        .patch_status("q", &PatchParams::default(), &claim)
        .await
        .unwrap();
    assert_eq!(patched.status.unwrap().used.unwrap()["pods"].0, "7");
    // What the status says is not what the spec says, so it is counted again.
    used(&home, "q", &[("pods", "0"), ("secrets", "0")]).await;
    patch(
        &quotas,
        "q",
        json!({"spec": {"hard": {"secrets": null, "pods": "3"}}}),
    )
    .await;
    used(&home, "q", &[("pods", "0")]).await;
    let status = quotas.get("q").await.unwrap().status.unwrap();
    assert_eq!(json!(status.hard), json!({"pods": "3"}));
    delete(&quotas, "q").await;
    gone(&quotas, "q").await;
}

#[tokio::test]
async fn creations_and_deletions_side_by_side_never_exceed_a_quota() {
    let home = Home::start(&[]).await;
    home.create::<ResourceQuota>(quota("q", json!({"hard": {"configmaps": "6"}})))
        .await;
    used_is_known(&home).await;
    let maps = home.api::<ConfigMap>();
    furnished(&maps).await;
    let before = maps.list(&ListParams::default()).await.unwrap().items.len();
    let workers = (0..8).map(|worker| {
        let maps = maps.clone();
        async move {
            for round in 0..12 {
                let name = format!("w{worker}-{round}");
                let map = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
                if maps.create(&PostParams::default(), &map).await.is_ok() {
                    let there = maps.list(&ListParams::default()).await.unwrap().items.len();
                    assert!(there <= 6, "{there} of 6");
                    maps.delete(&name, &DeleteParams::default()).await.unwrap();
                }
            }
        }
    });
    futures::future::join_all(workers).await;
    used(&home, "q", &[("configmaps", &before.to_string())]).await;
    create::<ConfigMap>(&maps, json!({"metadata": {"name": "after"}})).await;
}

/// Waits for the ConfigMap that every namespace is given, which counts too.
async fn furnished(maps: &Api<ConfigMap>) {
    until(maps, "kube-root-ca.crt", "there", |_| true).await;
}

async fn used_is_known(home: &Home) {
    until(
        &home.api::<ResourceQuota>(),
        "q",
        "counted",
        |quota: &ResourceQuota| {
            quota
                .status
                .as_ref()
                .is_some_and(|status| status.used.is_some())
        },
    )
    .await;
}
