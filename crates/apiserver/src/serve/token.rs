//! `serviceaccounts/token`: a token for an account.

use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Handler, ResourceRequest, body, respond};
use crate::access::token::{ISSUER, Reference, Subject};
use crate::builtin;
use crate::extend::Body;
use crate::kind::Kind;
use crate::meta::{self, text};
use crate::objects::decode;
use crate::schema::cause;
use crate::status::Status;

/// Life of a token whose request names none, in seconds.
const LIFE: i64 = 60 * 60;
/// Shortest and longest life that can be asked for, in seconds.
const LIFE_MIN: i64 = 10 * 60;
const LIFE_MAX: i64 = 1 << 32;

impl Handler {
    pub(super) async fn issue_token(
        &self,
        request: ResourceRequest,
        body: Body,
    ) -> Result<Response<Body>, Status> {
        let content = body::read(body).await?;
        let kind = builtin::token_request();
        let document = body::parse(&request.parts.headers, &kind.kind, &content)?;
        let validation = body::field_validation(&request.query)?;
        let mut warnings = Vec::new();
        let mut answer = decode::conform(kind, document, validation, &mut warnings)?;
        self.fill_token(&request, kind, &mut answer)?;
        let mut response = respond::value(StatusCode::CREATED, &answer);
        respond::warn(&mut response, &warnings);
        Ok(response)
    }

    fn fill_token(
        &self,
        request: &ResourceRequest,
        kind: &Kind,
        answer: &mut Value,
    ) -> Result<(), Status> {
        let path = &request.path;
        check_name(answer, &path.name)?;
        let account = self
            .objects
            .get(&request.kind, &path.namespace, &path.name)?;
        let seconds = answer
            .pointer("/spec/expirationSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(LIFE);
        check_life(kind, seconds)?;
        let spec = meta::child_mut(answer, "spec");
        spec.insert("expirationSeconds".into(), seconds.into());
        let none = spec
            .get("audiences")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty);
        if none {
            spec.insert("audiences".into(), json!([ISSUER]));
        }
        let audiences = answer["spec"]["audiences"].as_array();
        let audiences = audiences.into_iter().flatten().filter_map(Value::as_str);
        let audiences = audiences.map(Into::into).collect();

        let mut subject = Subject {
            namespace: path.namespace.clone(),
            node: None,
            pod: None,
            secret: None,
            account: reference(&account.value()),
        };
        if answer.pointer("/spec/boundObjectRef").is_some() {
            self.bind_token(&mut subject, &answer["spec"]["boundObjectRef"])?;
        }
        let life = SignedDuration::from_secs(seconds);
        let now = Timestamp::now();
        let (token, end) = self
            .tokens
            .issue(subject, audiences, life, now)
            .map_err(Status::internal)?;
        let metadata = meta::metadata_mut(answer);
        metadata.insert("name".into(), path.name.as_str().into());
        metadata.insert("namespace".into(), path.namespace.as_str().into());
        metadata.insert("creationTimestamp".into(), meta::timestamp(now).into());
        answer["status"] = json!({"token": token, "expirationTimestamp": meta::timestamp(end)});
        Ok(())
    }

    /// Makes a token count for as long as another object exists only.
    fn bind_token(&self, subject: &mut Subject, bound: &Value) -> Result<(), Status> {
        let name = text(bound, "/name");
        let (api_version, kind) = (text(bound, "/apiVersion"), text(bound, "/kind"));
        let plural = match (api_version, kind) {
            ("v1", "Pod") => "pods",
            ("v1", "Node") => "nodes",
            ("v1", "Secret") => "secrets",
            _ => {
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                )));
            }
        };
        let found = self.get_core(plural, &subject.namespace, name)?;
        let uid = text(bound, "/uid");
        if !uid.is_empty() && uid != meta::uid(&found) {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            );
            return Err(other_uid(kind, name, &why));
        }
        match plural {
            "pods" => self.bind_to_pod(subject, &found)?,
            "nodes" => subject.node = Some(reference(&found)),
            _ => subject.secret = Some(reference(&found)),
        }
        Ok(())
    }

    fn bind_to_pod(&self, subject: &mut Subject, pod: &Value) -> Result<(), Status> {
        let account = &subject.account.name;
        if text(pod, "/spec/serviceAccountName") != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different \
                 serviceaccount name."
            )));
        }
        subject.pod = Some(reference(pod));
        let node = text(pod, "/spec/nodeName");
        if !node.is_empty() {
            // A node that is gone is told by its name.
            let found = self.get_core("nodes", "", node);
            subject.node = Some(found.as_ref().map_or_else(
                |_| Reference {
                    name: node.into(),
                    uid: String::new(),
                },
                reference,
            ));
        }
        Ok(())
    }

    fn get_core(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        let catalog = self.objects.registry.catalog();
        let kind = catalog.get("", "v1", plural);
        let kind = kind.ok_or_else(Status::no_such_path)?;
        Ok(self.objects.get(kind, namespace, name)?.value())
    }
}

fn reference(object: &Value) -> Reference {
    Reference {
        name: meta::name(object).into(),
        uid: meta::uid(object).into(),
    }
}

fn check_name(request: &Value, name: &str) -> Result<(), Status> {
    let own = meta::name(request);
    if own.is_empty() || own == name {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the name of the object ({own}) does not match the name on the URL ({name})"
    )))
}

fn check_life(kind: &Kind, seconds: i64) -> Result<(), Status> {
    let fault = if seconds < LIFE_MIN {
        "may not specify a duration less than 10 minutes"
    } else if seconds > LIFE_MAX {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let cause = cause::invalid("spec.expirationSeconds", &seconds.into(), fault);
    Err(Status::invalid(kind, "", &[cause]))
}

/// 409 about an object that goes by its kind.
fn other_uid(kind: &str, name: &str, why: &str) -> Status {
    let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
    Status {
        details: json!({"name": name, "kind": kind}),
        ..Status::new(StatusCode::CONFLICT, "Conflict", message)
    }
}
