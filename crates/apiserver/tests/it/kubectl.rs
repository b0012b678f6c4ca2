//! What people do with kubectl on built-in kinds.

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::Cluster;

const CONFIG: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {app: web}}
data: {x: "1"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_read_changed_and_deleted() {
    let cluster = Cluster::start().await;
    let made = cluster.feed(&["create", "-f", "-"], CONFIG).await;
    assert_eq!(made.stdout, "configmap/a created\n", "{}", made.stderr);
    let again = cluster.feed(&["create", "-f", "-"], CONFIG).await;
    assert!(
        again.stderr.contains("configmaps \"a\" already exists"),
        "{}",
        again.stderr
    );

    assert_eq!(
        cluster.ok(&["get", "cm", "a", "-o", "name"]).await,
        "configmap/a\n"
    );
    assert_eq!(
        cluster
            .ok(&["get", "cm", "a", "-o", "jsonpath={.data.x}"])
            .await,
        "1"
    );
    let columns = "custom-columns=N:.metadata.name,X:.data.x";
    assert_eq!(
        cluster.ok(&["get", "cm", "-o", columns]).await,
        "N     X\na     1\n"
    );
    let table = cluster.ok(&["get", "cm", "-A"]).await;
    assert!(
        table.starts_with("NAMESPACE   NAME   DATA   AGE\ndefault     a      1"),
        "{table}"
    );
    let wide = cluster
        .ok(&["get", "ns", "-o", "wide", "--show-labels"])
        .await;
    assert!(
        wide.contains("kubernetes.io/metadata.name=kube-system"),
        "{wide}"
    );
    assert_eq!(
        cluster
            .ok(&["get", "cm", "-l", "app in (web)", "-o", "name"])
            .await,
        "configmap/a\n"
    );
    assert_eq!(
        cluster.ok(&["get", "cm", "-l", "!app", "-o", "name"]).await,
        ""
    );
    let field = "--field-selector=metadata.name=a,metadata.namespace=default";
    assert_eq!(
        cluster.ok(&["get", "cm", "-A", field, "-o", "name"]).await,
        "configmap/a\n"
    );
    let refused = cluster
        .refused(&["get", "cm", "--field-selector=spec.x=1"])
        .await;
    assert!(
        refused.contains("field label not supported: spec.x"),
        "{refused}"
    );

    cluster.ok(&["label", "cm", "a", "tier=1", "app-"]).await;
    cluster.ok(&["annotate", "cm", "a", "note=hello"]).await;
    cluster
        .ok(&["patch", "cm", "a", "-p", r#"{"data":{"y":"2"}}"#])
        .await;
    cluster
        .ok(&[
            "patch",
            "cm",
            "a",
            "--type=merge",
            "-p",
            r#"{"data":{"x":null}}"#,
        ])
        .await;
    let json =
        r#"[{"op":"test","path":"/data/y","value":"2"},{"op":"add","path":"/data/z","value":"3"}]"#;
    cluster
        .ok(&["patch", "cm", "a", "--type=json", "-p", json])
        .await;
    let failed = r#"[{"op":"test","path":"/data/y","value":"9"}]"#;
    cluster
        .refused(&["patch", "cm", "a", "--type=json", "-p", failed])
        .await;
    assert_eq!(
        cluster
            .ok(&["get", "cm", "a", "-o", "jsonpath={.data}{.metadata.labels}"])
            .await,
        r#"{"y":"2","z":"3"}{"tier":"1"}"#
    );

    assert_eq!(
        cluster.ok(&["delete", "cm", "a"]).await,
        "configmap \"a\" deleted\n"
    );
    let gone = cluster.refused(&["get", "cm", "a"]).await;
    assert_eq!(
        gone,
        "Error from server (NotFound): configmaps \"a\" not found\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_edit_and_dry_run_keep_their_promises() {
    let cluster = Cluster::start().await;
    let apply = async |manifest: &str| {
        let answer = cluster.feed(&["apply", "-f", "-"], manifest).await;
        assert!(answer.success, "{}", answer.stderr);
        answer.stdout
    };
    assert_eq!(apply(CONFIG).await, "configmap/a created\n");
    assert_eq!(apply(CONFIG).await, "configmap/a unchanged\n");
    assert_eq!(
        apply(&CONFIG.replace("x:", "z:")).await,
        "configmap/a configured\n"
    );
    assert_eq!(
        cluster
            .ok(&["get", "cm", "a", "-o", "jsonpath={.data}"])
            .await,
        r#"{"z":"1"}"#
    );

    let editor = "sed -i s/z:/edited:/";
    let edited = cluster
        .command()
        .args(["edit", "cm", "a"])
        .env("EDITOR", editor)
        .output()
        .await;
    let edited = edited.unwrap();
    assert!(
        edited.status.success(),
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    let data = cluster
        .ok(&["get", "cm", "a", "-o", "jsonpath={.data}"])
        .await;
    assert_eq!(data, r#"{"edited":"1"}"#);

    let before = cluster.server.revision();
    cluster.ok(&["delete", "cm", "a", "--dry-run=server"]).await;
    cluster
        .ok(&["label", "cm", "a", "q=1", "--dry-run=server"])
        .await;
    let b = CONFIG.replace("name: a", "name: b");
    let dry = cluster
        .feed(&["create", "--dry-run=server", "-o", "yaml", "-f", "-"], &b)
        .await;
    assert!(dry.stdout.contains("uid:"), "{}", dry.stderr);
    assert_eq!(cluster.server.revision(), before);

    // A replacement that was made from an older state must not win.
    let old = cluster.ok(&["get", "cm", "a", "-o", "yaml"]).await;
    cluster.ok(&["label", "cm", "a", "q=1"]).await;
    let conflict = cluster.feed(&["replace", "-f", "-"], &old).await;
    assert!(
        conflict.stderr.contains(
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
             please apply your changes to the latest version and try again"
        ),
        "{}",
        conflict.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_makes_simple_objects_by_itself() {
    let cluster = Cluster::start().await;
    cluster
        .ok(&["create", "configmap", "c", "--from-literal=k=v"])
        .await;
    assert_eq!(
        cluster
            .ok(&["get", "cm", "c", "-o", "jsonpath={.data.k}"])
            .await,
        "v"
    );
    cluster
        .ok(&["create", "secret", "generic", "s", "--from-literal=k=v"])
        .await;
    let secret = cluster
        .ok(&["get", "secret", "s", "-o", "jsonpath={.data.k} {.type}"])
        .await;
    assert_eq!(secret, "dg== Opaque");
    cluster.ok(&["create", "namespace", "n"]).await;
    cluster
        .ok(&["create", "serviceaccount", "sa", "-n", "n"])
        .await;
    let missing = cluster
        .refused(&["create", "serviceaccount", "sa", "-n", "missing"])
        .await;
    assert!(
        missing.contains("namespaces \"missing\" not found"),
        "{missing}"
    );
    let forbidden = cluster.refused(&["delete", "ns", "default"]).await;
    assert!(
        forbidden.contains("this namespace may not be deleted"),
        "{forbidden}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_explained() {
    let cluster = Cluster::start().await;
    let name = CONFIG.replace("name: a", "name: X_y");
    let answer = cluster.feed(&["create", "-f", "-"], &name).await;
    assert!(
        answer.stderr.contains(
            "The ConfigMap \"X_y\" is invalid: metadata.name: Invalid value: \"X_y\": a lowercase \
             RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        ),
        "{}",
        answer.stderr
    );
    let unknown = CONFIG.replace("\ndata:", "\ndada:");
    let answer = cluster.feed(&["create", "-f", "-"], &unknown).await;
    assert!(
        answer.stderr.contains(
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
             unknown field \"dada\""
        ),
        "{}",
        answer.stderr
    );
    let answer = cluster
        .feed(&["create", "--validate=warn", "-f", "-"], &unknown)
        .await;
    assert!(answer.success, "{}", answer.stderr);
    assert!(
        answer.stderr.contains("Warning: unknown field \"dada\""),
        "{}",
        answer.stderr
    );
    let wrong = CONFIG.replace("\"1\"", "1");
    let answer = cluster
        .feed(&["create", "--validate=false", "-f", "-"], &wrong)
        .await;
    assert!(
        answer
            .stderr
            .contains("cannot be handled as a ConfigMap: json:"),
        "{}",
        answer.stderr
    );
    let answer = cluster.run(&["get", "wobbles"]).await;
    assert!(
        answer
            .stderr
            .contains("doesn't have a resource type \"wobbles\""),
        "{}",
        answer.stderr
    );
    for api_version in ["v1", "example.org/v1"] {
        let nonsense = CONFIG
            .replace("ConfigMap", "Nonsense")
            .replace("apiVersion: v1", &format!("apiVersion: {api_version}"));
        let answer = cluster.feed(&["create", "-f", "-"], &nonsense).await;
        let expected = format!("no matches for kind \"Nonsense\" in version \"{api_version}\"");
        assert!(answer.stderr.contains(&expected), "{}", answer.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself() {
    let cluster = Cluster::start().await;
    let resources = cluster.ok(&["api-resources"]).await;
    assert!(resources.contains("persistentvolumeclaims"), "{resources}");
    assert!(
        cluster
            .ok(&["api-versions"])
            .await
            .contains("storage.k8s.io/v1")
    );
    let explained = cluster.ok(&["explain", "pvc.spec.volumeMode"]).await;
    assert!(explained.contains("FIELD: volumeMode"), "{explained}");
    for name in cluster.ok(&["api-resources", "-o", "name"]).await.lines() {
        let (plural, version) = match name.split_once('.') {
            Some((plural, group)) => (plural, format!("{group}/v1")),
            None => (name, "v1".to_owned()),
        };
        let version = format!("--api-version={version}");
        let explained = cluster
            .ok(&["explain", "--recursive", &version, plural])
            .await;
        assert!(explained.contains("FIELDS:"), "{explained}");
    }
    assert!(
        cluster
            .ok(&["version"])
            .await
            .contains("Server Version: v1.33.0+longshore")
    );
    assert_eq!(cluster.ok(&["get", "--raw", "/readyz"]).await, "ok");
    cluster.ok(&["describe", "ns", "default"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_shows_rows_and_wait_ends() {
    let cluster = Cluster::start().await;
    let mut watch = cluster
        .command()
        .args(["get", "cm", "-w", "-l", "app=web"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    cluster.feed(&["create", "-f", "-"], CONFIG).await;
    let next = async |lines: &mut tokio::io::Lines<_>| lines.next_line().await.unwrap().unwrap();
    assert_eq!(next(&mut lines).await, "NAME   DATA   AGE");
    assert!(next(&mut lines).await.starts_with("a      1 "));
    cluster
        .ok(&["patch", "cm", "a", "-p", r#"{"data":{"y":"2"}}"#])
        .await;
    assert!(next(&mut lines).await.starts_with("a      2 "));
    watch.kill().await.unwrap();

    cluster
        .ok(&[
            "patch",
            "cm",
            "a",
            "-p",
            r#"{"metadata":{"finalizers":["example.org/hold"]}}"#,
        ])
        .await;
    cluster.ok(&["delete", "cm", "a", "--wait=false"]).await;
    let waiting = cluster
        .command()
        .args(["wait", "--for=delete", "cm/a", "--timeout=20s"])
        .spawn();
    let added = r#"{"metadata":{"finalizers":["example.org/hold","example.org/more"]}}"#;
    let refused = cluster
        .refused(&["patch", "cm", "a", "--type=merge", "-p", added])
        .await;
    assert!(
        refused.contains("no new finalizers can be added"),
        "{refused}"
    );
    cluster
        .ok(&[
            "patch",
            "cm",
            "a",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .await;
    assert!(waiting.unwrap().wait().await.unwrap().success());
    cluster.refused(&["get", "cm", "a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn string_data_of_a_secret_is_encoded_also_in_a_change() {
    let cluster = Cluster::start().await;
    cluster
        .ok(&["create", "secret", "generic", "s", "--from-literal=a=1"])
        .await;
    let patch = r#"{"stringData": {"b": "2"}}"#;
    cluster.ok(&["patch", "secret", "s", "-p", patch]).await;
    let shown = ["get", "secret", "s", "-o", "jsonpath={.data}{.stringData}"];
    assert_eq!(cluster.ok(&shown).await, r#"{"a":"MQ==","b":"Mg=="}"#);
}
