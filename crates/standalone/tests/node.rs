//! A node agent with everything around it that is real: API server, control plane, CSI driver, and
//! Pods as processes.
//!
//! The agent mounts, so these tests run as root in a mount namespace of their own; where that is
//! not permitted they say so and pass.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says when it is skipped"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use apiserver::extend::Extensions;
use apiserver::{ApiServer, User};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerStatus, Event, Node, PersistentVolumeClaim, Pod, Secret,
};
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::client::Body;
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::{Api, Client};
use longshore_standalone::node::logs::{Logs, PodLogs};
use longshore_standalone::node::{Agent, AgentConfig};
use longshore_standalone::{Config, ControlPlane, NodeSocket, csi_client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const NODE: &str = "node-1";

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// One home with one node.
struct Home {
    folder: TempDir,
    client: Client,
    logs: Logs,
    agent: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    recorder: longshore_standalone::events::Recorder,
}

impl Home {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("node").tempdir().unwrap();
        let logs = Logs::new(folder.path());
        let extensions =
            Extensions::default().subresource(PodLogs::about(), PodLogs::new(logs.clone()));
        let server = ApiServer::open(folder.path(), extensions).await.unwrap();
        let client = Client::new(server.service(User::system()), "default");
        let socket = csi_client::driver_socket(folder.path(), NODE);
        let nodes = vec![NodeSocket {
            name: NODE.to_owned(),
            socket,
        }];
        let control_plane = ControlPlane::start(
            client.clone(),
            Config {
                nodes,
                root_ca: Some(watch::channel("-----BEGIN CERTIFICATE-----".to_owned()).1),
            },
        )
        .await
        .unwrap();
        let recorder = control_plane.recorder().clone();
        tokio::spawn(control_plane.run(std::future::pending()));
        let mut home = Self {
            folder,
            client,
            logs,
            agent: None,
            recorder,
        };
        home.start_agent();
        home
    }

    fn start_agent(&mut self) {
        self.start_agent_with(self.client.clone());
    }

    fn start_agent_with(&mut self, client: Client) {
        let tests = std::env::current_exe().unwrap();
        let config = AgentConfig {
            node_name: NODE.to_owned(),
            ordinal: 0,
            data_dir: self.folder.path().to_owned(),
            program: tests
                .parent()
                .unwrap()
                .parent()
                .unwrap()
                .join("examples/node"),
            version: "v0.1.0".to_owned(),
            api: Some(([127, 0, 0, 1], 6443).into()),
        };
        let agent = Agent::new(config, client, &self.recorder, self.logs.clone()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = agent.run(async {
            let _ = stopped.await;
        });
        self.agent = Some((stop, tokio::spawn(run)));
    }

    async fn stop_agent(&mut self) {
        let (stop, run) = self.agent.take().unwrap();
        drop(stop);
        run.await.unwrap();
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::default_namespaced(self.client.clone())
    }

    async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + serde::Serialize
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    /// Waits until the Pod is as wanted.
    async fn pod(&self, name: &str, wanted: impl Condition<Pod>) -> Pod {
        let waiting = await_condition(self.api::<Pod>(), name, wanted);
        if let Ok(pod) = tokio::time::timeout(PATIENCE, waiting).await {
            return pod.unwrap().unwrap();
        }
        let pod = self.api::<Pod>().get_opt(name).await.unwrap();
        unreachable!(
            "the pod does not get there: {pod:#?} {:?}",
            self.events(name).await
        )
    }

    async fn ended(&self, name: &str) -> Pod {
        self.pod(name, |pod: Option<&Pod>| {
            matches!(phase(pod), "Succeeded" | "Failed")
        })
        .await
    }

    async fn gone(&self, name: &str) {
        let uid = self
            .api::<Pod>()
            .get(name)
            .await
            .unwrap()
            .metadata
            .uid
            .unwrap();
        let gone = await_condition(self.api::<Pod>(), name, conditions::is_deleted(&uid));
        tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    }

    async fn events(&self, about: &str) -> Vec<String> {
        let events = self
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let of_pod = events
            .items
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(about));
        of_pod
            .map(|event| {
                format!(
                    "{}: {}",
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default()
                )
            })
            .collect()
    }

    /// Waits for an event that begins so.
    async fn says(&self, about: &str, expected: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let events = self.events(about).await;
            if events.iter().any(|event| event.starts_with(expected)) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{events:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn log(&self, name: &str, parameters: LogParams) -> String {
        self.api::<Pod>().logs(name, &parameters).await.unwrap()
    }

    async fn no_folder_is_left(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while fs::read_dir(self.pods_folder()).unwrap().count() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "folders stay");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn pods_folder(&self) -> PathBuf {
        self.folder.path().join("nodes").join(NODE).join("pods")
    }
}

fn phase(pod: Option<&Pod>) -> &str {
    pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref())
        .unwrap_or_default()
}

fn container(pod: &Pod) -> &ContainerStatus {
    &pod.status
        .as_ref()
        .unwrap()
        .container_statuses
        .as_ref()
        .unwrap()[0]
}

fn waits_for(reason: &'static str) -> impl Condition<Pod> {
    move |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        let waiting = status.and_then(|all| all.first()?.state.as_ref()?.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
    }
}

fn runs(restarts: i32) -> impl Condition<Pod> {
    move |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first());
        status.is_some_and(|status| status.ready && status.restart_count == restarts)
    }
}

