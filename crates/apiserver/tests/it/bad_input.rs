//! Names, parameters and bodies that make no sense, and how they are refused.

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use longshore_apiserver::extend::Extensions;
use serde_json::{Value, json};

use crate::api::{Api, read};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

async fn api() -> Api {
    let api = Api::start(Extensions::default()).await;
    let (code, _) = api
        .create(CONFIGS, &json!({"metadata": {"name": "c"}}))
        .await;
    assert_eq!(code, StatusCode::CREATED);
    api
}

async fn refusal(api: &Api, path: &str) -> (u16, String) {
    let (code, status) = api.get(path).await;
    let message = status["message"].as_str().unwrap_or_default();
    (code.as_u16(), message.to_owned())
}

/// The fields and messages of what is wrong with an object.
async fn causes(api: &Api, path: &str, object: &Value) -> Vec<(String, String)> {
    let (code, status) = api.create(path, object).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
    let text = |cause: &Value, field: &str| cause[field].as_str().unwrap().to_owned();
    let causes = status["details"]["causes"].as_array().unwrap();
    causes
        .iter()
        .map(|cause| (text(cause, "field"), text(cause, "message")))
        .collect()
}

#[tokio::test]
async fn names_that_are_no_part_of_a_path_are_refused() {
    let api = api().await;
    for (name, told) in [
        ("..", "\"..\": may not be '..'"),
        ("%2e%2E", "\"..\": may not be '..'"),
        (".", "\".\": may not be '.'"),
        ("a%25b", "\"a%b\": may not contain '%'"),
    ] {
        let expected = (400, format!("Name parameter invalid: {told}"));
        assert_eq!(refusal(&api, &format!("{CONFIGS}/{name}")).await, expected);
        for verb in ["PUT", "PATCH", "DELETE"] {
            let request = Request::builder()
                .method(verb)
                .uri(format!("{CONFIGS}/{name}"))
                .header("content-type", "application/apply-patch+yaml");
            let (code, status) = read(api.send(request, "{}").await).await;
            assert_eq!(code, StatusCode::BAD_REQUEST, "{verb} {name}: {status}");
        }
        let inside = format!("/api/v1/namespaces/{name}/configmaps");
        let expected = (400, format!("Namespace parameter invalid: {told}"));
        assert_eq!(refusal(&api, &inside).await, expected);
    }
}

#[tokio::test]
async fn an_encoded_slash_is_a_slash() {
    let api = api().await;
    let (code, object) = api.get("/api/v1%2Fnamespaces/default%2fconfigmaps/c").await;
    assert_eq!(
        (code, &object["kind"]),
        (StatusCode::OK, &json!("ConfigMap"))
    );
    let missing = "the server could not find the requested resource";
    let inside = refusal(&api, &format!("{CONFIGS}/c%2Fd")).await;
    assert_eq!(inside, (404, missing.to_owned()));
    // Neither leads it out of the namespace.
    for out in ["..%2F..%2Fkube-system%2Fconfigmaps", "..%2Fsecrets"] {
        let (code, _) = refusal(&api, &format!("{CONFIGS}/{out}")).await;
        assert!(matches!(code, 400 | 404), "{out}: {code}");
    }
    for bytes in ["%", "%zz", "%ff", "%00", "%0a"] {
        let (code, _) = refusal(&api, &format!("{CONFIGS}/{bytes}")).await;
        assert!(matches!(code, 400 | 404), "{bytes}: {code}");
    }
}

#[tokio::test]
async fn selectors_are_bounded_and_their_faults_told() {
    let api = api().await;
    let refused = async |query: String| {
        let (code, message) = refusal(&api, &format!("{CONFIGS}?{query}")).await;
        assert_eq!(code, 400, "{message}");
        message
    };
    let most = "must not have more than 2000 requirements or values";
    let many = |part: &str| vec![part; 2_001].join(",");
    for query in [
        format!("labelSelector={}", many("a")),
        format!("labelSelector=a+in+({})", many("b")),
        format!("fieldSelector={}", many("metadata.name=c")),
    ] {
        let message = refused(query).await;
        assert!(message.ends_with(most), "{message}");
    }
    let fits = format!("{CONFIGS}?labelSelector={}", many("!a")[3..].to_owned());
    assert_eq!(api.get(&fits).await.0, StatusCode::OK);
    let key = refused("labelSelector=a:b=c".into()).await;
    let start =
        "unable to parse requirement: <nil>: Invalid value: \"a:b\": name part must consist";
    assert!(key.starts_with(start), "{key}");
    let value = refused("labelSelector=a+in+(b,c:d)".into()).await;
    let start = "unable to parse requirement: values[1][a]: Invalid value: \"c:d\": a valid label";
    assert!(value.starts_with(start), "{value}");
    refused("labelSelector=%ff".into()).await;
    assert_eq!(
        refused("fieldSelector=data.x%3Dy".into()).await,
        "field label not supported: data.x"
    );
}

