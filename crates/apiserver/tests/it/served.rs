//! The table in `docs/api.md` is what discovery says.

use std::fmt::Write as _;

use longshore_apiserver::extend::Extensions;
use serde_json::Value;

use crate::api::Api;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
const BEGIN: &str = "<!-- what discovery says: begin -->\n";
const END: &str = "<!-- what discovery says: end -->\n";
const ALL: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The rows of one group and version.
fn rows(list: &Value) -> String {
    let resources = list["resources"].as_array().unwrap();
    let name = |resource: &Value| resource["name"].as_str().unwrap().to_owned();
    let mut rows = String::new();
    for resource in resources {
        let plural = name(resource);
        if plural.contains('/') {
            continue;
        }
        let verbs: Vec<_> = resource["verbs"].as_array().unwrap().iter().collect();
        let verbs: Vec<_> = verbs.iter().map(|verb| verb.as_str().unwrap()).collect();
        let verbs = if verbs == ALL {
            "all".to_owned()
        } else {
            verbs.join(", ")
        };
        let below = resources.iter().map(name);
        let below =
            below.filter_map(|name| Some(name.strip_prefix(&format!("{plural}/"))?.to_owned()));
        let below: Vec<_> = below.collect();
        let scope = if resource["namespaced"] == true {
            "namespace"
        } else {
            "cluster"
        };
        let (version, kind) = (&list["groupVersion"], &resource["kind"]);
        let (version, kind) = (version.as_str().unwrap(), kind.as_str().unwrap());
        let _ = writeln!(
            rows,
            "| {version} | {kind} | {plural} | {scope} | {verbs} | {} |",
            below.join(", ")
        );
    }
    rows
}

/// To bring the table up to date: `LONGSHORE_WRITE_DOCS=1 cargo nextest run -p longshore-apiserver served`.
#[tokio::test]
async fn the_table_of_what_is_served_is_true() {
    let api = Api::start(Extensions::default()).await;
    let mut table = "| version | kind | resource | scope | verbs | subresources |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    table += &rows(&api.get("/api/v1").await.1);
    let (_, groups) = api.get("/apis").await;
    for group in groups["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let version = version["groupVersion"].as_str().unwrap();
            table += &rows(&api.get(&format!("/apis/{version}")).await.1);
        }
    }
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("LONGSHORE_WRITE_DOCS").is_some() {
        std::fs::write(DOCUMENT, &expected).unwrap();
        return;
    }
    assert!(
        document == expected,
        "docs/api.md differs from discovery; see this test to rewrite it"
    );
}