/// A Pod of one container, which runs a script.
fn script(name: &str, policy: &str, script: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "main", "image": "tools",
                "command": ["sh", "-c", script],
            }],
        },
    })
}

/// Runs a test in a mount namespace of its own, on one thread so that the namespace holds for all
/// of it.
fn in_private_namespace(test: impl Future<Output = ()>) {
    if let Err(error) = sys::namespace::enter() {
        println!("skipped: {error}");
        return;
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn the_node_registers_itself_and_its_driver() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        let nodes: Api<Node> = Api::all(home.client.clone());
        let is_ready = |node: Option<&Node>| {
            let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
            conditions
                .into_iter()
                .flatten()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        let node = tokio::time::timeout(PATIENCE, await_condition(nodes, NODE, is_ready));
        let node = node.await.unwrap().unwrap().unwrap();
        assert_eq!(
            node.metadata.labels.unwrap()["topology.hostpath.csi/node"],
            NODE
        );
        let drivers: Api<CSINode> = Api::all(home.client.clone());
        let has_driver = |node: Option<&CSINode>| node.is_some_and(|n| !n.spec.drivers.is_empty());
        let driver = tokio::time::timeout(PATIENCE, await_condition(drivers, NODE, has_driver));
        let driver = driver
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .spec
            .drivers
            .remove(0);
        assert_eq!(driver.name, "kubevirt.io.hostpath-provisioner");
        assert_eq!(
            driver.topology_keys.unwrap(),
            ["topology.hostpath.csi/node"]
        );
        let leases: Api<Lease> = Api::namespaced(home.client.clone(), "kube-node-lease");
        let is_alive = |lease: Option<&Lease>| {
            lease.is_some_and(|lease| {
                lease
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.renew_time.is_some())
            })
        };
        let alive = tokio::time::timeout(PATIENCE, await_condition(leases, NODE, is_alive));
        alive.await.unwrap().unwrap();
        home.stop_agent().await;
    });
}

#[test]
fn a_worker_writes_its_volume_and_leaves_a_last_word() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        home.create::<PersistentVolumeClaim>(json!({
            "metadata": { "name": "disk" },
            "spec": {
                "storageClassName": "longshore-local",
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "16Mi" } },
            },
        }))
        .await;
        let script = "id -u; echo $NAME $POD_IP; echo data > /data/disk.img; \
                      printf '{\"message\":\"Import Complete\"}' > /dev/termination-log";
        let address = json!({ "fieldRef": { "fieldPath": "status.podIP" } });
        home.create::<Pod>(json!({
            "metadata": { "name": "importer" },
            "spec": {
                "restartPolicy": "OnFailure",
                "securityContext": { "runAsUser": 107, "fsGroup": 107, "runAsNonRoot": true },
                "volumes": [
                    { "name": "disk", "persistentVolumeClaim": { "claimName": "disk" } },
                    { "name": "scratch", "emptyDir": {} },
                ],
                "containers": [{
                    "name": "importer", "image": "longshore:1", "command": ["sh", "-c", script],
                    "env": [
                        { "name": "NAME", "value": "$(WHO)-$(POD_IP)" },
                        { "name": "POD_IP", "valueFrom": address },
                    ],
                    "volumeMounts": [
                        { "name": "disk", "mountPath": "/data" },
                        { "name": "scratch", "mountPath": "/scratch" },
                    ],
                }],
            },
        }))
        .await;
        let pod = home.ended("importer").await;
        assert_eq!(phase(Some(&pod)), "Succeeded", "{pod:#?}");
        let status = pod.status.as_ref().unwrap();
        let address = status.pod_ip.clone().unwrap();
        assert!(address.starts_with("127.64."), "{address}");
        let ended = container(&pod).state.clone().unwrap().terminated.unwrap();
        assert_eq!(
            (ended.exit_code, ended.reason.as_deref()),
            (0, Some("Completed"))
        );
        assert_eq!(
            ended.message.as_deref(),
            Some("{\"message\":\"Import Complete\"}")
        );
        let log = home.log("importer", LogParams::default()).await;
        assert_eq!(log, format!("107\n$(WHO)-$(POD_IP) {address}\n"));

        let claim = home
            .api::<PersistentVolumeClaim>()
            .get("disk")
            .await
            .unwrap();
        let volume = claim.spec.unwrap().volume_name.unwrap();
        let folder = home
            .folder
            .path()
            .join("nodes")
            .join(NODE)
            .join("pool")
            .join(volume);
        assert_eq!(
            fs::read_to_string(folder.join("disk.img")).unwrap(),
            "data\n"
        );
        let owner = fs::metadata(folder.join("disk.img")).unwrap();
        // Where the node knows no such user, its own user owns what the container writes.
        let id = if sys::namespace::can_become(107, 107).unwrap() {
            107
        } else {
            0
        };
        assert_eq!((owner.uid(), owner.gid()), (id, id));
        for expected in ["Pulled", "Created", "Started"] {
            home.says("importer", expected).await;
        }
        home.api::<Pod>()
            .delete("importer", &DeleteParams::default())
            .await
            .unwrap();
        home.no_folder_is_left().await;
        assert!(
            folder.join("disk.img").exists(),
            "a volume outlives its pod"
        );
        home.stop_agent().await;
    });
}

