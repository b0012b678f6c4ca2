//! A home for tests: API server, drivers, control plane, and verbs to wait with.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use apiserver::extend::Extensions;
use apiserver::{ApiServer, User};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use longshore_standalone::csi_client::{DRIVER_NAME, TOPOLOGY_KEY, driver_socket, node_folder};
use longshore_standalone::{Config, ControlPlane, NodeSocket};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Far more than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const NAMESPACE: &str = "default";

/// Everything that one test runs.
pub(crate) struct Home {
    pub(crate) client: Client,
    /// What the control plane takes for the authorities of the API server.
    pub(crate) root_ca: watch::Sender<String>,
    folder: tempfile::TempDir,
    nodes: Vec<String>,
    drivers: Vec<JoinHandle<()>>,
    control_plane: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _server: ApiServer,
}

impl Home {
    /// A running home whose nodes each have a driver and a Node object.
    pub(crate) async fn start(nodes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ApiServer::open(folder.path(), Extensions::default())
            .await
            .unwrap();
        let client = Client::new(server.service(User::system()), NAMESPACE);
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        let mut home = Self {
            client,
            root_ca: watch::Sender::new("-----BEGIN CERTIFICATE-----".to_owned()),
            folder,
            nodes: nodes.clone(),
            drivers: Vec::new(),
            control_plane: None,
            _server: server,
        };
        for node in &nodes {
            home.start_driver(node);
            home.create_cluster::<Node>(json!({
                "metadata": {"name": node, "labels": {TOPOLOGY_KEY: node}},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"}},
            }))
            .await;
        }
        home.start_control_plane().await;
        home
    }

    fn start_driver(&mut self, node: &str) {
        std::fs::create_dir_all(self.pool(node)).unwrap();
        let socket = driver_socket(self.folder.path(), node);
        let pool = json!([{"name": "legacy", "path": self.pool(node)}]).to_string();
        let config = hostpath::Config {
            endpoint: format!("unix://{}", socket.display()),
            driver_name: DRIVER_NAME.to_owned(),
            node_id: node.to_owned(),
            version: "test".to_owned(),
            pools: hostpath::Config::parse_pools(&pool).unwrap(),
        };
        let driver = async {
            hostpath::serve(config, std::future::pending())
                .await
                .unwrap();
        };
        self.drivers.push(tokio::spawn(driver));
    }

    /// The folder that a node's volumes are in.
    pub(crate) fn pool(&self, node: &str) -> PathBuf {
        node_folder(self.folder.path(), node).join("pool")
    }

    /// The socket of a node's driver.
    pub(crate) fn socket(&self, node: &str) -> PathBuf {
        driver_socket(self.folder.path(), node)
    }

    /// Says which nodes the next control plane runs.
    pub(crate) fn set_nodes(&mut self, nodes: &[&str]) {
        self.nodes = nodes.iter().map(ToString::to_string).collect();
    }

    pub(crate) async fn start_control_plane(&mut self) {
        let socket = |name: &String| NodeSocket {
            name: name.clone(),
            socket: self.socket(name),
        };
        let config = Config {
            nodes: self.nodes.iter().map(socket).collect(),
            root_ca: Some(self.root_ca.subscribe()),
        };
        let control_plane = ControlPlane::start(self.client.clone(), config)
            .await
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = control_plane.run(async { drop(stopped.await) });
        self.control_plane = Some((stop, tokio::spawn(run)));
    }

    pub(crate) async fn stop_control_plane(&mut self) {
        let (stop, task) = self.control_plane.take().unwrap();
        stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) fn cluster_api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        Api::all(self.client.clone())
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Object,
    {
        create(&self.api(), object).await
    }

    pub(crate) async fn create_cluster<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Object,
    {
        create(&self.cluster_api(), object).await
    }

    /// Waits for a claim to be in a phase.
    pub(crate) async fn claim_in(&self, name: &str, phase: &str) -> PersistentVolumeClaim {
        until(&self.api(), name, phase, |claim: &PersistentVolumeClaim| {
            claim
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                == Some(phase)
        })
        .await
    }

