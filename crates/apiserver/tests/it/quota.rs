//! ResourceQuotas as admission. The status that a controller would count is set by the tests.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use longshore_apiserver::extend::Extensions;
use longshore_apiserver::{ApiServer, User};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server, and a client of its namespace `default`.
struct Home {
    client: Client,
    _server: ApiServer,
    _dir: TempDir,
}

impl Home {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(dir.path(), Extensions::default())
            .await
            .unwrap();
        let user = User::new("admin", &["system:masters"]);
        let client = Client::new(server.service(user), "default");
        Self {
            client,
            _server: server,
            _dir: dir,
        }
    }

    fn quotas(&self) -> Api<ResourceQuota> {
        Api::default_namespaced(self.client.clone())
    }

    /// Makes a quota that nothing is used of yet.
    async fn quota(&self, name: &str, spec: Value) {
        let hard = spec["hard"].as_object().unwrap().clone();
        let used: serde_json::Map<_, _> =
            hard.keys().map(|name| (name.clone(), "0".into())).collect();
        let quota = json!({"metadata": {"name": name}, "spec": spec});
        self.create::<ResourceQuota>(quota).await.unwrap();
        let status = json!({"status": {"hard": hard, "used": used}});
        let patch = Patch::Merge(status);
        let params = PatchParams::default();
        self.quotas()
            .patch_status(name, &params, &patch)
            .await
            .unwrap();
    }

    async fn used(&self, name: &str) -> Value {
        let status = self.quotas().get(name).await.unwrap().status.unwrap();
        json!(status.used)
    }

    async fn create<K>(&self, object: Value) -> Result<K, String>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + DeserializeOwned
            + serde::Serialize
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::default_namespaced(self.client.clone());
        let object: K = serde_json::from_value(object).unwrap();
        let created = api.create(&PostParams::default(), &object).await;
        created.map_err(message)
    }
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            assert_eq!(
                (status.code, &*status.reason),
                (403, "Forbidden"),
                "{status:?}"
            );
            status.message
        }
        other => panic!("{other}"),
    }
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "containers": [{"name": "main", "image": "i", "resources": resources}]}})
}

fn claim(name: &str, size: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"storageClassName": "gold",
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
}

#[tokio::test]
async fn a_full_quota_refuses_in_the_words_that_clients_match() {
    let home = Home::start().await;
    home.quota("few", json!({"hard": {"pods": "2", "requests.cpu": "1"}}))
        .await;
    let silent = home.create::<Pod>(pod("p", json!({}))).await.unwrap_err();
    assert_eq!(
        silent,
        "pods \"p\" is forbidden: failed quota: few: must specify requests.cpu for: main"
    );
    let small = json!({"requests": {"cpu": "400m"}});
    home.create::<Pod>(pod("a", small.clone())).await.unwrap();
    home.create::<Pod>(pod("b", small.clone())).await.unwrap();
    assert_eq!(
        home.used("few").await,
        json!({"pods": "2", "requests.cpu": "800m"})
    );
    let refused = home.create::<Pod>(pod("c", small)).await.unwrap_err();
    assert_eq!(
        refused,
        "pods \"c\" is forbidden: exceeded quota: few, requested: pods=1,requests.cpu=400m, \
         used: pods=2,requests.cpu=800m, limited: pods=2,requests.cpu=1"
    );
}

#[tokio::test]
async fn a_quota_without_a_status_bounds_nothing_and_half_a_status_everything() {
    let home = Home::start().await;
    let quota = json!({"metadata": {"name": "new"}, "spec": {"hard": {"configmaps": "0"}}});
    home.create::<ResourceQuota>(quota).await.unwrap();
    let config = |name: &str| json!({"metadata": {"name": name}});
    home.create::<ConfigMap>(config("a")).await.unwrap();
    let half = Patch::Merge(json!({"status": {"hard": {"configmaps": "5"}}}));
    let params = PatchParams::default();
    home.quotas()
        .patch_status("new", &params, &half)
        .await
        .unwrap();
    assert_eq!(
        home.create::<ConfigMap>(config("b")).await.unwrap_err(),
        "configmaps \"b\" is forbidden: status unknown for quota: new, resources: configmaps"
    );
}

#[tokio::test]
async fn creations_in_parallel_never_exceed_a_quota() {
    let home = Home::start().await;
    home.quota(
        "ten",
        json!({"hard": {"configmaps": "10", "count/configmaps": "12"}}),
    )
    .await;
    let creations = (0..50).map(|n| {
        let home = &home;
        async move {
            home.create::<ConfigMap>(json!({"metadata": {"name": format!("c{n}")}}))
                .await
        }
    });
    let outcomes = futures::future::join_all(creations).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (10, 40));
    for refusal in refused {
        let text = refusal.unwrap_err();
        let why = "exceeded quota: ten, requested: configmaps=1, used: configmaps=10, limited: configmaps=10";
        assert!(text.ends_with(why), "{text}");
    }
    let used = json!({"configmaps": "10", "count/configmaps": "10"});
    assert_eq!(home.used("ten").await, used);
}

