//! Garbage collection, of built-in kinds and of definitions that come later.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::home::{DEADLINE, Home, create, gone, patch, until};

/// A ConfigMap owned by others.
fn owned(name: &str, owners: &[&ConfigMap]) -> Value {
    let owner = |owner: &&ConfigMap| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(),
            "uid": owner.uid(), "blockOwnerDeletion": true})
    };
    let owners: Vec<_> = owners.iter().map(owner).collect();
    json!({"metadata": {"name": name, "ownerReferences": owners}})
}

/// `a` owns `b`, and `b` owns `c`.
async fn tree(home: &Home) -> Api<ConfigMap> {
    let a = home.create::<ConfigMap>(owned("a", &[])).await;
    let b = home.create::<ConfigMap>(owned("b", &[&a])).await;
    home.create::<ConfigMap>(owned("c", &[&b])).await;
    home.api()
}

#[tokio::test]
async fn a_tree_falls_in_the_background() {
    let home = Home::start(&[]).await;
    let maps = tree(&home).await;
    maps.delete("a", &DeleteParams::background()).await.unwrap();
    gone(&maps, "b").await;
    gone(&maps, "c").await;
}

#[tokio::test]
async fn a_tree_falls_from_its_leaves_in_the_foreground() {
    let home = Home::start(&[]).await;
    let maps = tree(&home).await;
    patch(
        &maps,
        "c",
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
    )
    .await;
    maps.delete("a", &DeleteParams::foreground()).await.unwrap();
    until(&maps, "c", "going", |map| {
        map.metadata.deletion_timestamp.is_some()
    })
    .await;
    for waiting in ["a", "b"] {
        let map = maps.get(waiting).await.unwrap();
        assert_eq!(map.finalizers(), ["foregroundDeletion"]);
    }
    patch(&maps, "c", json!({"metadata": {"finalizers": null}})).await;
    gone(&maps, "a").await;
    assert!(maps.get_opt("b").await.unwrap().is_none());
}

#[tokio::test]
async fn orphans_stay() {
    let home = Home::start(&[]).await;
    let maps = tree(&home).await;
    maps.delete("a", &DeleteParams::orphan()).await.unwrap();
    gone(&maps, "a").await;
    assert!(maps.get("b").await.unwrap().owner_references().is_empty());
    assert_eq!(maps.get("c").await.unwrap().owner_references().len(), 1);
}

#[tokio::test]
async fn an_object_stays_with_its_last_owner_and_goes_when_its_owner_never_was() {
    let home = Home::start(&[]).await;
    let a = home.create::<ConfigMap>(owned("a", &[])).await;
    let b = home.create::<ConfigMap>(owned("b", &[])).await;
    home.create::<ConfigMap>(owned("child", &[&a, &b])).await;
    let maps = home.api::<ConfigMap>();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    until(&maps, "child", "owned once", |map| {
        map.owner_references().len() == 1
    })
    .await;
    home.create::<ConfigMap>(owned("late", &[&a])).await;
    gone(&maps, "late").await;
    assert!(maps.get_opt("child").await.unwrap().is_some());
}

/// Kubernetes conformance: "should not delete dependents that have both valid owner and owner that's
/// waiting for dependents to be deleted".
#[tokio::test]
async fn should_not_delete_dependents_that_have_both_valid_owner_and_owner_that_is_waiting() {
    let home = Home::start(&[]).await;
    let going = home.create::<ConfigMap>(owned("going", &[])).await;
    let valid = home.create::<ConfigMap>(owned("valid", &[])).await;
    for number in 0..5 {
        home.create::<ConfigMap>(owned(&format!("both-{number}"), &[&going, &valid]))
            .await;
        home.create::<ConfigMap>(owned(&format!("one-{number}"), &[&going]))
            .await;
    }
    let maps = home.api::<ConfigMap>();
    let foreground = DeleteParams::foreground();
    maps.delete("going", &foreground).await.unwrap();
    gone(&maps, "going").await;
    for number in 0..5 {
        let kept = maps.get(&format!("both-{number}")).await.unwrap();
        assert_eq!(kept.owner_references().len(), 1);
        assert_eq!(kept.metadata.deletion_timestamp, None);
        let name = format!("one-{number}");
        assert!(maps.get_opt(&name).await.unwrap().is_none());
    }
}

