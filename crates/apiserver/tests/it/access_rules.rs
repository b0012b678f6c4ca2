//! Who may do what: roles, bindings, refusals, and the questions about them.

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, Someone};

/// A user whom only the tests' own rules concern, by impersonation.
async fn as_user(cluster: &Cluster, user: &str, arguments: &[&str]) -> Answer {
    let arguments = [&["--as", user], arguments].concat();
    cluster.run(&arguments).await
}

async fn refused(cluster: &Cluster, user: &str, arguments: &[&str]) -> String {
    let answer = as_user(cluster, user, arguments).await;
    assert!(!answer.success, "{user} {arguments:?}: {}", answer.stdout);
    answer.stderr
}

async fn may(cluster: &Cluster, user: &str, what: &[&str]) -> bool {
    let answer = as_user(cluster, user, &[&["auth", "can-i"], what].concat()).await;
    let said = answer.stdout.trim();
    assert!(["yes", "no"].contains(&said), "{what:?}: {answer:?}");
    said == "yes"
}

async fn apply(cluster: &Cluster, manifest: &str) {
    let answer = cluster.feed(&["apply", "-f", "-"], manifest).await;
    assert!(answer.success, "{}", answer.stderr);
}

async fn with_bound(role: &str, user: &str) -> Cluster {
    let cluster = Cluster::start().await;
    let (role, user) = (format!("--clusterrole={role}"), format!("--user={user}"));
    cluster
        .ok(&["create", "rolebinding", "bound", &role, &user])
        .await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_allowed_until_a_binding_says_so() {
    let cluster = Cluster::start().await;
    assert_eq!(
        refused(&cluster, "anna", &["get", "pods"]).await,
        "Error from server (Forbidden): pods is forbidden: User \"anna\" cannot list resource \
         \"pods\" in API group \"\" in the namespace \"default\"\n"
    );
    assert_eq!(
        refused(&cluster, "anna", &["get", "crd", "x"]).await,
        "Error from server (Forbidden): customresourcedefinitions.apiextensions.k8s.io \"x\" is \
         forbidden: User \"anna\" cannot get resource \"customresourcedefinitions\" in API group \
         \"apiextensions.k8s.io\" at the cluster scope\n"
    );
    assert_eq!(
        refused(&cluster, "anna", &["get", "--raw", "/metrics"]).await,
        "Error from server (Forbidden): forbidden: User \"anna\" cannot get path \"/metrics\"\n"
    );
    // A change counts for the next request.
    cluster
        .ok(&["create", "role", "r", "--verb=list", "--resource=pods"])
        .await;
    let binding = ["create", "rolebinding", "b", "--role=r", "--user=anna"];
    cluster.ok(&binding).await;
    assert!(as_user(&cluster, "anna", &["get", "pods"]).await.success);
    refused(&cluster, "anna", &["get", "pods", "-n", "kube-system"]).await;
    refused(&cluster, "anna", &["get", "pods", "-A"]).await;
    cluster.ok(&["delete", "role", "r"]).await;
    let text = refused(&cluster, "anna", &["get", "pods"]).await;
    assert!(
        text.ends_with(": RBAC: role.rbac.authorization.k8s.io \"r\" not found\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_bound_by_name_and_by_group() {
    let cluster = Cluster::start().await;
    cluster.ok(&["create", "serviceaccount", "robot"]).await;
    let token = cluster.ok(&["create", "token", "robot"]).await;
    let robot: Someone<'_> = cluster.someone(&format!("token: {}", token.trim()));
    let text = robot.refused(&["get", "cm"]).await;
    assert!(
        text.contains("User \"system:serviceaccount:default:robot\" cannot list resource"),
        "{text}"
    );
    let binding = [
        "create",
        "rolebinding",
        "b",
        "--clusterrole=view",
        "--serviceaccount=default:robot",
    ];
    cluster.ok(&binding).await;
    robot.ok(&["get", "cm"]).await;
    robot.refused(&["get", "secrets"]).await;
    robot.refused(&["create", "cm", "x"]).await;
    let group = "--group=system:serviceaccounts:default";
    cluster
        .ok(&["create", "rolebinding", "g", "--clusterrole=edit", group])
        .await;
    robot.ok(&["create", "cm", "x"]).await;
    let wide = cluster.ok(&["get", "rolebinding", "-o", "wide"]).await;
    let rows: Vec<Vec<&str>> = wide
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    );
    assert_eq!(rows[1][1], "ClusterRole/view");
    assert_eq!(rows[1][3], "default/robot");
    assert_eq!(rows[2][3], "system:serviceaccounts:default");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_roles_allow_what_they_do_in_kubernetes() {
    // What is asked, and who of view, edit and admin may do it.
    let table: &[(&[&str], &str)] = &[
        (&["list", "pods"], "vea"),
        (&["get", "pods", "--subresource=log"], "vea"),
        (&["watch", "persistentvolumeclaims"], "vea"),
        (&["get", "secrets"], "-ea"),
        (&["create", "configmaps"], "-ea"),
        (&["deletecollection", "persistentvolumeclaims"], "-ea"),
        (&["create", "leases.coordination.k8s.io"], "-ea"),
        (&["create", "serviceaccounts", "--subresource=token"], "-ea"),
        (&["impersonate", "serviceaccounts"], "-ea"),
        (&["get", "roles"], "--a"),
        (&["create", "rolebindings"], "--a"),
        (&["create", "localsubjectaccessreviews"], "--a"),
        (&["delete", "namespaces"], "---"),
        (&["list", "nodes"], "---"),
        (&["update", "resourcequotas"], "---"),
        (&["create", "customresourcedefinitions"], "---"),
    ];
    let cluster = Cluster::start().await;
    for role in ["view", "edit", "admin"] {
        let (role, user) = (format!("--clusterrole={role}"), format!("--user={role}"));
        cluster
            .ok(&["create", "rolebinding", &user[7..], &role, &user])
            .await;
    }
    for (what, expected) in table {
        let mut found = String::new();
        for (role, letter) in [("view", 'v'), ("edit", 'e'), ("admin", 'a')] {
            let yes = may(&cluster, role, what).await;
            found.push(if yes { letter } else { '-' });
        }
        assert_eq!(found, *expected, "{what:?}");
    }
    let all = cluster.ok(&["get", "clusterroles"]).await;
    assert!(
        all.starts_with("NAME ") && all.contains("CREATED AT"),
        "{all}"
    );
    let labels = [
        "get",
        "clusterroles",
        "-l",
        "kubernetes.io/bootstrapping=rbac-defaults",
    ];
    assert!(cluster.ok(&labels).await.contains("cluster-admin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn can_i_asks_in_every_form() {
    let cluster = with_bound("edit", "anna").await;
    let asked = async |what: &[&str]| may(&cluster, "anna", what).await;
    assert!(asked(&["create", "pods"]).await);
    assert!(!asked(&["create", "pods", "-n", "kube-system"]).await);
    assert!(!asked(&["list", "pods", "-A"]).await);
    assert!(asked(&["get", "pod/x"]).await);
    assert!(asked(&["get", "/version"]).await);
    assert!(!asked(&["get", "/metrics"]).await);
    assert!(!asked(&["*", "*"]).await);
    assert!(
        !asked(&[
            "create",
            "leases.coordination.k8s.io",
            "--subresource=source"
        ])
        .await
    );
    assert_eq!(
        cluster.ok(&["auth", "can-i", "*", "*", "-A"]).await,
        "yes\n"
    );

    let role = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: cloner}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases/source], verbs: [create]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [one], verbs: [get, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: cloner}
roleRef: {kind: Role, name: cloner}
subjects: [{kind: User, name: bert}, {kind: Group, name: cloners}]
"#;
    apply(&cluster, role).await;
    let asked = async |what: &[&str]| may(&cluster, "bert", what).await;
    let source = [
        "create",
        "leases.coordination.k8s.io",
        "--subresource=source",
    ];
    assert!(asked(&source).await);
    assert!(!asked(&["create", "leases.coordination.k8s.io"]).await);
    assert!(asked(&["get", "configmaps/one"]).await);
    assert!(!asked(&["get", "configmaps/two"]).await);
    assert!(!asked(&["list", "configmaps"]).await);
    let group = ["--as-group=cloners", "auth", "can-i"];
    let answer = as_user(&cluster, "carl", &[&group[..], &source].concat()).await;
    assert_eq!(answer.stdout, "yes\n", "{}", answer.stderr);

    let list = as_user(&cluster, "bert", &["auth", "can-i", "--list"])
        .await
        .stdout;
    let rows: Vec<String> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert!(
        rows.contains(&"leases.coordination.k8s.io/source [] [] [create]".into()),
        "{list}"
    );
    assert!(
        rows.contains(&"configmaps [] [one] [get watch]".into()),
        "{list}"
    );
    assert!(
        rows.iter().any(|row| row.starts_with("[/healthz]")),
        "{list}"
    );
    // A selector for one name is a question about that name.
    let one = [
        "get",
        "cm",
        "-w",
        "--field-selector=metadata.name=one",
        "--request-timeout=1s",
    ];
    let text = as_user(&cluster, "bert", &one).await.stderr;
    assert!(text.contains("cannot list resource"), "{text}");
    let watch = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&fieldSelector=\
                 metadata.name%3D";
    let (mine, other) = (format!("{watch}one"), format!("{watch}two"));
    assert!(
        as_user(&cluster, "bert", &["get", "--raw", &mine])
            .await
            .success
    );
    refused(&cluster, "bert", &["get", "--raw", &other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_answer_about_anybody() {
    let cluster = with_bound("view", "anna").await;
    let path = "/apis/authorization.k8s.io/v1/";
    let ask = async |path: String, kind: &str, spec: Value| {
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        let arguments = ["create", "--raw", &path, "-f", "-"];
        let answer = cluster.feed(&arguments, &body.to_string()).await;
        if !answer.success {
            return Err(answer.stderr);
        }
        let review: Value = serde_json::from_str(&answer.stdout).unwrap();
        Ok(review["status"].clone())
    };
    let pods = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let everywhere = || format!("{path}subjectaccessreviews");
    let kind = "SubjectAccessReview";
    let spec = json!({"user": "anna", "resourceAttributes": pods});
    assert_eq!(
        ask(everywhere(), kind, spec.clone()).await.unwrap(),
        json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"bound/default\" of \
            ClusterRole \"view\" to User \"anna\""})
    );
    let nobody = json!({"user": "bert", "resourceAttributes": pods});
    assert_eq!(
        ask(everywhere(), kind, nobody).await.unwrap(),
        json!({"allowed": false})
    );
    let masters = json!({"groups": ["system:masters"], "nonResourceAttributes": {"verb": "get",
        "path": "/x"}});
    assert_eq!(
        ask(everywhere(), kind, masters).await.unwrap(),
        json!({"allowed": true})
    );
    let text = ask(everywhere(), kind, json!({"resourceAttributes": pods}))
        .await
        .unwrap_err();
    assert!(
        text.contains("at least one of user or group must be specified"),
        "{text}"
    );
    let text = ask(everywhere(), kind, json!({"user": "anna"}))
        .await
        .unwrap_err();
    assert!(
        text.contains("exactly one of nonResourceAttributes or resourceAttributes"),
        "{text}"
    );

    let kind = "LocalSubjectAccessReview";
    let local = |namespace: &str| format!("{path}namespaces/{namespace}/localsubjectaccessreviews");
    let status = ask(local("default"), kind, spec.clone()).await.unwrap();
    assert_eq!(status["allowed"], true);
    let text = ask(local("kube-system"), kind, spec).await.unwrap_err();
    assert!(text.contains("must match namespace: kube-system"), "{text}");

    // Also about what is not served here.
    let clone = json!({"verb": "create", "group": "cdi.kubevirt.io", "resource": "datavolumes",
        "subresource": "source", "namespace": "default"});
    for (group, allowed) in [("system:masters", true), ("crew", false)] {
        let spec = json!({"groups": [group], "resourceAttributes": clone});
        let status = ask(everywhere(), "SubjectAccessReview", spec)
            .await
            .unwrap();
        assert_eq!(status, json!({"allowed": allowed}));
    }

    // Questions are asked and not kept, and discovery says so.
    let text = cluster.refused(&["get", "--raw", &everywhere()]).await;
    assert!(text.contains("MethodNotAllowed"), "{text}");
    let list = cluster
        .ok(&["get", "--raw", path.trim_end_matches('/')])
        .await;
    let list: Value = serde_json::from_str(&list).unwrap();
    for resource in list["resources"].as_array().unwrap() {
        assert_eq!(resource["verbs"], json!(["create"]), "{resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_more_than_they_have() {
    let cluster = with_bound("admin", "anna").await;
    let feed = async |user: &str, manifest: &str| {
        let answer = cluster
            .feed(&["--as", user, "create", "-f", "-"], manifest)
            .await;
        if answer.success {
            String::new()
        } else {
            answer.stderr
        }
    };
    let role = |name: &str, resources: &str, verbs: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: {name}}}, \
             rules: [{{apiGroups: [''], resources: [{resources}], verbs: [{verbs}]}}]}}"
        )
    };
    assert_eq!(feed("anna", &role("own", "pods", "get, list")).await, "");
    let text = feed("anna", &role("more", "'pods', nodes", "get, list")).await;
    assert_eq!(
        text,
        "Error from server (Forbidden): error when creating \"STDIN\": \
         roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"anna\" \
         (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently \
         held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}\n"
    );
    let binding = |name: &str, role: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: \
             {name}}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: \
             {role}}}, subjects: [{{kind: User, name: bert}}]}}"
        )
    };
    assert_eq!(feed("anna", &binding("give-edit", "edit")).await, "");
    let text = feed("anna", &binding("give-all", "cluster-admin")).await;
    assert!(
        text.contains("rolebindings.rbac.authorization.k8s.io \"give-all\" is forbidden: user")
            && text.contains("{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"),
        "{text}"
    );
    let text = feed("anna", &binding("give-nothing", "none")).await;
    assert!(
        text.contains("clusterroles.rbac.authorization.k8s.io \"none\" not found"),
        "{text}"
    );

    // What is there may be changed in other ways, but not be widened.
    cluster
        .ok(&["create", "role", "wide", "--verb=get", "--resource=nodes"])
        .await;
    let label = ["label", "role", "wide", "a=b"];
    assert!(as_user(&cluster, "anna", &label).await.success);
    let widen = [
        "patch",
        "role",
        "own",
        "--type=json",
        "-p",
        r#"[{"op": "add", "path": "/rules/0/verbs/0", "value": "escalate"}]"#,
    ];
    let text = refused(&cluster, "anna", &widen).await;
    assert!(text.contains("Verbs:[\"escalate\"]"), "{text}");

    // The verbs escalate and bind lift this.
    let extra = ["--verb=bind,escalate", "--resource=clusterroles,roles"];
    cluster
        .ok(&[&["create", "role", "lift"], &extra[..]].concat())
        .await;
    cluster
        .ok(&[
            "create",
            "rolebinding",
            "lift",
            "--role=lift",
            "--user=anna",
        ])
        .await;
    assert_eq!(
        feed("anna", &binding("give-all", "cluster-admin")).await,
        ""
    );
    assert_eq!(feed("anna", &role("more", "nodes", "get")).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn acting_as_somebody_else_needs_a_permission() {
    let cluster = with_bound("edit", "anna").await;
    let token_of = async |name: &str| {
        cluster.ok(&["create", "serviceaccount", name]).await;
        cluster
            .ok(&["create", "token", name])
            .await
            .trim()
            .to_owned()
    };
    let token = token_of("robot").await;
    let robot = cluster.someone(&format!("token: {token}"));
    let text = robot
        .refused(&["--as=anna", "get", "--raw", "/version"])
        .await;
    assert!(
        text.contains(
            "users \"anna\" is forbidden: User \"system:serviceaccount:default:robot\" cannot \
             impersonate resource \"users\" in API group \"\" at the cluster scope"
        ),
        "{text}"
    );
    let role = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: actor}
rules:
- {apiGroups: [""], resources: [users], resourceNames: [anna], verbs: [impersonate]}
- {apiGroups: [""], resources: [groups], resourceNames: [crew], verbs: [impersonate]}
- {apiGroups: [authentication.k8s.io], resources: [uids, userextras/team], verbs: [impersonate]}
"#;
    apply(&cluster, role).await;
    let binding = [
        "create",
        "clusterrolebinding",
        "actor",
        "--clusterrole=actor",
        "--serviceaccount=default:robot",
    ];
    cluster.ok(&binding).await;
    robot.ok(&["--as=anna", "get", "cm"]).await;
    robot.refused(&["--as=bert", "get", "cm"]).await;
    robot
        .refused(&["--as=anna", "--as-group=system:masters", "get", "cm"])
        .await;
    let whoami = [
        "--as=anna",
        "--as-group=crew",
        "--as-uid=7",
        "auth",
        "whoami",
        "-o",
        "json",
    ];
    let review: Value = serde_json::from_str(&robot.ok(&whoami).await).unwrap();
    assert_eq!(
        review["status"]["userInfo"],
        json!({"username": "anna", "uid": "7", "groups": ["crew", "system:authenticated"]})
    );
    // An account brings its groups along.
    let whoami = [
        "--as=system:serviceaccount:default:robot",
        "auth",
        "whoami",
        "-o",
        "json",
    ];
    let review: Value = serde_json::from_str(&cluster.ok(&whoami).await).unwrap();
    assert_eq!(
        review["status"]["userInfo"]["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_made_of_others_follows_them() {
    let cluster = with_bound("admin", "anna").await;
    let things = ["get", "csidrivers.storage.k8s.io"];
    assert!(!may(&cluster, "anna", &things).await);
    let part = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: things
  labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}
rules: [{apiGroups: [storage.k8s.io], resources: [csidrivers], verbs: [get]}]
"#;
    apply(&cluster, part).await;
    // By view and edit, which admin is made of.
    assert!(may(&cluster, "anna", &things).await);
    cluster
        .ok(&[
            "label",
            "clusterrole",
            "things",
            "rbac.authorization.k8s.io/aggregate-to-view-",
        ])
        .await;
    assert!(!may(&cluster, "anna", &things).await);
    let rules = [
        "get",
        "clusterrole",
        "view",
        "-o",
        "jsonpath={.rules[*].apiGroups}",
    ];
    assert!(!cluster.ok(&rules).await.contains("storage.k8s.io"));

    let own = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: own}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}