/// A client whose first write of the status of a Pod `p` is carried out late, as by a busy server:
/// even when the caller has given up. Says when that is done.
fn hesitant(client: Client) -> (Client, oneshot::Receiver<()>) {
    let (landed, done) = oneshot::channel();
    let mut landed = Some(landed);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let is_status = request.method() == http::Method::PATCH
            && request.uri().path().ends_with("/pods/p/status");
        let late = if is_status { landed.take() } else { None };
        let client = client.clone();
        let answer = tokio::spawn(async move {
            let Some(landed) = late else {
                return client.send(request).await;
            };
            tokio::time::sleep(Duration::from_secs(1)).await;
            let answer = client.send(request).await;
            let _ = landed.send(());
            answer
        });
        async { answer.await.unwrap() }
    });
    (Client::new(service, "default"), done)
}

#[test]
fn a_late_write_does_not_undo_the_end_of_a_pod() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        home.stop_agent().await;
        let (client, landed) = hesitant(home.client.clone());
        home.start_agent_with(client);
        home.create::<Pod>(script("p", "Never", "true")).await;
        home.ended("p").await;
        tokio::time::timeout(PATIENCE, landed)
            .await
            .unwrap()
            .unwrap();
        let pod = home.api::<Pod>().get("p").await.unwrap();
        assert_eq!(phase(Some(&pod)), "Succeeded");
        home.stop_agent().await;
    });
}

#[test]
fn a_failing_container_is_restarted_with_pauses_that_grow() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        let mut pod = script("p", "OnFailure", "echo attempt; echo no luck >&2; exit 1");
        pod["spec"]["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        home.create::<Pod>(pod).await;
        let pod = home.pod("p", waits_for("CrashLoopBackOff")).await;
        assert_eq!(phase(Some(&pod)), "Running");
        let status = container(&pod);
        assert!(status.restart_count >= 1);
        let last = status.last_state.clone().unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.reason.as_deref()), (1, Some("Error")));
        let mut words: Vec<_> = last.message.as_deref().unwrap().lines().collect();
        words.sort_unstable();
        assert_eq!(words, ["attempt", "no luck"]);
        let previous = LogParams {
            previous: true,
            tail_lines: Some(1),
            ..LogParams::default()
        };
        assert_eq!(home.log("p", previous).await.lines().count(), 1);
        home.stop_agent().await;
    });
}

#[test]
fn what_is_missing_is_said_and_awaited() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        let mut pod = script("p", "Never", "test \"$WORD\" = sesame");
        pod["spec"]["containers"][0]["env"] = json!([
            { "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "pass", "key": "word" } } },
        ]);
        home.create::<Pod>(pod).await;
        let waiting = home.pod("p", waits_for("CreateContainerConfigError")).await;
        let waiting = container(&waiting).state.clone().unwrap().waiting.unwrap();
        assert_eq!(
            waiting.message.as_deref(),
            Some("secret \"pass\" not found")
        );
        home.create::<Secret>(json!({
            "metadata": { "name": "pass" }, "stringData": { "word": "sesame" },
        }))
        .await;
        assert_eq!(phase(Some(&home.ended("p").await)), "Succeeded");

        let mut foreign = script("q", "Never", "");
        foreign["spec"]["containers"][0]["command"] = Value::Null;
        home.create::<Pod>(foreign).await;
        let waiting = home.pod("q", waits_for("ErrImagePull")).await;
        assert_eq!(phase(Some(&waiting)), "Pending");
        home.stop_agent().await;
    });
}

