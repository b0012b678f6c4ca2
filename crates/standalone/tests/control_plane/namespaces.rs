//! Namespaces from beginning to end.

use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, ServiceAccount,
};
use kube::Api;
use serde_json::json;

use crate::home::{Home, claim, create, delete, gone, patch, until};

#[tokio::test]
async fn a_namespace_is_furnished() {
    let home = Home::start(&[]).await;
    home.create_cluster::<Namespace>(json!({"metadata": {"name": "work"}}))
        .await;
    let accounts: Api<ServiceAccount> = Api::namespaced(home.client.clone(), "work");
    until(&accounts, "default", "there", |_| true).await;
    let maps: Api<ConfigMap> = Api::namespaced(home.client.clone(), "work");
    let map = until(&maps, "kube-root-ca.crt", "there", |_| true).await;
    assert!(map.data.unwrap()["ca.crt"].starts_with("-----BEGIN"));
    delete(&accounts, "default").await;
    until(&accounts, "default", "there again", |_| true).await;
}

#[tokio::test]
async fn the_authorities_to_trust_are_kept_right() {
    let home = Home::start(&[]).await;
    let maps: Api<ConfigMap> = home.api();
    let says = |text: &'static str| {
        move |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data["ca.crt"] == text)
    };
    let name = "kube-root-ca.crt";
    let first = "-----BEGIN CERTIFICATE-----";
    until(&maps, name, "there", says(first)).await;
    patch(&maps, name, json!({"data": {"ca.crt": "other"}})).await;
    until(&maps, name, "restored", says(first)).await;
    home.root_ca.send_replace("next".to_owned());
    until(&maps, name, "up to date", says("next")).await;
}

#[tokio::test]
async fn a_deleted_namespace_takes_everything_with_it_and_says_what_it_waits_for() {
    let home = Home::start(&["n1"]).await;
    home.create_cluster::<Namespace>(json!({"metadata": {"name": "work"}}))
        .await;
    let maps: Api<ConfigMap> = Api::namespaced(home.client.clone(), "work");
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    create(&maps, held).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(home.client.clone(), "work");
    create(
        &claims,
        claim("data", "longshore-local-immediate", json!({})),
    )
    .await;
    let bound = until(&claims, "data", "bound", |claim| {
        claim.status.as_ref().unwrap().phase.as_deref() == Some("Bound")
    })
    .await;

    let namespaces = home.cluster_api::<Namespace>();
    delete(&namespaces, "work").await;
    gone(&claims, "data").await;
    gone(
        &home.cluster_api::<PersistentVolume>(),
        &crate::home::volume_of(&bound),
    )
    .await;
    until(&namespaces, "work", "waiting", |namespace| {
        let conditions = namespace
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten());
        conditions.into_iter().any(|condition| {
            condition.type_ == "NamespaceFinalizersRemaining"
                && condition
                    .message
                    .as_ref()
                    .unwrap()
                    .contains("example.com/hold in 1")
        })
    })
    .await;
    patch(&maps, "held", json!({"metadata": {"finalizers": null}})).await;
    gone(&namespaces, "work").await;
}