";
    let answer = cluster.feed(&["--as=anna", "create", "-f", "-"], own).await;
    assert!(
        answer
            .stderr
            .contains("clusterroles.rbac.authorization.k8s.io is forbidden")
    );
    apply(&cluster, own).await;
    cluster.ok(&["label", "clusterrole", "things", "a=b"]).await;
    let rules = [
        "get",
        "clusterrole",
        "own",
        "-o",
        "jsonpath={.rules[*].resources}",
    ];
    assert_eq!(cluster.ok(&rules).await, "[\"csidrivers\"]");
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_and_describe_know_roles() {
    let cluster = Cluster::start().await;
    let manifest = |verbs: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: r, \
             namespace: default}}, rules: [{{apiGroups: [''], resources: [pods], verbs: \
             [{verbs}]}}]}}"
        )
    };
    for verbs in ["get", "list"] {
        let answer = cluster
            .feed(&["auth", "reconcile", "-f", "-"], &manifest(verbs))
            .await;
        assert!(answer.success, "{}", answer.stderr);
    }
    let shown = cluster.ok(&["describe", "role", "r"]).await;
    assert!(
        shown.contains("[get list]") || shown.contains("[list get]"),
        "{shown}"
    );
    let create = [
        "create",
        "rolebinding",
        "b",
        "--clusterrole=view",
        "--user=anna",
    ];
    cluster.ok(&create).await;
    // What is left out of a replacement is filled in as in a new one.
    let same = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b}
roleRef: {kind: ClusterRole, name: view}
subjects: [{kind: User, name: anna}, {kind: User, name: bert}]
";
    let answer = cluster.feed(&["replace", "-f", "-"], same).await;
    assert!(answer.success, "{}", answer.stderr);
    let patch = r#"{"roleRef": {"name": "edit"}}"#;
    let text = cluster
        .refused(&["patch", "rolebinding", "b", "-p", patch])
        .await;
    assert!(
        text.contains(
            "roleRef: Invalid value: rbac.RoleRef{APIGroup:\"rbac.authorization.k8s.io\", \
             Kind:\"ClusterRole\", Name:\"edit\"}: cannot change roleRef"
        ),
        "{text}"
    );
}
