//! Whether kubectl understands how the API is described.

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::Cluster;

const MANIFEST: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
dada: {}
";

/// What kubectl says when it finds no sign of field validation for a kind.
const UNSUPPORTED: &str = "server-side field validation is unsupported";

/// Hides OpenAPI v3, so that kubectl has to read v2 in protobuf.
#[tokio::test(flavor = "multi_thread")]
async fn field_validation_is_found_in_openapi_v2() {
    let cluster = Cluster::start().await;
    let mut proxy = cluster
        .command()
        .args(["proxy", "--port=0", "--reject-paths=^/openapi/v3"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(proxy.stdout.take().unwrap()).lines();
    let greeting = lines.next_line().await.unwrap().unwrap();
    let url = format!("http://{}", greeting.rsplit(' ').next().unwrap());
    let create = async |manifest: &str| {
        let arguments = [
            "--kubeconfig=/dev/null",
            "--server",
            &url,
            "create",
            "--validate=warn",
            "-f",
            "-",
        ];
        cluster.feed(&arguments, manifest).await.stderr
    };
    let warned = create(MANIFEST).await;
    assert!(warned.contains("unknown field \"dada\""), "{warned}");
    assert!(!warned.contains(UNSUPPORTED), "{warned}");
    let unknown = create(&MANIFEST.replace("ConfigMap", "Nonsense")).await;
    assert!(unknown.contains(UNSUPPORTED), "{unknown}");
    proxy.kill().await.unwrap();
}