#[tokio::test]
async fn what_was_not_stored_is_given_back() {
    let home = Home::start().await;
    home.quota("some", json!({"hard": {"configmaps": "5"}}))
        .await;
    let config = || serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(home.client.clone());
    api.create(&PostParams::default(), &config()).await.unwrap();
    let again = api.create(&PostParams::default(), &config()).await;
    assert!(matches!(again, Err(kube::Error::Api(status)) if status.code == 409));
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut other = config();
    other.metadata.name = Some("b".into());
    api.create(&dry, &other).await.unwrap();
    assert_eq!(home.used("some").await, json!({"configmaps": "1"}));
}

#[tokio::test]
async fn two_quotas_are_charged_both_or_neither() {
    let home = Home::start().await;
    home.quota("a-wide", json!({"hard": {"configmaps": "5"}}))
        .await;
    home.quota("b-tight", json!({"hard": {"count/configmaps": "1"}}))
        .await;
    let config = |name: &str| json!({"metadata": {"name": name}});
    home.create::<ConfigMap>(config("a")).await.unwrap();
    let refused = home.create::<ConfigMap>(config("b")).await.unwrap_err();
    assert!(
        refused.contains("exceeded quota: b-tight, requested: count/configmaps=1"),
        "{refused}"
    );
    assert_eq!(home.used("a-wide").await, json!({"configmaps": "1"}));
}

#[tokio::test]
async fn a_claim_that_grows_is_charged_the_growth() {
    let home = Home::start().await;
    let of_gold = "gold.storageclass.storage.k8s.io/requests.storage";
    home.quota(
        "disk",
        json!({"hard": {"requests.storage": "4Gi", of_gold: "3Gi"}}),
    )
    .await;
    home.create::<PersistentVolumeClaim>(claim("data", "1Gi"))
        .await
        .unwrap();
    assert_eq!(
        home.used("disk").await,
        json!({"requests.storage": "1Gi", of_gold: "1Gi"})
    );
    let api: Api<PersistentVolumeClaim> = Api::default_namespaced(home.client.clone());
    let params = PatchParams::default();
    let bind = Patch::Merge(json!({"spec": {"volumeName": "v"}}));
    api.patch("data", &params, &bind).await.unwrap();
    let bound = Patch::Merge(json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}));
    api.patch_status("data", &params, &bound).await.unwrap();

    let grow =
        |size: &str| Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
    api.patch("data", &params, &grow("2Gi")).await.unwrap();
    assert_eq!(
        home.used("disk").await,
        json!({"requests.storage": "2Gi", of_gold: "2Gi"})
    );
    let refused = message(api.patch("data", &params, &grow("4Gi")).await.unwrap_err());
    let expected = format!(
        "persistentvolumeclaims \"data\" is forbidden: exceeded quota: disk, requested: {of_gold}=2Gi, \
         used: {of_gold}=2Gi, limited: {of_gold}=3Gi"
    );
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn scopes_choose_the_pods() {
    let home = Home::start().await;
    home.quota(
        "idle",
        json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}),
    )
    .await;
    home.quota(
        "ending",
        json!({"hard": {"pods": "1"}, "scopes": ["Terminating"]}),
    )
    .await;
    let mut ending = pod("ending", json!({"requests": {"cpu": "1"}}));
    ending["spec"]["activeDeadlineSeconds"] = 60.into();
    home.create::<Pod>(pod("idle", json!({}))).await.unwrap();
    home.create::<Pod>(ending).await.unwrap();
    home.create::<Pod>(pod("busy", json!({"requests": {"cpu": "1"}})))
        .await
        .unwrap();
    let refused = home
        .create::<Pod>(pod("idler", json!({})))
        .await
        .unwrap_err();
    assert!(
        refused.contains("exceeded quota: idle, requested: pods=1"),
        "{refused}"
    );
    assert_eq!(home.used("idle").await, json!({"pods": "1"}));
    assert_eq!(home.used("ending").await, json!({"pods": "1"}));
}

