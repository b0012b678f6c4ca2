//! Deployments, DaemonSets and Jobs: their Pods come, change and go.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::home::{Home, delete, gone, patch, until};
use crate::kubelet::Kubelet;

const REVISION: &str = "deployment.kubernetes.io/revision";

fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "one"}]},
            },
        },
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

/// Waits until all Pods of a Deployment are of its present template, and available.
async fn rolled_out(home: &Home, name: &str, replicas: i32) -> Deployment {
    until(
        &home.api(),
        name,
        "rolled out",
        |deployment: &Deployment| {
            let Some(status) = &deployment.status else {
                return false;
            };
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            status.observed_generation == deployment.metadata.generation
                && counts.iter().all(|count| count.unwrap_or(0) == replicas)
        },
    )
    .await
}

async fn images(home: &Home) -> Vec<String> {
    let pods = home
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let running = pods
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let images = running.flat_map(|pod| pod.spec.unwrap().containers);
    images.filter_map(|container| container.image).collect()
}

/// Conformance: "Deployment RollingUpdateDeployment should delete old pods and create new ones".
#[tokio::test]
async fn rolling_update_deployment_should_delete_old_pods_and_create_new_ones() {
    let home = Home::start(&["n1"]).await;
    let _kubelet = Kubelet::running(&home);
    home.create::<Deployment>(deployment("web", 3)).await;
    let made = rolled_out(&home, "web", 3).await;
    assert_eq!(made.annotations()[REVISION], "1");
    let message = home
        .event("web", "ScalingReplicaSet")
        .await
        .message
        .unwrap();
    assert!(message.starts_with("Scaled up replica set web-") && message.ends_with(" from 0 to 3"));

    let deployments = home.api::<Deployment>();
    patch(&deployments, "web", image("two")).await;
    let updated = rolled_out(&home, "web", 3).await;
    assert_eq!(images(&home).await, ["two"; 3]);
    let updated = until(
        &deployments,
        "web",
        "revision 2",
        |deployment: &Deployment| {
            deployment
                .annotations()
                .get(REVISION)
                .is_some_and(|number| number == "2")
                || deployment.resource_version() < updated.resource_version()
        },
    )
    .await;
    let conditions = updated.status.unwrap().conditions.unwrap();
    let reasons: BTreeSet<_> = conditions
        .iter()
        .filter_map(|c| c.reason.as_deref())
        .collect();
    let expected = BTreeSet::from(["MinimumReplicasAvailable", "NewReplicaSetAvailable"]);
    assert_eq!(reasons, expected);

    let sets = home
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let sizes: BTreeSet<_> = sets
        .iter()
        .map(|set| {
            (
                set.annotations()[REVISION].clone(),
                set.spec.as_ref().unwrap().replicas,
            )
        })
        .collect();
    assert_eq!(
        sizes,
        BTreeSet::from([("1".into(), Some(0)), ("2".into(), Some(3))])
    );
    for set in &sets {
        let labels = set.labels();
        assert!(
            set.name_any().ends_with(&labels["pod-template-hash"]),
            "{labels:?}"
        );
    }

    // The way back is the template of before.
    patch(&deployments, "web", image("one")).await;
    until(
        &deployments,
        "web",
        "revision 3",
        |deployment: &Deployment| {
            deployment
                .annotations()
                .get(REVISION)
                .is_some_and(|number| number == "3")
        },
    )
    .await;
    rolled_out(&home, "web", 3).await;
    let sets = home
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(sets.len(), 2);
}

/// Conformance: "Deployment should support rollover".
#[tokio::test]
async fn deployment_should_support_rollover() {
    let home = Home::start(&["n1"]).await;
    home.create::<Deployment>(deployment("web", 2)).await;
    let deployments = home.api::<Deployment>();
    // Nothing runs yet, and the next template comes already.
    until(
        &deployments,
        "web",
        "under way",
        |deployment: &Deployment| {
            let status = deployment.status.as_ref();
            status.is_some_and(|status| status.replicas == Some(2))
        },
    )
    .await;
    patch(&deployments, "web", image("two")).await;
    let _kubelet = Kubelet::running(&home);
    rolled_out(&home, "web", 2).await;
    assert_eq!(images(&home).await, ["two"; 2]);
    delete(&deployments, "web").await;
    gone(&deployments, "web").await;
    for set in home
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
    {
        gone(&home.api::<ReplicaSet>(), &set.name_any()).await;
    }
    for pod in home
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap()
    {
        gone(&home.api::<Pod>(), &pod.name_any()).await;
    }
}