/// Kubernetes conformance: "should not be blocked by dependency circle".
#[tokio::test]
async fn should_not_be_blocked_by_dependency_circle() {
    let home = Home::start(&[]).await;
    let a = home.create::<ConfigMap>(owned("a", &[])).await;
    let b = home.create::<ConfigMap>(owned("b", &[&a])).await;
    let c = home.create::<ConfigMap>(owned("c", &[&b])).await;
    let maps = home.api::<ConfigMap>();
    let closing = owned("a", &[&c])["metadata"]["ownerReferences"].clone();
    patch(
        &maps,
        "a",
        json!({"metadata": {"ownerReferences": closing}}),
    )
    .await;
    maps.delete("a", &DeleteParams::foreground()).await.unwrap();
    for name in ["a", "b", "c"] {
        gone(&maps, name).await;
    }
}

#[tokio::test]
async fn an_owner_in_another_namespace_is_none_and_that_is_told() {
    let home = Home::start(&[]).await;
    let elsewhere: Api<ConfigMap> = Api::namespaced(home.client.clone(), "kube-public");
    let owner = create(&elsewhere, owned("owner", &[])).await;
    home.create::<ConfigMap>(owned("child", &[&owner])).await;
    let uid = owner.uid().unwrap();
    let message = home
        .event("child", "OwnerRefInvalidNamespace")
        .await
        .message;
    assert_eq!(
        message,
        Some(format!(
            "ownerRef [v1/ConfigMap, namespace: default, name: owner, uid: {uid}] does not exist \
             in namespace \"default\""
        ))
    );
    gone(&home.api::<ConfigMap>(), "child").await;
}

/// Kubernetes conformance: "should support cascading deletion of custom resources" and "should
/// support orphan deletion of custom resources".
#[tokio::test]
async fn should_support_cascading_and_orphan_deletion_of_custom_resources() {
    let home = Home::start(&[]).await;
    let (boat, boats) = boats(&home).await;
    let owned_boat = |name: &str, owner: &DynamicObject| {
        let mut object = DynamicObject::new(name, &boat);
        object.metadata.owner_references = serde_json::from_value(json!([
            {"apiVersion": "example.com/v1", "kind": "Boat", "name": owner.name_any(),
                "uid": owner.uid()}]))
        .unwrap();
        object
    };
    let create = PostParams::default();
    for (owner, dependent, how) in [
        ("tug", "barge", DeleteParams::background()),
        ("ship", "dinghy", DeleteParams::orphan()),
    ] {
        let made = boats
            .create(&create, &DynamicObject::new(owner, &boat))
            .await;
        let made = made.unwrap();
        let object = owned_boat(dependent, &made);
        boats.create(&create, &object).await.unwrap();
        boats.delete(owner, &how).await.unwrap();
    }
    let is_gone = |object: Option<&DynamicObject>| object.is_none();
    for name in ["barge", "ship"] {
        let waited = await_condition(boats.clone(), name, is_gone);
        tokio::time::timeout(DEADLINE, waited)
            .await
            .unwrap()
            .unwrap();
    }
    let dinghy = boats.get("dinghy").await.unwrap();
    assert!(dinghy.owner_references().is_empty());
    assert_eq!(dinghy.metadata.deletion_timestamp, None);
}

/// A kind that is defined while everything runs.
async fn boats(home: &Home) -> (ApiResource, Api<DynamicObject>) {
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    }))
    .unwrap();
    let definitions = home.cluster_api::<CustomResourceDefinition>();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let boat = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Boat"));
    let boats: Api<DynamicObject> = Api::namespaced_with(home.client.clone(), "default", &boat);
    (boat, boats)
}

#[tokio::test]
async fn definitions_that_come_later_take_part() {
    let home = Home::start(&[]).await;
    let (boat, boats) = boats(&home).await;
    let object = DynamicObject::new("tug", &boat);
    let tug = boats.create(&PostParams::default(), &object).await.unwrap();
    home.create::<ConfigMap>(json!({"metadata": {"name": "cargo", "ownerReferences": [
        {"apiVersion": "example.com/v1", "kind": "Boat", "name": "tug", "uid": tug.uid()}]}}))
        .await;
    boats.delete("tug", &DeleteParams::default()).await.unwrap();
    gone(&home.api::<ConfigMap>(), "cargo").await;
}
