//! Garbage collection, of built-in kinds and of definitions that come later.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::home::{Home, gone, patch, until};

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

#[tokio::test]
async fn definitions_that_come_later_take_part() {
    let home = Home::start(&[]).await;
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
    let object = DynamicObject::new("tug", &boat);
    let tug = boats.create(&PostParams::default(), &object).await.unwrap();
    home.create::<ConfigMap>(json!({"metadata": {"name": "cargo", "ownerReferences": [
        {"apiVersion": "example.com/v1", "kind": "Boat", "name": "tug", "uid": tug.uid()}]}}))
        .await;
    boats.delete("tug", &DeleteParams::default()).await.unwrap();
    gone(&home.api::<ConfigMap>(), "cargo").await;
}
