//! What was acknowledged outlives `kill -9`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const ROUNDS: usize = 3;
const WRITERS: usize = 8;
const WRITES: usize = 100;

/// The example server as a process of its own, ready to answer.
pub(crate) async fn spawn(dir: &Path) -> Child {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/serve");
    let mut child = Command::new(program)
        .arg(dir)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .starts_with("ready")
    );
    child
}

async fn connect(dir: &Path) -> Api<ConfigMap> {
    let kubeconfig = Kubeconfig::read_from(dir.join("kubeconfig")).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    Api::default_namespaced(Client::try_from(config).unwrap())
}

/// Creates objects until the server is gone, and names those that were acknowledged.
async fn write(api: Api<ConfigMap>, prefix: String, acknowledged: mpsc::UnboundedSender<String>) {
    for n in 0.. {
        let mut config = ConfigMap::default();
        config.metadata.name = Some(format!("{prefix}-{n}"));
        match api.create(&PostParams::default(), &config).await {
            Ok(made) => acknowledged.send(made.name_any()).unwrap(),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeSet::new();
    let mut newest = 0;
    for round in 0..ROUNDS {
        let mut server = spawn(dir.path()).await;
        let api = connect(dir.path()).await;
        let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                tokio::spawn(write(
                    api.clone(),
                    format!("r{round}-w{n}"),
                    acknowledge.clone(),
                ))
            })
            .collect();
        drop(acknowledge);
        for _ in 0..WRITES {
            expected.insert(acknowledged.recv().await.unwrap());
        }
        server.start_kill().unwrap();
        server.wait().await.unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        while let Some(name) = acknowledged.recv().await {
            expected.insert(name);
        }

        let mut server = spawn(dir.path()).await;
        let list = connect(dir.path())
            .await
            .list(&ListParams::default())
            .await
            .unwrap();
        let found: BTreeSet<_> = list.items.iter().map(ResourceExt::name_any).collect();
        let lost: Vec<_> = expected.difference(&found).collect();
        assert!(lost.is_empty(), "lost after round {round}: {lost:?}");
        let revision: u64 = list.metadata.resource_version.unwrap().parse().unwrap();
        assert!(revision > newest);
        newest = revision;
        server.kill().await.unwrap();
    }
}
