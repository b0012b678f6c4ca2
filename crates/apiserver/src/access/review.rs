//! Questions about users: kinds whose objects are answered at creation and never stored.
//!
//! A question about a permission may name any verb and resource, also such as are not served here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rule::Rule;
use super::token::{ISSUER, Tokens};
use super::{Attempt, Authorizer, Decision, User};
use crate::kind::Kind;
use crate::meta::text;
use crate::schema::cause;
use crate::status::Status;
use crate::store::Store;

/// Finds the `status` of a question, or says what is wrong with the question.
pub type Review = fn(&Reviewer<'_>, &Value) -> Result<Value, Status>;

/// Who asks, and where the answers come from.
#[derive(Debug)]
pub struct Reviewer<'a> {
    pub(crate) user: &'a User,
    pub(crate) kind: &'a Kind,
    pub(crate) namespace: &'a str,
    pub(crate) authorizer: Authorizer<'a>,
    pub(crate) store: &'a Store,
    pub(crate) tokens: &'a Tokens,
}

/// `SelfSubjectReview`: who am I?
#[expect(clippy::unnecessary_wraps, reason = "other reviews can fail")]
pub(crate) fn self_subject(reviewer: &Reviewer<'_>, _: &Value) -> Result<Value, Status> {
    Ok(json!({"userInfo": reviewer.user.to_value()}))
}

/// `TokenReview`: whose token is this?
pub(crate) fn token(reviewer: &Reviewer<'_>, question: &Value) -> Result<Value, Status> {
    let token = text(question, "/spec/token");
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let mut audiences = texts(question, "/spec/audiences");
    if audiences.is_empty() {
        audiences.push(ISSUER.into());
    }
    let verified = reviewer
        .tokens
        .verify(token, &audiences, reviewer.store, Timestamp::now());
    Ok(match verified {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user.to_value(), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

/// `SubjectAccessReview`: may somebody do something?
pub(crate) fn subject_access(reviewer: &Reviewer<'_>, question: &Value) -> Result<Value, Status> {
    let spec = &question["spec"];
    let user = User {
        name: text(spec, "/user").into(),
        uid: text(spec, "/uid").into(),
        groups: texts(spec, "/groups"),
        extra: spec.get("extra").map(extra).unwrap_or_default(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        let cause = cause::invalid("spec.user", &"".into(), detail);
        return Err(Status::invalid(reviewer.kind, "", &[cause]));
    }
    access(reviewer, &user, spec)
}

/// `LocalSubjectAccessReview`: may somebody do something in this namespace?
pub(crate) fn local_subject_access(
    reviewer: &Reviewer<'_>,
    question: &Value,
) -> Result<Value, Status> {
    let asked = text(question, "/spec/resourceAttributes/namespace");
    if asked != reviewer.namespace {
        return Err(Status::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {}",
            reviewer.namespace
        )));
    }
    subject_access(reviewer, question)
}

/// `SelfSubjectAccessReview`: may I do something?
pub(crate) fn self_subject_access(
    reviewer: &Reviewer<'_>,
    question: &Value,
) -> Result<Value, Status> {
    access(reviewer, reviewer.user, &question["spec"])
}

fn access(reviewer: &Reviewer<'_>, user: &User, spec: &Value) -> Result<Value, Status> {
    let attempt = attempt(reviewer.kind, spec)?;
    Ok(match reviewer.authorizer.decide(user, &attempt) {
        Decision::Allowed(reason) if reason.is_empty() => json!({"allowed": true}),
        Decision::Allowed(reason) => json!({"allowed": true, "reason": reason}),
        Decision::Denied(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::Denied(reason) => json!({"allowed": false, "reason": reason}),
    })
}

/// What a question is about.
fn attempt<'a>(kind: &Kind, spec: &'a Value) -> Result<Attempt<'a>, Status> {
    let (field, detail) = match (
        spec.get("resourceAttributes"),
        spec.get("nonResourceAttributes"),
    ) {
        (Some(asked), None) => {
            return Ok(Attempt::Resource {
                verb: text(asked, "/verb"),
                group: text(asked, "/group"),
                resource: text(asked, "/resource"),
                subresource: text(asked, "/subresource"),
                namespace: text(asked, "/namespace"),
                name: text(asked, "/name"),
            });
        }
        (None, Some(asked)) => {
            return Ok(Attempt::Path {
                verb: text(asked, "/verb"),
                path: text(asked, "/path"),
            });
        }
        (Some(_), Some(_)) => (
            "spec.nonResourceAttributes",
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => (
            "spec.resourceAttributes",
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
    };
    let cause = cause::invalid(field, &Value::Null, detail);
    Err(Status::invalid(kind, "", &[cause]))
}

/// `SelfSubjectRulesReview`: what may I do in a namespace?
pub(crate) fn self_subject_rules(
    reviewer: &Reviewer<'_>,
    question: &Value,
) -> Result<Value, Status> {
    let namespace = text(question, "/spec/namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, errors) = reviewer.authorizer.rules(reviewer.user, namespace);
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) = rules
        .iter()
        .partition(|rule| !rule.non_resource_urls.is_empty());
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": paths, "incomplete": !errors.is_empty(),
    });
    if !errors.is_empty() {
        status["evaluationError"] = errors.into();
    }
    Ok(status)
}

/// The lists of `extra`.
fn extra(value: &Value) -> BTreeMap<String, Vec<String>> {
    let lists = value.as_object().into_iter().flatten();
    let list = |values: &Value| texts(values, "");
    lists
        .map(|(key, values)| (key.clone(), list(values)))
        .collect()
}

/// The strings of the list at a JSON pointer.
fn texts(object: &Value, pointer: &str) -> Vec<String> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(Into::into).collect()
}