#[test]
fn a_deleted_pod_may_finish_and_leaves_nothing() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        let patient = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        home.create::<Pod>(script("p", "Always", patient)).await;
        home.pod("p", runs(0)).await;
        let follow = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let mut lines = home
            .api::<Pod>()
            .log_stream("p", &follow)
            .await
            .unwrap()
            .lines();
        assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("ready"));
        home.api::<Pod>()
            .delete("p", &DeleteParams::default())
            .await
            .unwrap();
        assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("bye"));
        assert_eq!(lines.try_next().await.unwrap(), None);
        if home.api::<Pod>().get_opt("p").await.unwrap().is_some() {
            home.gone("p").await;
        }
        assert_eq!(fs::read_dir(home.pods_folder()).unwrap().count(), 0);
        home.stop_agent().await;
    });
}

#[test]
fn an_agent_takes_up_where_the_last_one_died() {
    in_private_namespace(async {
        let mut home = Home::start().await;
        home.create::<Pod>(script("p", "OnFailure", "echo ready; sleep 1000"))
            .await;
        home.create::<Pod>(script("once", "Never", "sleep 1000"))
            .await;
        let before = home.pod("p", runs(0)).await;
        home.pod("once", runs(0)).await;
        home.stop_agent().await;
        let orphan = home.pods_folder().join("0-0-0-0");
        fs::create_dir_all(orphan.join("volumes/pvc-1/mount")).unwrap();
        fs::create_dir_all(orphan.join("handles")).unwrap();
        fs::write(orphan.join("handles/pvc-1"), "pvc-1").unwrap();

        home.start_agent();
        let after = home.pod("p", runs(1)).await;
        let last = container(&after)
            .last_state
            .clone()
            .unwrap()
            .terminated
            .unwrap();
        assert_eq!(last.exit_code, 137);
        let address = |pod: &Pod| pod.status.as_ref().unwrap().pod_ip.clone();
        assert_eq!(address(&after), address(&before));
        assert_eq!(phase(Some(&home.ended("once").await)), "Failed");
        home.api::<Pod>()
            .delete("p", &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
        home.api::<Pod>()
            .delete("once", &DeleteParams::default())
            .await
            .unwrap();
        home.no_folder_is_left().await;
        home.stop_agent().await;
    });
}

/// A Pod of one container that reads what it is told, and says it.
fn reader(name: &str, container: Value, volumes: Value) -> Value {
    let mut pod = script(name, "Never", "");
    json_patch::merge(&mut pod["spec"]["containers"][0], &container);
    pod["spec"]["volumes"] = volumes;
    pod
}

#[test]
fn a_container_knows_its_account_and_where_the_api_is() {
    in_private_namespace(async {
        let home = Home::start().await;
        let say = "cd /var/run/secrets/kubernetes.io/serviceaccount && cat namespace && echo && \
                   cat ca.crt && echo && cut -d. -f2 token && \
                   echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT";
        home.create::<Pod>(script("member", "Never", say)).await;
        let pod = home.ended("member").await;
        assert_eq!(
            phase(Some(&pod)),
            "Succeeded",
            "{:?}",
            home.events("member").await
        );
        let log = home.log("member", LogParams::default()).await;
        let [namespace, authority, claims, api] = *log.lines().collect::<Vec<_>>() else {
            unreachable!("{log}")
        };
        assert_eq!(namespace, "default");
        assert_eq!(authority, "-----BEGIN CERTIFICATE-----");
        assert_eq!(api, "127.0.0.1:6443");
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["sub"], "system:serviceaccount:default:default");
        assert_eq!(claims["kubernetes.io"]["pod"]["name"], "member");
    });
}

#[test]
fn a_container_that_wants_no_token_gets_none() {
    in_private_namespace(async {
        let home = Home::start().await;
        let mut pod = script(
            "stranger",
            "Never",
            "test ! -e /var/run/secrets/kubernetes.io",
        );
        pod["spec"]["automountServiceAccountToken"] = json!(false);
        home.create::<Pod>(pod).await;
        let pod = home.ended("stranger").await;
        assert_eq!(phase(Some(&pod)), "Succeeded");
        assert!(pod.spec.unwrap().volumes.is_none());
    });
}

