//! A client that may do everything, as ServiceAccount of a running Longshore.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, ensure};
use testkit::{Longshore, wait_for};

/// Requests at a time when many objects are made.
const WRITERS: usize = 32;
/// The data of each object.
const DATA: usize = 256;

#[derive(Clone)]
pub(super) struct Client {
    pub(super) url: String,
    pub(super) token: String,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(longshore: &Longshore) -> anyhow::Result<Self> {
        for make in [
            "create serviceaccount bench",
            "create clusterrolebinding bench --clusterrole=cluster-admin \
             --serviceaccount=default:bench",
        ] {
            // It may be there already; the token tells.
            let _ = longshore.run(make);
        }
        let token = longshore.run("create token bench --duration=4h").ok();
        Ok(Self {
            url: longshore.url.clone(),
            token: token.trim().to_owned(),
            http: connections()?,
        })
    }

    /// Makes the ConfigMaps `c0`, `c1`, … of a namespace.
    pub(super) async fn fill(&self, namespace: &str, count: usize) -> anyhow::Result<()> {
        let next = Arc::new(AtomicUsize::new(0));
        let data = "x".repeat(DATA);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (client, namespace) = (self.clone(), namespace.to_owned());
                let (next, data) = (Arc::clone(&next), data.clone());
                tokio::spawn(async move {
                    loop {
                        let n = next.fetch_add(1, Relaxed);
                        if n >= count {
                            return Ok(());
                        }
                        client.create(&namespace, &format!("c{n}"), &data).await?;
                    }
                })
            })
            .collect();
        for writer in writers {
            let made: anyhow::Result<()> = writer.await.context("a writer failed")?;
            made?;
        }
        Ok(())
    }

    pub(super) async fn create(
        &self,
        namespace: &str,
        name: &str,
        data: &str,
    ) -> anyhow::Result<()> {
        let request = self
            .http
            .post(configs(&self.url, namespace))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(config(name, data));
        let response = request.send().await.context("failed to create")?;
        ensure!(response.status().is_success(), "create: {response:?}");
        response.bytes().await.context("failed to read an answer")?;
        Ok(())
    }

    /// Lists the ConfigMaps of a namespace, and returns the length of the answer.
    pub(super) async fn list(&self, namespace: &str) -> anyhow::Result<u64> {
        let request = self.http.get(configs(&self.url, namespace));
        let response = request.bearer_auth(&self.token).send().await;
        let mut response = response.context("failed to list")?;
        ensure!(response.status().is_success(), "list: {response:?}");
        let mut length = 0;
        while let Some(chunk) = response.chunk().await.context("failed to read a list")? {
            length += chunk.len() as u64;
        }
        Ok(length)
    }

    /// Begins a watch on a connection of its own.
    pub(super) async fn watch(&self, namespace: &str) -> anyhow::Result<reqwest::Response> {
        let url = format!(
            "{}?watch=true&timeoutSeconds=600",
            configs(&self.url, namespace)
        );
        let request = connections()?.get(url).bearer_auth(&self.token);
        let response = request.send().await.context("failed to watch")?;
        ensure!(response.status().is_success(), "watch: {response:?}");
        Ok(response)
    }
}

pub(super) fn make_namespace(longshore: &Longshore, name: &str) {
    longshore.run(&format!("create namespace {name}")).ok();
    let account = format!("get serviceaccount default --namespace {name}");
    wait_for("the namespace to be complete", testkit::LONG, || {
        longshore.run(&account).succeeded().then_some(())
    });
}

/// Connections to a server on this machine, of which the certificate says nothing new.
fn connections() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .http1_only()
        .no_proxy()
        .build()
        .context("failed to make a client")
}

fn configs(url: &str, namespace: &str) -> String {
    format!("{url}/api/v1/namespaces/{namespace}/configmaps")
}

fn config(name: &str, data: &str) -> String {
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data},
    });
    json.to_string()
}