#[tokio::test]
async fn pods_have_the_priority_of_their_class_and_quotas_know_it() {
    let home = Home::start().await;
    let in_class = json!({"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}]});
    home.quota(
        "high",
        json!({"hard": {"pods": "0"}, "scopeSelector": in_class}),
    )
    .await;
    let of = |name: &str, class: &str| {
        let mut pod = pod(name, json!({}));
        pod["spec"]["priorityClassName"] = class.into();
        pod
    };
    let made = home
        .create::<Pod>(of("a", "system-cluster-critical"))
        .await
        .unwrap();
    let spec = made.spec.unwrap();
    assert_eq!(spec.priority, Some(2_000_000_000));
    assert_eq!(
        spec.preemption_policy.as_deref(),
        Some("PreemptLowerPriority")
    );
    let refused = home
        .create::<Pod>(of("b", "system-node-critical"))
        .await
        .unwrap_err();
    assert!(refused.contains("exceeded quota: high"), "{refused}");
    assert_eq!(
        home.create::<Pod>(of("c", "nonesuch")).await.unwrap_err(),
        "pods \"c\" is forbidden: no PriorityClass with name nonesuch was found"
    );
}

#[tokio::test]
async fn objects_of_any_kind_are_counted() {
    let home = Home::start().await;
    let definitions: Api<DynamicObject> = Api::all_with(
        home.client.clone(),
        &kube::api::ApiResource::erase::<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        >(&()),
    );
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let definition = serde_json::from_value(definition).unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    home.quota("few", json!({"hard": {"count/widgets.example.com": "1"}}))
        .await;

    let gvk = kube::api::GroupVersionKind::gvk("example.com", "v1", "Widget");
    let resource = kube::api::ApiResource::from_gvk_with_plural(&gvk, "widgets");
    let widgets: Api<DynamicObject> = Api::default_namespaced_with(home.client.clone(), &resource);
    let widget = |name: &str| DynamicObject::new(name, &resource);
    widgets
        .create(&PostParams::default(), &widget("a"))
        .await
        .unwrap();
    let refused = widgets
        .create(&PostParams::default(), &widget("b"))
        .await
        .unwrap_err();
    assert_eq!(
        message(refused),
        "widgets.example.com \"b\" is forbidden: exceeded quota: few, requested: \
         count/widgets.example.com=1, used: count/widgets.example.com=1, limited: \
         count/widgets.example.com=1"
    );
    // Nothing is given back by itself: that takes a recount.
    widgets.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(
        home.used("few").await,
        json!({"count/widgets.example.com": "1"})
    );
}

/// `kubectl create` sends these kinds in protobuf.
#[tokio::test]
async fn kubectl_creates_and_describes_quotas_and_workloads() {
    let cluster = crate::support::Cluster::start().await;
    cluster
        .ok(&["create", "quota", "q", "--hard=pods=2,limits.memory=1Gi"])
        .await;
    let status = json!({"hard": {"pods": "2", "limits.memory": "1Gi"},
        "used": {"pods": "1", "limits.memory": "512Mi"}});
    let change = json!({"status": status}).to_string();
    let patch = [
        "patch",
        "quota",
        "q",
        "--subresource=status",
        "--type=merge",
        "-p",
        &change,
    ];
    cluster.ok(&patch).await;
    let shown = cluster.ok(&["describe", "quota", "q"]).await;
    for line in ["limits.memory  512Mi  1Gi", "pods           1      2"] {
        assert!(shown.contains(line), "{shown}");
    }
    let namespace = cluster.ok(&["describe", "namespace", "default"]).await;
    assert!(namespace.contains("Resource Quotas"), "{namespace}");
    let table = cluster.ok(&["get", "quota"]).await;
    let row = "q      pods: 1/2   limits.memory: 512Mi/1Gi";
    assert!(table.contains(row), "{table}");

    for create in [
        &[
            "create",
            "deployment",
            "web",
            "--image=one",
            "--replicas=2",
            "--port=80",
        ][..],
        &["create", "job", "work", "--image=one", "--", "true"],
        &["create", "service", "clusterip", "web", "--tcp=80:8080"],
        &[
            "create",
            "priorityclass",
            "high",
            "--value=1000",
            "--description=much",
        ],
        &[
            "create",
            "poddisruptionbudget",
            "few",
            "--selector=app=web",
            "--min-available=50%",
        ],
    ] {
        cluster.ok(create).await;
    }
    let table = cluster.ok(&["get", "deployments", "-o", "wide"]).await;
    assert!(table.contains("web    0/2     0            0"), "{table}");
    let path = "jsonpath={.spec.template.spec.containers[0].ports[0].containerPort}";
    assert_eq!(
        cluster.ok(&["get", "deployment", "web", "-o", path]).await,
        "80"
    );
    let path = "jsonpath={.spec.ports[0].targetPort}";
    assert_eq!(
        cluster.ok(&["get", "service", "web", "-o", path]).await,
        "8080"
    );
    let table = cluster.ok(&["get", "pdb,jobs"]).await;
    assert!(table.contains("50%") && table.contains("0/1"), "{table}");
}