/// Conformance: "Deployment RecreateDeployment should delete old pods and create new ones".
#[tokio::test]
async fn recreate_deployment_should_delete_old_pods_and_create_new_ones() {
    let home = Home::start(&["n1"]).await;
    let _kubelet = Kubelet::running(&home);
    let mut recreated = deployment("web", 2);
    recreated["spec"]["strategy"] = json!({"type": "Recreate"});
    home.create::<Deployment>(recreated).await;
    rolled_out(&home, "web", 2).await;
    let deployments = home.api::<Deployment>();
    patch(&deployments, "web", image("two")).await;
    rolled_out(&home, "web", 2).await;
    assert_eq!(images(&home).await, ["two"; 2]);
    patch(&deployments, "web", json!({"spec": {"replicas": 1}})).await;
    rolled_out(&home, "web", 1).await;
}

/// Conformance: "ReplicaSet should adopt matching pods on creation and release no longer matching
/// pods".
#[tokio::test]
async fn replica_set_should_adopt_matching_pods_on_creation_and_release_no_longer_matching_pods() {
    let home = Home::start(&["n1"]).await;
    let labels = json!({"name": "pod-adoption-release"});
    let spec = json!({"containers": [{"name": "main", "image": "one"}]});
    let alone = json!({"metadata": {"name": "orphan", "labels": labels}, "spec": spec});
    home.create::<Pod>(alone).await;
    let set = json!({"metadata": {"name": "set"}, "spec": {"replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec}}});
    home.create::<ReplicaSet>(set).await;
    let pods = home.api::<Pod>();
    until(&pods, "orphan", "adopted", |pod: &Pod| {
        pod.owner_references()
            .iter()
            .any(|owner| owner.name == "set")
    })
    .await;
    assert_eq!(
        pods.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    patch(
        &pods,
        "orphan",
        json!({"metadata": {"labels": {"name": "other"}}}),
    )
    .await;
    until(&pods, "orphan", "released", |pod: &Pod| {
        pod.owner_references().is_empty()
    })
    .await;
}

/// Conformance: "DaemonSet should run and stop simple daemon" and "should rollback without
/// unnecessary restarts" (its history).
#[tokio::test]
async fn daemon_set_should_run_and_stop_simple_daemon() {
    let home = Home::start(&["n1", "n2"]).await;
    let _kubelet = Kubelet::running(&home);
    let daemon = json!({"metadata": {"name": "daemon"}, "spec": {
        "selector": {"matchLabels": {"app": "daemon"}},
        "template": {"metadata": {"labels": {"app": "daemon"}}, "spec": {
            "nodeSelector": {"color": "blue"}, "containers": [{"name": "main", "image": "one"}]}}}});
    home.create::<DaemonSet>(daemon).await;
    let sets = home.api::<DaemonSet>();
    let runs_on = async |nodes: i32| {
        until(&sets, "daemon", "on all nodes", |set: &DaemonSet| {
            let status = set.status.clone().unwrap_or_default();
            status.observed_generation == set.metadata.generation
                && status.desired_number_scheduled == nodes
                && status.current_number_scheduled == nodes
                && status.number_available.unwrap_or(0) == nodes
                && status.updated_number_scheduled.unwrap_or(0) == nodes
        })
        .await;
    };
    runs_on(0).await;
    let blue = json!({"metadata": {"labels": {"color": "blue"}}});
    let nodes = home.cluster_api::<Node>();
    patch(&nodes, "n1", blue.clone()).await;
    runs_on(1).await;
    patch(&nodes, "n2", blue).await;
    runs_on(2).await;
    let pods = home
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let on: BTreeSet<_> = pods
        .iter()
        .filter_map(|pod| pod.spec.clone()?.node_name)
        .collect();
    assert_eq!(on, BTreeSet::from(["n1".to_owned(), "n2".to_owned()]));

    // A Pod that is stopped comes again, and a new template reaches all nodes.
    delete(&home.api::<Pod>(), &pods[0].name_any()).await;
    gone(&home.api::<Pod>(), &pods[0].name_any()).await;
    runs_on(2).await;
    patch(&sets, "daemon", image("two")).await;
    runs_on(2).await;
    assert_eq!(images(&home).await, ["two"; 2]);
    let revisions = home.api::<ControllerRevision>();
    let revisions = revisions.list(&ListParams::default()).await.unwrap().items;
    let numbers: BTreeSet<_> = revisions.iter().map(|revision| revision.revision).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2]));
    patch(
        &nodes,
        "n2",
        json!({"metadata": {"labels": {"color": "red"}}}),
    )
    .await;
    runs_on(1).await;
}

fn job(name: &str, spec: Value) -> Value {
    let mut job = json!({"metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] = json!({"spec": {"restartPolicy": "Never",
        "containers": [{"name": "main", "image": "one"}]}});
    job
}

