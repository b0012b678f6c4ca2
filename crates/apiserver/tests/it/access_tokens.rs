//! Tokens of ServiceAccounts: who their bearers are, and when they end.

use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Cluster, Someone};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const UNAUTHORIZED: &str = "You must be logged in to the server";

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {serviceAccountName: robot, containers: [{name: c, image: i}]}
";

async fn cluster_with_robot() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.ok(&["create", "serviceaccount", "robot"]).await;
    cluster
}

async fn token(cluster: &Cluster, arguments: &[&str]) -> String {
    let arguments = [&["create", "token", "robot"], arguments].concat();
    cluster.ok(&arguments).await.trim().to_owned()
}

fn bearer<'a>(cluster: &'a Cluster, token: &str) -> Someone<'a> {
    cluster.someone(&format!("token: {token}"))
}

async fn whoami(someone: &Someone<'_>) -> Value {
    let text = someone.ok(&["auth", "whoami", "-o", "json"]).await;
    let review: Value = serde_json::from_str(&text).unwrap();
    review["status"]["userInfo"].clone()
}

async fn uid(cluster: &Cluster, object: &str) -> String {
    cluster
        .ok(&["get", object, "-o", "jsonpath={.metadata.uid}"])
        .await
}

async fn post(cluster: &Cluster, path: &str, body: Value) -> Result<Value, String> {
    let arguments = ["create", "--raw", path, "-f", "-"];
    let answer = cluster.feed(&arguments, &body.to_string()).await;
    if answer.success {
        Ok(serde_json::from_str(&answer.stdout).unwrap())
    } else {
        Err(answer.stderr)
    }
}

async fn review(cluster: &Cluster, token: &str, audiences: &[&str]) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    post(cluster, path, body).await.unwrap()["status"].clone()
}

