//! Acting as somebody else, who is named in `Impersonate-*` headers.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::token::account_groups;
use super::{AUTHENTICATED, Attempt, Authorizer, Decision, User};
use crate::serve::query::percent_decode;
use crate::status::Status;

const GROUP: &str = "authentication.k8s.io";
const EXTRA: &str = "impersonate-extra-";

/// Whom the headers name, if the user may act as them; none where they name nobody.
pub(crate) fn impersonated(
    headers: &HeaderMap,
    user: &User,
    authorizer: Authorizer<'_>,
) -> Result<Option<User>, Status> {
    let Some(wanted) = wanted(headers)? else {
        return Ok(None);
    };
    let check = |attempt: Attempt<'_>| match authorizer.decide(user, &attempt) {
        Decision::Allowed(_) => Ok(()),
        Decision::Denied(reason) => Err(attempt.refusal(user, &reason)),
    };
    match account(&wanted.name) {
        Some((namespace, name)) => check(attempt("", "serviceaccounts", "", namespace, name))?,
        None => check(attempt("", "users", "", "", &wanted.name))?,
    }
    if !wanted.uid.is_empty() {
        check(attempt(GROUP, "uids", "", "", &wanted.uid))?;
    }
    for group in &wanted.groups {
        check(attempt("", "groups", "", "", group))?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            check(attempt(GROUP, "userextras", key, "", value))?;
        }
    }
    Ok(Some(with_own_groups(wanted)))
}

fn attempt<'a>(
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
) -> Attempt<'a> {
    Attempt::Resource {
        verb: "impersonate",
        group,
        resource,
        subresource,
        namespace,
        name,
    }
}

/// The user that the headers name, without the groups that follow from the name.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
    let mut extra = BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.insert(percent_decode(key).into_owned(), texts(name.as_str()));
        }
    }
    let user = User {
        name: first("impersonate-user"),
        uid: first("impersonate-uid"),
        groups: texts("impersonate-group"),
        extra,
    };
    if user == User::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(Status::internal(
            "groups, uids and extras cannot be impersonated without a user",
        ));
    }
    Ok(Some(user))
}

/// The namespace and name of the ServiceAccount that a user name stands for.
fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

fn with_own_groups(mut user: User) -> User {
    if let Some((namespace, _)) = account(&user.name)
        && user.groups.is_empty()
    {
        user.groups = account_groups(namespace);
    }
    let anonymous = User::anonymous();
    let own = if user.name == anonymous.name {
        anonymous.groups[0].as_str()
    } else {
        AUTHENTICATED
    };
    let is_told = |group: &String| *group == anonymous.groups[0] || group == AUTHENTICATED;
    if !user.groups.iter().any(is_told) {
        user.groups.push(own.into());
    }
    user
}
