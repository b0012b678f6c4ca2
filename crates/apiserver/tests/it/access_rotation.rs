//! Certificates that change while the server is in use.

use std::process::Stdio;
use std::time::Duration;

use jiff::SignedDuration;
use longshore_apiserver::access::pki::Lifetimes;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::Cluster;

const MORE: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_an_open_watch() {
    let cluster = Cluster::start().await;
    let usual = Lifetimes::default();
    let mut watch = cluster
        .command()
        .args(["get", "cm", "-w", "-o", "name"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut names = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(20), names.next_line());
        line.await.unwrap().unwrap().unwrap()
    };
    cluster.ok(&["create", "cm", "before"]).await;
    assert_eq!(next().await, "configmap/before");

    // Who has the kubeconfig of the start goes on through the first step, and who took one in
    // between goes on through the second.
    let at_start = cluster.someone_as_admin();
    let announce = Lifetimes {
        announce_ca: usual.ca + MORE,
        replace_leaf: usual.leaf + MORE,
        ..usual
    };
    assert!(cluster.pki.renew(&announce).unwrap());
    at_start.ok(&["create", "cm", "announced"]).await;
    assert_eq!(next().await, "configmap/announced");
    cluster.write_kubeconfig();
    let in_between = cluster.someone_as_admin();

    let replace = Lifetimes {
        replace_ca: usual.ca + MORE,
        ..usual
    };
    assert!(cluster.pki.renew(&replace).unwrap());
    in_between.ok(&["create", "cm", "replaced"]).await;
    assert_eq!(next().await, "configmap/replaced");
    let refused = at_start.refused(&["get", "cm"]).await;
    assert!(
        refused.contains("certificate signed by unknown authority"),
        "{refused}"
    );
    cluster.write_kubeconfig();
    cluster.ok(&["get", "cm"]).await;
    assert!(watch.try_wait().unwrap().is_none());
}
