//! Who may do what with disks: the roles that everybody knows, and tokens.

use std::fs;

use testkit::{Kubectl, manifest};

use crate::longshore;

#[test]
fn who_may_edit_a_namespace_may_make_disks_in_it() {
    let longshore = longshore();
    longshore.run("create serviceaccount robot").ok();
    let token = longshore.run("create token robot").ok();
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("kubeconfig");
    let own = fs::read_to_string(longshore.data().join("kubeconfig")).unwrap();
    let kept: Vec<&str> = own
        .lines()
        .filter(|line| !line.contains("client-key-data"))
        .collect();
    let certificate = kept
        .iter()
        .find(|line| line.contains("client-certificate-data"))
        .unwrap();
    let bearer = format!("    token: {}", token.trim());
    fs::write(&kubeconfig, kept.join("\n").replace(certificate, &bearer)).unwrap();
    let robot = Kubectl::new(&kubeconfig, home.path());

    let disk = manifest::blank("disk", "16Mi");
    robot
        .run_with("create -f -", &disk)
        .fails_with(&["datavolumes.cdi.kubevirt.io", "is forbidden"]);
    let bind = "create rolebinding robot --serviceaccount=default:robot --clusterrole";
    longshore.run(&format!("{bind}=view")).ok();
    robot.run("get datavolumes").ok();
    robot
        .run_with("create -f -", &disk)
        .fails_with(&["is forbidden"]);
    longshore.run("delete rolebinding robot").ok();
    longshore.run(&format!("{bind}=edit")).ok();
    robot.run_with("create -f -", &disk).ok();
    robot
        .run("get datavolumes -n kube-system")
        .fails_with(&["in the namespace \"kube-system\""]);
    longshore.wait_until_succeeded("disk");
    robot
        .run("get configmap kube-root-ca.crt -o yaml")
        .prints(&["BEGIN CERTIFICATE"]);
}
