//! From a request to the user who sends it.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;

use super::User;
use super::token::{ISSUER, Tokens};
use crate::status::Status;
use crate::store::Store;

/// Who sends a request: the owner of the connection's certificate, or else the bearer of a token.
/// None for somebody who shows neither; a token that does not count is an error.
pub(crate) fn user(
    parts: &Parts,
    tokens: &Tokens,
    store: &Store,
) -> Result<Option<Arc<User>>, Status> {
    if let Some(user) = parts.extensions.get::<Arc<User>>() {
        return Ok(Some(Arc::clone(user)));
    }
    let Some(token) = bearer(&parts.headers) else {
        return Ok(None);
    };
    match tokens.verify(token, &[ISSUER.into()], store, Timestamp::now()) {
        Ok((user, _)) => Ok(Some(user)),
        Err(error) => {
            tracing::debug!(%error, "a token was refused");
            Err(Status::unauthorized())
        }
    }
}

/// The token in the `Authorization` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_count() {
        let token = |text: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, text.parse().unwrap())]);
            bearer(&headers).map(ToOwned::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("Bearer "), None);
        assert_eq!(token("abc"), None);
    }
}
