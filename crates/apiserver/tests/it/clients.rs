//! The full round of verbs by clients that people use: kubectl of two releases, the Python client,
//! and kube-rs over TLS.

use std::path::PathBuf;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::Cluster;

const CRD: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, listKind: BoatList, shortNames: [bt]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Length, type: integer, jsonPath: .spec.length}]
    schema:
      openAPIV3Schema:
        type: object
        description: A boat.
        properties:
          spec:
            type: object
            properties: {length: {type: integer, description: In metres., minimum: 1}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
";
const BOAT: &str = "
apiVersion: example.org/v1
kind: Boat
metadata: {name: dinghy}
spec: {length: 3}
";

fn config(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{app: web}}}}\n\
         data: {{x: \"{value}\"}}\n"
    )
}

/// The older kubectl: of the variable, or where `make setup` puts it.
fn old_kubectl() -> PathBuf {
    if let Some(path) = std::env::var_os("LONGSHORE_TEST_KUBECTL_OLD") {
        return path.into();
    }
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(3).unwrap().join("tools/kubectl-old");
    assert!(path.exists(), "{} is missing: make setup", path.display());
    path
}

/// A kubectl of some release.
struct Kubectl<'a> {
    cluster: &'a Cluster,
    program: PathBuf,
}

impl Kubectl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.cluster.kubeconfig)
            .env("HOME", self.cluster.dir.path())
            .kill_on_drop(true);
        command
    }

    async fn feed(&self, arguments: &[&str], manifest: &str) -> (bool, String) {
        let file = self.cluster.dir.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        let file = file.to_str().unwrap();
        let arguments: Vec<_> = arguments.iter().copied().chain(["-f", file]).collect();
        self.run(&arguments).await
    }

    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments).await;
        assert!(success, "{arguments:?}: {text}");
        text
    }

    /// What every kubectl can do.
    async fn round(&self) {
        let (created, text) = self.feed(&["create"], &config("a", "1")).await;
        assert!(created, "{text}");
        self.ok(&["create", "configmap", "b", "--from-literal=x=1"])
            .await;
        assert_eq!(
            self.ok(&["get", "cm", "--chunk-size=1", "-o", "name"])
                .await,
            "configmap/a\nconfigmap/b\n"
        );
        assert_eq!(
            self.ok(&["get", "cm", "-l", "app=web", "-o", "name"]).await,
            "configmap/a\n"
        );
        let by_field = [
            "get",
            "cm",
            "--field-selector=metadata.name=b",
            "-o",
            "name",
        ];
        assert_eq!(self.ok(&by_field).await, "configmap/b\n");
        self.watch().await;

        let (_, old) = self.run(&["get", "cm", "a", "-o", "yaml"]).await;
        for (type_, patch) in [
            ("strategic", r#"{"data":{"y":"2"}}"#),
            ("merge", r#"{"data":{"x":null}}"#),
            ("json", r#"[{"op":"add","path":"/data/z","value":"3"}]"#),
        ] {
            let type_ = format!("--type={type_}");
            self.ok(&["patch", "cm", "a", &type_, "-p", patch]).await;
        }
        let data = ["get", "cm", "a", "-o", "jsonpath={.data}"];
        assert_eq!(self.ok(&data).await, r#"{"y":"2","z":"3"}"#);
        let (replaced, text) = self.feed(&["replace"], &old).await;
        assert!(
            !replaced && text.contains("the object has been modified"),
            "{text}"
        );

        self.apply().await;
        self.custom().await;
        self.ok(&["describe", "cm", "a"]).await;
        self.ok(&["delete", "cm", "b", "--dry-run=server"]).await;
        self.ok(&["delete", "cm", "b"]).await;
        self.ok(&["delete", "cm", "--all"]).await;
        let (found, text) = self.run(&["get", "cm", "a"]).await;
        assert!(!found);
        assert_eq!(
            text,
            "Error from server (NotFound): configmaps \"a\" not found\n"
        );
    }

    async fn watch(&self) {
        let mut watch = self.command(&["get", "cm", "-w", "-l", "app=web"]);
        let mut watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut next = async || lines.next_line().await.unwrap().unwrap();
        assert_eq!(next().await, "NAME   DATA   AGE");
        assert!(next().await.starts_with("a      1"));
        self.ok(&["annotate", "cm", "a", "seen=yes"]).await;
        assert!(next().await.starts_with("a      1"));
        watch.kill().await.unwrap();
    }

    async fn apply(&self) {
        for expected in ["configmap/c created\n", "configmap/c unchanged\n"] {
            let (_, text) = self.feed(&["apply"], &config("c", "1")).await;
            assert_eq!(text, expected);
        }
        let (_, text) = self.feed(&["apply"], &config("c", "2")).await;
        assert_eq!(text, "configmap/c configured\n");
        let (_, text) = self
            .feed(&["apply", "--dry-run=server"], &config("d", "1"))
            .await;
        assert_eq!(text, "configmap/d created (server dry run)\n");
        // A typing error is found, by the client or by the server.
        let wrong = config("d", "1").replace("\ndata:", "\ndada:");
        let (applied, text) = self.feed(&["apply"], &wrong).await;
        assert!(
            !applied && text.contains("unknown field \"dada\""),
            "{text}"
        );
        let side = |manager| ["apply", "--server-side", manager];
        let (applied, text) = self
            .feed(&side("--field-manager=one"), &config("s", "1"))
            .await;
        assert!(applied, "{text}");
        let (applied, text) = self
            .feed(&side("--field-manager=two"), &config("s", "2"))
            .await;
        assert!(!applied && text.contains("conflict with \"one\""), "{text}");
    }

    async fn custom(&self) {
        let (created, text) = self.feed(&["create"], CRD).await;
        assert!(created, "{text}");
        self.ok(&[
            "wait",
            "--for=condition=established",
            "crd/boats.example.org",
        ])
        .await;
        let (created, text) = self.feed(&["apply"], BOAT).await;
        assert!(created, "{text}");
        let table = self.ok(&["get", "bt"]).await;
        assert_eq!(table, "NAME     LENGTH\ndinghy   3\n");
        let explained = self.ok(&["explain", "boats.spec.length"]).await;
        assert!(explained.contains("In metres."), "{explained}");
        let (applied, text) = self.feed(&["apply"], &BOAT.replace('3', "0")).await;
        assert!(
            !applied && text.contains("should be greater than or equal to 1"),
            "{text}"
        );
        let longer = r#"{"spec":{"length":4}}"#;
        self.ok(&["patch", "boat", "dinghy", "--type=merge", "-p", longer])
            .await;
        self.ok(&["delete", "boat", "dinghy"]).await;
        self.ok(&["delete", "crd", "boats.example.org"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_does_the_full_round() {
    let cluster = Cluster::start().await;
    let program = PathBuf::from("kubectl");
    let cluster = &cluster;
    Kubectl { cluster, program }.round().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_kubectl_does_the_full_round() {
    let cluster = Cluster::start().await;
    let kubectl = Kubectl {
        cluster: &cluster,
        program: old_kubectl(),
    };
    kubectl.round().await;
    let explained = kubectl.ok(&["explain", "pods", "--recursive"]).await;
    assert!(
        explained.contains("topologySpreadConstraints"),
        "{explained}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_does_the_full_round() {
    let cluster = Cluster::start().await;
    let python =
        std::env::var_os("LONGSHORE_TEST_PYTHON").unwrap_or_else(|| "/usr/bin/python3".into());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/round.py");
    let output = Command::new(python)
        .arg(program)
        .arg(&cluster.kubeconfig)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_does_the_full_round() {
    let cluster = Cluster::start().await;
    let kubeconfig = Kubeconfig::read_from(&cluster.kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let configs: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let post = PostParams::default();
    let named = |name: &str| -> ConfigMap {
        let labels = json!({"app": name});
        let object = json!({"metadata": {"name": name, "labels": labels}, "data": {"x": "1"}});
        serde_json::from_value(object).unwrap()
    };
    for name in ["a", "b", "c"] {
        configs.create(&post, &named(name)).await.unwrap();
    }
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    configs.create(&dry_run, &named("d")).await.unwrap();
    let chunk = ListParams::default().limit(2);
    let first = configs.list(&chunk).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let rest = configs.list(&chunk.continue_token(&token)).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len()), (2, 1));
    let selected = ListParams::default()
        .labels("app in (a, b)")
        .fields("metadata.name=b");
    assert_eq!(
        configs.list(&selected).await.unwrap().items[0].name_any(),
        "b"
    );
    let metadata = configs.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(metadata.items.len(), 3);

    let since = rest.metadata.resource_version.unwrap();
    let watch = configs
        .watch(&WatchParams::default(), &since)
        .await
        .unwrap();
    let mut watch = watch.boxed();
    let mut old = configs.get("a").await.unwrap();
    let merge = Patch::Merge(json!({"data": {"y": "2"}}));
    configs
        .patch("a", &PatchParams::default(), &merge)
        .await
        .unwrap();
    assert!(matches!(
        watch.try_next().await.unwrap(),
        Some(WatchEvent::Modified(_))
    ));
    old.data = None;
    let conflict = configs.replace("a", &post, &old).await.unwrap_err();
    assert!(matches!(conflict, kube::Error::Api(status) if status.code == 409));
    let strategic = Patch::Strategic(json!({"data": {"z": "3"}}));
    configs
        .patch("a", &PatchParams::default(), &strategic)
        .await
        .unwrap();
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"w": "4"}}));
    let applied = configs
        .patch("a", &PatchParams::apply("me"), &apply)
        .await
        .unwrap();
    let keys: Vec<_> = applied.data.unwrap().into_keys().collect();
    assert_eq!(keys, ["w", "x", "y", "z"]);
    configs.delete("a", &DeleteParams::default()).await.unwrap();
    let (delete, list) = (DeleteParams::default(), ListParams::default());
    configs.delete_collection(&delete, &list).await.unwrap();
    assert!(
        configs
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition: CustomResourceDefinition = serde_saphyr::from_str(CRD).unwrap();
    definitions.create(&post, &definition).await.unwrap();
    let kind = ApiResource {
        group: "example.org".into(),
        version: "v1".into(),
        api_version: "example.org/v1".into(),
        kind: "Boat".into(),
        plural: "boats".into(),
    };
    let boats: Api<DynamicObject> = Api::default_namespaced_with(client, &kind);
    let boat: DynamicObject = serde_saphyr::from_str(BOAT).unwrap();
    boats.create(&post, &boat).await.unwrap();
    let status = Patch::Merge(json!({"status": {"afloat": true}}));
    let boat = boats
        .patch_status("dinghy", &PatchParams::default(), &status)
        .await;
    assert_eq!(boat.unwrap().data["status"]["afloat"], true);
    boats
        .delete("dinghy", &DeleteParams::default())
        .await
        .unwrap();
}