#[test]
fn a_container_is_told_what_its_environment_refers_to() {
    in_private_namespace(async {
        let home = Home::start().await;
        home.create::<ConfigMap>(json!({"metadata": {"name": "map"},
            "data": {"COLOUR": "blue", "SIZE": "9"}}))
            .await;
        home.create::<Secret>(json!({"metadata": {"name": "secret"}, "stringData": {"KEY": "x"}}))
            .await;
        let container = json!({
            "command": ["sh", "-c", "echo $COLOUR $A_KEY $SIZE $OWN $LIMIT $NODE"],
            "resources": {"limits": {"memory": "64Mi"}},
            "envFrom": [{"configMapRef": {"name": "map"}},
                {"prefix": "A_", "secretRef": {"name": "secret"}},
                {"configMapRef": {"name": "missing", "optional": true}}],
            "env": [
                {"name": "SIZE", "value": "10"},
                {"name": "OWN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "LIMIT", "valueFrom": {"resourceFieldRef":
                    {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
        });
        home.create::<Pod>(reader("told", container, json!([])))
            .await;
        home.ended("told").await;
        let log = home.log("told", LogParams::default()).await;
        assert_eq!(log, "blue x 10 told 64 node-1\n");
    });
}

#[test]
fn a_source_of_the_environment_may_come_later() {
    in_private_namespace(async {
        let home = Home::start().await;
        let container = json!({"command": ["sh", "-c", "echo $COLOUR"],
            "envFrom": [{"configMapRef": {"name": "late"}}]});
        home.create::<Pod>(reader("patient", container, json!([])))
            .await;
        home.pod("patient", waits_for("CreateContainerConfigError"))
            .await;
        home.says("patient", "Failed: configmap \"late\" not found")
            .await;
        home.create::<ConfigMap>(json!({"metadata": {"name": "late"}, "data": {"COLOUR": "red"}}))
            .await;
        home.ended("patient").await;
        assert_eq!(home.log("patient", LogParams::default()).await, "red\n");
    });
}

#[test]
fn volumes_of_files_are_mounted_whole_and_in_parts() {
    in_private_namespace(async {
        let home = Home::start().await;
        home.create::<ConfigMap>(
            json!({"metadata": {"name": "map"}, "data": {"a": "1", "b": "2"}}),
        )
        .await;
        home.create::<Secret>(json!({"metadata": {"name": "secret"}, "stringData": {"c": "3"}}))
            .await;
        let volumes = json!([
            {"name": "all", "projected": {"sources": [
                {"configMap": {"name": "map", "items": [{"key": "a", "path": "x/a", "mode": 0o400}]}},
                {"secret": {"name": "secret"}},
                {"downwardAPI": {"items": [
                    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            ]}},
            {"name": "map", "configMap": {"name": "map"}},
            {"name": "own", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "scratch", "emptyDir": {}},
        ]);
        let container = json!({
            "command": ["sh", "-c", "cat /all/x/a /all/c /all/name /etc/b /own/labels; echo; \
                stat -c %a /all/x/a; echo kept > /part/file; cat /scratch/deep/part-told/file"],
            "env": [{"name": "NAME", "value": "told"}],
            "volumeMounts": [
                {"name": "all", "mountPath": "/all"},
                {"name": "map", "mountPath": "/etc/b", "subPath": "b"},
                {"name": "own", "mountPath": "/own"},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "scratch", "mountPath": "/part", "subPathExpr": "deep/part-$(NAME)"},
            ],
        });
        let mut pod = reader("reader", container, volumes);
        pod["metadata"]["labels"] = json!({"app": "x"});
        home.create::<Pod>(pod).await;
        let pod = home.ended("reader").await;
        let log = home.log("reader", LogParams::default()).await;
        assert_eq!(log, "13reader2app=\"x\"\n400\nkept\n", "{pod:?}");
    });
}

#[test]
fn no_link_in_a_volume_leads_out_of_it() {
    in_private_namespace(async {
        let home = Home::start().await;
        let mount =
            |path: &str, part: &str| json!({"name": "scratch", "mountPath": path, "subPath": part});
        let mut pod = script("climber", "Never", "cat /out/passwd");
        pod["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        pod["spec"]["initContainers"] = json!([{
            "name": "link", "image": "tools", "command": ["ln", "-s", "/etc", "/in/link"],
            "volumeMounts": [{"name": "scratch", "mountPath": "/in"}],
        }]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([mount("/out", "link")]);
        home.create::<Pod>(pod).await;
        home.pod("climber", waits_for("RunContainerError")).await;
    });
}
