//! Questions about users: kinds whose objects are answered at creation and never stored.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::User;
use super::token::{ISSUER, Tokens};
use crate::meta::text;
use crate::status::Status;
use crate::store::Store;

/// Finds the `status` of a question, or says what is wrong with the question.
pub type Review = fn(&Reviewer<'_>, &Value) -> Result<Value, Status>;

/// Who asks, and where the answers come from.
#[derive(Debug)]
pub struct Reviewer<'a> {
    pub(crate) user: &'a User,
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

/// The strings of the list at a JSON pointer.
fn texts(object: &Value, pointer: &str) -> Vec<String> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(Into::into).collect()
}