async fn with_condition(home: &Home, name: &str, condition: &str) -> Job {
    until(&home.api(), name, condition, |job: &Job| {
        let conditions = job
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|c| c.type_ == condition && c.status == "True")
    })
    .await
}

/// Conformance: "Job should run a job to completion when tasks succeed".
#[tokio::test]
async fn job_should_run_a_job_to_completion_when_tasks_succeed() {
    let home = Home::start(&["n1"]).await;
    let _kubelet = Kubelet::start(&home, json!({"phase": "Succeeded"}));
    home.create::<Job>(job("work", json!({"completions": 4, "parallelism": 2})))
        .await;
    let done = with_condition(&home, "work", "Complete").await;
    let status = done.status.unwrap();
    assert_eq!(
        (status.succeeded, status.active, status.failed),
        (Some(4), None, None)
    );
    assert!(status.start_time.is_some() && status.completion_time.is_some());
    assert_eq!(
        home.event("work", "Completed").await.message.as_deref(),
        Some("Job completed")
    );
    let pods = home
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(pods.len(), 4);
    assert!(
        pods.iter()
            .all(|pod| pod.labels()["batch.kubernetes.io/job-name"] == "work")
    );
}

/// Conformance: "Job should fail to exceed backoffLimit" and "should delete a job".
#[tokio::test]
async fn job_should_fail_to_exceed_backoff_limit() {
    let home = Home::start(&["n1"]).await;
    let _kubelet = Kubelet::start(&home, json!({"phase": "Failed"}));
    home.create::<Job>(job("work", json!({"backoffLimit": 0})))
        .await;
    let failed = with_condition(&home, "work", "Failed").await;
    let conditions = failed.status.unwrap().conditions.unwrap();
    let last = conditions.iter().find(|c| c.type_ == "Failed").unwrap();
    assert_eq!(last.reason.as_deref(), Some("BackoffLimitExceeded"));
    let message = home.event("work", "BackoffLimitExceeded").await.message;
    assert_eq!(
        message.as_deref(),
        Some("Job has reached the specified backoff limit")
    );
    delete(&home.api::<Job>(), "work").await;
    for pod in home
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap()
    {
        gone(&home.api::<Pod>(), &pod.name_any()).await;
    }
}

#[tokio::test]
async fn a_suspended_job_waits_and_an_expired_one_goes() {
    let home = Home::start(&["n1"]).await;
    let _kubelet = Kubelet::start(&home, json!({"phase": "Succeeded"}));
    let spec = json!({"suspend": true, "ttlSecondsAfterFinished": 0});
    home.create::<Job>(job("work", spec)).await;
    with_condition(&home, "work", "Suspended").await;
    assert!(images(&home).await.is_empty());
    patch(
        &home.api::<Job>(),
        "work",
        json!({"spec": {"suspend": false}}),
    )
    .await;
    gone(&home.api::<Job>(), "work").await;
}