    /// Waits for a volume to be in a phase.
    pub(crate) async fn volume_in(&self, name: &str, phase: &str) -> PersistentVolume {
        until(
            &self.cluster_api(),
            name,
            phase,
            |volume: &PersistentVolume| {
                volume
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref())
                    == Some(phase)
            },
        )
        .await
    }

    /// Waits for a Pod to be on a node.
    pub(crate) async fn pod_on(&self, name: &str, node: &str) -> Pod {
        until(&self.api(), name, node, |pod: &Pod| {
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
        })
        .await
    }

    /// Waits for an event about an object, and gives its message.
    pub(crate) async fn event(&self, object: &str, reason: &str) -> Event {
        let events = watcher::watcher(
            Api::<Event>::all(self.client.clone()),
            watcher::Config::default(),
        );
        let mut events = std::pin::pin!(events.default_backoff().applied_objects());
        let found = Box::pin(async {
            loop {
                let event = events.next().await.unwrap().unwrap();
                if event.involved_object.name.as_deref() == Some(object)
                    && event.reason.as_deref() == Some(reason)
                {
                    return event;
                }
            }
        });
        let found = tokio::time::timeout(DEADLINE, found).await;
        found.unwrap_or_else(|_| panic!("no event {reason} about {object}"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.drivers.iter().for_each(JoinHandle::abort);
        if let Some((_, task)) = &self.control_plane {
            task.abort();
        }
    }
}

/// What a test needs of a kind.
pub(crate) trait Object:
    Clone + Debug + DeserializeOwned + serde::Serialize + Send + 'static
{
}
impl<T: Clone + Debug + DeserializeOwned + serde::Serialize + Send + 'static> Object for T {}

pub(crate) async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource<DynamicType = ()> + Object,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

pub(crate) async fn patch<K>(api: &Api<K>, name: &str, change: Value) -> K
where
    K: Resource<DynamicType = ()> + Object,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap()
}

pub(crate) async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType = ()> + Object,
{
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Waits until an object is as wanted.
pub(crate) async fn until<K>(api: &Api<K>, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> K
where
    K: Resource<DynamicType = ()> + Object,
{
    let condition = |object: Option<&K>| object.is_some_and(&wanted);
    let wait = Box::pin(await_condition(api.clone(), name, condition));
    if let Ok(object) = tokio::time::timeout(DEADLINE, wait).await {
        return object.unwrap().unwrap();
    }
    panic!("{name} never was {what}: {:#?}", api.get_opt(name).await)
}

/// Waits until an object is gone.
pub(crate) async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType = ()> + Object,
{
    let condition = |object: Option<&K>| object.is_none();
    let waited = tokio::time::timeout(
        DEADLINE,
        Box::pin(await_condition(api.clone(), name, condition)),
    )
    .await;
    assert!(
        waited.is_ok(),
        "{name} never went: {:#?}",
        api.get_opt(name).await
    );
}

/// A claim of 16 MiB.
pub(crate) fn claim(name: &str, class: &str, more: Value) -> Value {
    let mut claim = json!({
        "metadata": {"name": name},
        "spec": {
            "storageClassName": class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Mi"}},
        },
    });
    json_patch::merge(&mut claim["spec"], &more);
    claim
}

/// A volume of 32 MiB that no driver made.
pub(crate) fn volume(name: &str, class: &str, more: Value) -> Value {
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {
            "storageClassName": class,
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "32Mi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/nowhere"},
        },
    });
    json_patch::merge(&mut volume["spec"], &more);
    volume
}

/// A Pod that mounts claims.
pub(crate) fn pod(name: &str, claims: &[&str]) -> Value {
    let volume =
        |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
    json!({
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "main", "image": "longshore"}],
            "volumes": claims.iter().map(volume).collect::<Vec<_>>(),
        },
    })
}

/// The name of the volume that a claim is bound to.
pub(crate) fn volume_of(claim: &PersistentVolumeClaim) -> String {
    claim.spec.as_ref().unwrap().volume_name.clone().unwrap()
}

pub(crate) fn annotation<K: Resource>(object: &K, key: &str) -> Option<String> {
    object.annotations().get(key).cloned()
}