#[tokio::test]
async fn numbers_and_revisions_that_are_none_are_refused() {
    let api = api().await;
    let refused = async |path: &str, query: &str| refusal(&api, &format!("{path}?{query}")).await;
    let huge = "99999999999999999999";
    for (text, why) in [(huge, "value out of range"), ("1e3", "invalid syntax")] {
        let fault = |parser: &str| format!("strconv.{parser}: parsing \"{text}\": {why}");
        for query in [
            format!("limit={text}"),
            format!("watch=1&timeoutSeconds={text}"),
        ] {
            assert_eq!(refused(CONFIGS, &query).await, (400, fault("ParseInt")));
        }
        let one = format!("{CONFIGS}/c");
        for (path, query) in [(CONFIGS, ""), (CONFIGS, "watch=1&"), (&*one, "")] {
            let told = format!(
                "invalid resource version: resourceVersion: Invalid value: \"{text}\": {}",
                fault("ParseUint")
            );
            let query = format!("{query}resourceVersion={text}");
            assert_eq!(refused(path, &query).await, (400, told));
        }
    }
    let (code, told) = refused(&format!("{CONFIGS}/c"), "resourceVersion=999999").await;
    assert_eq!(code, 504);
    assert!(
        told.starts_with("Timeout: Too large resource version: 999999"),
        "{told}"
    );
}

#[tokio::test]
async fn numbers_below_zero_end_a_watch_and_limit_no_list() {
    let api = api().await;
    let (code, list) = api.get(&format!("{CONFIGS}?limit=-1&limit=x")).await;
    // Of a parameter that comes twice the first counts.
    assert_eq!(
        (code, list["items"].as_array().unwrap().len()),
        (StatusCode::OK, 1)
    );
    let (code, _) = refusal(&api, &format!("{CONFIGS}?limit=x&limit=1")).await;
    assert_eq!(code, 400);
    let watch = format!("{CONFIGS}?watch=1&timeoutSeconds=-1&resourceVersion=1");
    let response = api.send(Request::get(watch), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap();
    // Of what may come more than once, all must make sense.
    let twice = format!("{CONFIGS}?dryRun=All&dryRun=Some");
    let (code, _) = api
        .create(&twice, &json!({"metadata": {"name": "d"}}))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refusal(&api, &format!("{CONFIGS}/d")).await.0, 404);
}

#[tokio::test]
async fn names_labels_and_annotations_are_refused_in_known_words() {
    const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
        alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
        (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    const HOST: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
        '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
        'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
    const PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
        and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
        used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
        characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
        'MyValue',  or 'my_value',  or '12345', regex used for validation is \
        '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    let api = api().await;
    let told = async |path: &str, metadata: Value, wrong: &[(&str, &str, String)]| {
        let expected: Vec<_> = wrong
            .iter()
            .map(|(field, value, why)| {
                let message = format!("Invalid value: {value:?}: {why}");
                (format!("metadata.{field}"), message)
            })
            .collect();
        let object = json!({"metadata": metadata});
        assert_eq!(causes(&api, path, &object).await, expected);
    };
    for name in ["..", "a/b", "-a", "a b", "é"] {
        let wrong = [("name", name, SUBDOMAIN.to_owned())];
        told(CONFIGS, json!({"name": name}), &wrong).await;
    }
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let wrong = [("name", "a/b", "may not contain '/'".to_owned())];
    told(roles, json!({"name": "a/b"}), &wrong).await;
    let service = json!({"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 1}]}});
    let found = causes(&api, "/api/v1/namespaces/default/services", &service).await;
    assert_eq!(found[0].1, format!("Invalid value: \"1a\": {HOST}"));
    let generated = json!({"name": "c2", "generateName": "A-"});
    told(
        CONFIGS,
        generated,
        &[("generateName", "A-", SUBDOMAIN.to_owned())],
    )
    .await;
    let long = "a".repeat(64);
    let too_long = "must be no more than 63 characters";
    for (key, faults) in [
        ("a b", vec![format!("name part {PART}")]),
        (long.as_str(), vec![format!("name part {too_long}")]),
        ("/a", vec!["prefix part must be non-empty".to_owned()]),
        ("A/a", vec![format!("prefix part {SUBDOMAIN}")]),
        (
            "a/",
            vec![
                "name part must be non-empty".to_owned(),
                format!("name part {PART}"),
            ],
        ),
        (
            "a/b/c",
            vec![format!(
                "a qualified name {PART} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )],
        ),
    ] {
        // Of an annotation's key the case does not count.
        let fields = ["labels", "annotations"];
        for field in &fields[..if key == "A/a" { 1 } else { 2 }] {
            let field = *field;
            let wrong: Vec<_> = faults.iter().map(|why| (field, key, why.clone())).collect();
            told(CONFIGS, json!({"name": "c2", field: {key: "x"}}), &wrong).await;
        }
    }
    let labels = json!({"name": "c2", "labels": {"a": "-"}});
    told(CONFIGS, labels, &[("labels", "-", VALUE.to_owned())]).await;
    let labels = json!({"name": "c2", "labels": {"a": long}});
    told(CONFIGS, labels, &[("labels", &long, too_long.to_owned())]).await;
    let many = json!({"name": "c2", "annotations": {"a": "x".repeat(256 * 1024)}});
    let found = causes(&api, CONFIGS, &json!({"metadata": many})).await;
    let message = "Too long: may not be more than 262144 bytes";
    assert_eq!(
        found,
        [("metadata.annotations".to_owned(), message.to_owned())]
    );
}
