//! "Servers with support for Table transformation", as Kubernetes' conformance tests have it.

use http::{Request, StatusCode};
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn api() -> Api {
    Api::start(Extensions::default()).await
}

async fn create(api: &Api, path: &str, object: &Value) {
    let (code, answer) = api.create(path, object).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}

/// Gets something as a table, in which every row has a cell for every column.
async fn table(api: &Api, path: &str) -> Value {
    let request = Request::get(path).header("accept", TABLE);
    let (code, table) = read(api.send(request, "").await).await;
    assert_eq!(code, StatusCode::OK, "{table}");
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1");
    let columns = table["columnDefinitions"].as_array().unwrap();
    assert!(columns.len() >= 2, "{columns:?}");
    assert_eq!(columns[0]["name"], "Name");
    for row in rows(&table) {
        assert_eq!(row["cells"].as_array().unwrap().len(), columns.len());
    }
    table
}

fn rows(table: &Value) -> &[Value] {
    table["rows"].as_array().unwrap()
}

#[tokio::test]
async fn conformance_tables_should_return_pod_details() {
    let api = api().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "pod-1"},
        "spec": {"containers": [{"name": "a", "image": "b"}]}});
    create(&api, pods, &pod).await;
    let table = table(&api, &format!("{pods}/pod-1")).await;
    assert_eq!(rows(&table).len(), 1);
    assert_eq!(rows(&table)[0]["cells"][0], "pod-1");
    assert_eq!(rows(&table)[0]["object"]["metadata"]["name"], "pod-1");
}

#[tokio::test]
async fn conformance_tables_should_return_chunks_of_results_for_list_calls() {
    let api = api().await;
    let configs = "/api/v1/namespaces/default/configmaps";
    for n in 0..20 {
        create(
            &api,
            configs,
            &json!({"metadata": {"name": format!("template-{n:04}")}}),
        )
        .await;
    }
    let page = table(&api, &format!("{configs}?limit=2")).await;
    assert_eq!(rows(&page).len(), 2);
    assert_ne!(page["metadata"]["resourceVersion"], "");
    assert_eq!(page["metadata"]["remainingItemCount"], 18);
    let mut names: Vec<_> = rows(&page)
        .iter()
        .map(|row| row["cells"][0].clone())
        .collect();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = table(&api, &format!("{configs}?continue={token}")).await;
    assert_eq!(rest["metadata"]["continue"], Value::Null);
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        page["metadata"]["resourceVersion"]
    );
    names.extend(rows(&rest).iter().map(|row| row["cells"][0].clone()));
    let all: Vec<_> = (0..20).map(|n| json!(format!("template-{n:04}"))).collect();
    assert_eq!(names, all);
}

#[tokio::test]
async fn conformance_tables_should_return_generic_metadata_details_across_all_namespaces_for_nodes()
{
    let api = api().await;
    create(&api, "/api/v1/nodes", &json!({"metadata": {"name": "n"}})).await;
    let table = table(&api, "/api/v1/nodes?includeObject=Metadata").await;
    assert_ne!(table["metadata"]["resourceVersion"], "");
    assert_eq!(rows(&table)[0]["cells"][0], "n");
    let object = &rows(&table)[0]["object"];
    assert_eq!(object["kind"], "PartialObjectMetadata");
    assert_eq!(object["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(object["metadata"]["name"], "n");
}

#[tokio::test]
async fn conformance_tables_should_be_a_406_of_a_backend_which_does_not_implement_metadata() {
    let api = api().await;
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let ask = async |accept: &str| {
        let request = Request::post(reviews).header("accept", accept);
        read(api.send(request, review.to_string()).await).await
    };
    let (code, status) = ask(TABLE).await;
    assert_eq!(code, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(status["reason"], "NotAcceptable");
    let (code, answered) = ask(&format!("{TABLE},application/json")).await;
    assert_eq!(code, StatusCode::CREATED);
    assert_eq!(answered["status"]["allowed"], true);
}