/// A token that the server's own key signs, with claims of our choice.
fn forge(cluster: &Cluster, claims: &Value) -> String {
    let files = std::fs::read_dir(cluster.dir.path().join("pki")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let is_key = |path: &std::path::PathBuf| path.to_string_lossy().contains("/token-");
    let pem = std::fs::read(files.find(is_key).unwrap()).unwrap();
    let key = EncodingKey::from_ec_pem(&pem).unwrap();
    let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    let header = Header {
        kid: Some(jwk.thumbprint(ThumbprintHash::SHA256).unwrap()),
        ..Header::new(Algorithm::ES256)
    };
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

fn claims(uid: &str, from: i64, to: i64) -> Value {
    json!({
        "aud": [ISSUER], "iss": ISSUER, "iat": from, "nbf": from, "exp": to, "jti": "1",
        "sub": "system:serviceaccount:default:robot",
        "kubernetes.io": {"namespace": "default",
            "serviceaccount": {"name": "robot", "uid": uid}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bearer_of_a_token_is_its_account() {
    let cluster = cluster_with_robot().await;
    let token = token(&cluster, &["--duration=1h"]).await;
    let user = whoami(&bearer(&cluster, &token)).await;
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    assert_eq!(user["uid"], uid(&cluster, "sa/robot").await);
    assert_eq!(
        user["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    let id = &user["extra"]["authentication.kubernetes.io/credential-id"][0];
    assert!(id.as_str().unwrap().starts_with("JTI="), "{user}");
    let admin = cluster.ok(&["auth", "whoami"]).await;
    assert!(admin.contains("admin") && admin.contains("[system:masters system:authenticated]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_the_pod_that_it_is_bound_to() {
    let cluster = cluster_with_robot().await;
    assert!(cluster.feed(&["create", "-f", "-"], POD).await.success);
    let bound = ["--bound-object-kind=Pod", "--bound-object-name=p"];
    let token = token(&cluster, &bound).await;
    let someone = bearer(&cluster, &token);
    let user = whoami(&someone).await;
    let extra = |name: &str| user["extra"][format!("authentication.kubernetes.io/{name}")].clone();
    assert_eq!(extra("pod-name"), json!(["p"]));
    assert_eq!(extra("pod-uid"), json!([uid(&cluster, "pod/p").await]));

    cluster.ok(&["delete", "pod", "p", "--now"]).await;
    let refused = someone.refused(&["auth", "whoami"]).await;
    assert!(refused.contains(UNAUTHORIZED), "{refused}");
    // One of the same name is another Pod.
    assert!(cluster.feed(&["create", "-f", "-"], POD).await.success);
    someone.refused(&["auth", "whoami"]).await;
    assert_eq!(
        review(&cluster, &token, &[]).await,
        json!({"user": {},
            "error": "[invalid bearer token, service account token has been invalidated]"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_account() {
    let cluster = cluster_with_robot().await;
    let token = token(&cluster, &[]).await;
    let someone = bearer(&cluster, &token);
    whoami(&someone).await;
    cluster.ok(&["delete", "sa", "robot"]).await;
    cluster.ok(&["create", "sa", "robot"]).await;
    let refused = someone.refused(&["auth", "whoami"]).await;
    assert!(refused.contains(UNAUTHORIZED), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_count_for_their_time_and_audience_only() {
    let cluster = cluster_with_robot().await;
    let (now, uid) = (
        Timestamp::now().as_second(),
        uid(&cluster, "sa/robot").await,
    );
    let good = forge(&cluster, &claims(&uid, now - 60, now + 60));
    whoami(&bearer(&cluster, &good)).await;

    let expired = forge(&cluster, &claims(&uid, now - 3600, now - 1));
    let early = forge(&cluster, &claims(&uid, now + 3600, now + 7200));
    let mut elsewhere = claims(&uid, now - 60, now + 60);
    elsewhere["aud"] = json!(["vault"]);
    let elsewhere = forge(&cluster, &elsewhere);
    let mut foreign = claims(&uid, now - 60, now + 60);
    foreign["iss"] = json!("https://example.org");
    let foreign = forge(&cluster, &foreign);
    let (body, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = expired.rsplit_once('.').unwrap();
    let resigned = format!("{body}.{signature}");
    for token in [&expired, &early, &elsewhere, &foreign, &resigned, "x.y.z"] {
        let refused = bearer(&cluster, token).refused(&["auth", "whoami"]).await;
        assert!(refused.contains(UNAUTHORIZED), "{refused}");
        // A bad token is refused also where none is needed.
        bearer(&cluster, token).refused(&["version"]).await;
    }
    let error = |status: Value| status["error"].as_str().unwrap().to_owned();
    let status = review(&cluster, &expired, &[]).await;
    assert!(error(status).contains("service account token has expired"));
    assert!(error(review(&cluster, "x", &[]).await).contains("invalid bearer token"));

    let status = review(&cluster, &elsewhere, &["vault", "other"]).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!(["vault"]));
    assert_eq!(
        status["user"]["username"],
        "system:serviceaccount:default:robot"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_token_is_checked() {
    let cluster = cluster_with_robot().await;
    let refused = |arguments: &[&str]| {
        let arguments: Vec<String> = ["create", "token", "robot"]
            .iter()
            .chain(arguments)
            .map(ToString::to_string)
            .collect();
        let cluster = &cluster;
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            cluster.refused(&arguments).await
        }
    };
    let text = refused(&["--duration=1m"]).await;
    assert!(
        text.contains(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
             value: 60: may not specify a duration less than 10 minutes"
        ),
        "{text}"
    );
    let text = refused(&["--bound-object-kind=Pod", "--bound-object-name=none"]).await;
    assert!(text.contains("pods \"none\" not found"), "{text}");
    let other = POD.replace("robot", "default");
    assert!(cluster.feed(&["create", "-f", "-"], &other).await.success);
    let text = refused(&["--bound-object-kind=Pod", "--bound-object-name=p"]).await;
    assert!(
        text.contains("to pod running with different serviceaccount name"),
        "{text}"
    );
    cluster.ok(&["create", "secret", "generic", "s"]).await;
    let bound = [
        "--bound-object-kind=Secret",
        "--bound-object-name=s",
        "--bound-object-uid=1",
    ];
    let text = refused(&bound).await;
    assert!(
        text.contains("the UID in the bound object reference (1) does not match"),
        "{text}"
    );

    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let bound = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x"});
    let body = json!({"spec": {"audiences": ["a"], "boundObjectRef": bound}});
    let text = post(&cluster, path, body).await.unwrap_err();
    assert!(
        text.contains("cannot bind token to object of type /v1, Kind=ConfigMap"),
        "{text}"
    );
    let answer = post(&cluster, path, json!({"spec": {"audiences": ["a", "b"]}}));
    let answer = answer.await.unwrap();
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
    let token = answer["status"]["token"].as_str().unwrap();
    let status = review(&cluster, token, &["b", "c"]).await;
    assert_eq!(status["audiences"], json!(["b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_keys_can_be_found() {
    let cluster = cluster_with_robot().await;
    let read = async |path: &str| -> Value {
        serde_json::from_str(&cluster.ok(&["get", "--raw", path]).await).unwrap()
    };
    let core = read("/api/v1").await;
    let mut resources = core["resources"].as_array().unwrap().iter();
    let token_request = resources.find(|one| one["name"] == "serviceaccounts/token");
    assert_eq!(token_request.unwrap()["group"], "authentication.k8s.io");
    let about = read("/.well-known/openid-configuration").await;
    assert_eq!(about["issuer"], ISSUER);
    let keys = read("/openid/v1/jwks").await;
    let header = jsonwebtoken::decode_header(token(&cluster, &[]).await).unwrap();
    assert_eq!(keys["keys"][0]["kid"], header.kid.unwrap());
    assert_eq!(keys["keys"][0]["kty"], "EC");
    assert_eq!(keys["keys"][0]["d"], Value::Null);
}
