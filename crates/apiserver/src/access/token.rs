//! Tokens of ServiceAccounts: signed claims (RFC 7519) about an account, which may be bound to a
//! Pod, Secret or Node.
//!
//! A token counts while its signature, its time and its audience are right, and while the objects
//! that it names still exist. Checking the signature costs much more than the rest, so tokens that
//! passed are remembered; the rest is checked at each use.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Header, Validation};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::User;
use super::keys::{ALGORITHM, Keys};
use super::pki::PkiError;
use crate::meta;
use crate::store::{Key, Store};

/// Who signs, and whom tokens are for that name nobody else.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Longest life of a token; a request for more gets this.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Most tokens remembered, each with about two kilobytes.
const REMEMBERED: usize = 4096;
/// Longest text that is taken for a token.
const TEXT_MAX: usize = 16 * 1024;

/// An object that a token names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// What a token is issued for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Reference>,
    #[serde(rename = "serviceaccount")]
    pub(crate) account: Reference,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    subject: Subject,
    nbf: i64,
    sub: String,
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It was not signed here, or is no token at all.
    #[error("invalid bearer token")]
    Unknown,
    /// Its time is over.
    #[error("[invalid bearer token, service account token has expired]")]
    Expired,
    /// Its time has not come.
    #[error("[invalid bearer token, service account token is not valid yet]")]
    Early,
    /// It is for somebody else.
    #[error("[invalid bearer token, token audiences do not include any of those asked for]")]
    Audience,
    /// Its account or the object that it is bound to is gone.
    #[error("[invalid bearer token, service account token has been invalidated]")]
    Invalidated,
}

/// A token whose signature is right.
#[derive(Debug)]
struct Signed {
    claims: Claims,
    user: Arc<User>,
    /// The objects that must exist.
    objects: Vec<Named>,
}

/// An object that must exist with a uid, and the last revision at which it had that.
#[derive(Debug)]
struct Named {
    key: Key,
    uid: String,
    seen: AtomicU64,
}

impl Named {
    fn exists(&self, store: &Store) -> bool {
        let Some(object) = store.get(&self.key) else {
            return false;
        };
        if object.revision == self.seen.load(Ordering::Relaxed) {
            return true;
        }
        let is_same = meta::uid(&object.value()) == self.uid;
        if is_same {
            self.seen.store(object.revision, Ordering::Relaxed);
        }
        is_same
    }
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    keys: RwLock<Arc<Keys>>,
    remembered: Mutex<HashMap<Box<str>, Arc<Signed>>>,
}

impl Tokens {
    /// Uses the keys of a folder, which get a first one if need be.
    pub(crate) fn open(dir: &Path) -> Result<Self, PkiError> {
        let keys = Keys::open(dir, Timestamp::now())?;
        Ok(Self {
            keys: RwLock::new(Arc::new(keys)),
            remembered: Mutex::default(),
        })
    }

    /// A new token and the moment at which it ends.
    pub(crate) fn issue(
        &self,
        subject: Subject,
        audiences: Vec<String>,
        life: SignedDuration,
        now: Timestamp,
    ) -> Result<(String, Timestamp), PkiError> {
        let keys = self.keys(now)?;
        let (key, id) = keys.signing();
        let end = now + life.min(LONGEST);
        let claims = Claims {
            aud: audiences,
            exp: end.as_second(),
            iat: now.as_second(),
            iss: ISSUER.into(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: user_name(&subject),
            subject,
            nbf: now.as_second(),
        };
        let header = Header {
            kid: Some(id.into()),
            typ: None,
            ..Header::new(ALGORITHM)
        };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(PkiError::Sign)?;
        Ok((token, end))
    }

    /// Whose token this is, if it counts for one of the audiences.
    pub(crate) fn verify(
        &self,
        token: &str,
        audiences: &[String],
        store: &Store,
        now: Timestamp,
    ) -> Result<(Arc<User>, Vec<String>), TokenError> {
        let signed = self.signed(token)?;
        let claims = &signed.claims;
        if now.as_second() >= claims.exp {
            self.remembered.lock().remove(token);
            return Err(TokenError::Expired);
        }
        if now.as_second() < claims.nbf {
            return Err(TokenError::Early);
        }
        let shared: Vec<_> = audiences
            .iter()
            .filter(|audience| claims.aud.contains(audience))
            .cloned()
            .collect();
        if shared.is_empty() {
            return Err(TokenError::Audience);
        }
        if !signed.objects.iter().all(|object| object.exists(store)) {
            return Err(TokenError::Invalidated);
        }
        Ok((Arc::clone(&signed.user), shared))
    }

    /// The public keys, as clients find them at `/openid/v1/jwks`.
    pub(crate) fn key_set(&self) -> Value {
        json!({"keys": self.keys.read().public()})
    }

    fn keys(&self, now: Timestamp) -> Result<Arc<Keys>, PkiError> {
        let keys = Arc::clone(&self.keys.read());
        if !keys.is_due(now) {
            return Ok(keys);
        }
        let mut current = self.keys.write();
        if current.is_due(now) {
            *current = Arc::new(current.renewed(now)?);
        }
        Ok(Arc::clone(&current))
    }

    fn signed(&self, token: &str) -> Result<Arc<Signed>, TokenError> {
        if let Some(known) = self.remembered.lock().get(token) {
            return Ok(Arc::clone(known));
        }
        let signed = Arc::new(self.read(token)?);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED {
            // Rare, and cheaper than to keep an order: everybody pays for one signature again.
            remembered.clear();
        }
        remembered.insert(token.into(), Arc::clone(&signed));
        Ok(signed)
    }

    /// Checks the signature of a token.
    fn read(&self, token: &str) -> Result<Signed, TokenError> {
        if token.len() > TEXT_MAX {
            return Err(TokenError::Unknown);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Unknown)?;
        let id = header.kid.ok_or(TokenError::Unknown)?;
        let keys = Arc::clone(&self.keys.read());
        let key = keys.verifying(&id).ok_or(TokenError::Unknown)?;
        // Time and audience depend on the moment and the question, and are looked at elsewhere.
        let mut validation = Validation::new(ALGORITHM);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "nbf", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|_| TokenError::Unknown)?
            .claims;
        Ok(Signed {
            user: Arc::new(user(&claims)),
            objects: objects(&claims.subject),
            claims,
        })
    }
}

/// Where the public keys are, in the form of OpenID Connect Discovery 1.0.
pub(crate) fn discovery() -> Value {
    json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

fn user_name(subject: &Subject) -> String {
    format!(
        "system:serviceaccount:{}:{}",
        subject.namespace, subject.account.name
    )
}

/// The groups of every account in a namespace.
pub(crate) fn account_groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".into(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".into(),
    ]
}

fn user(claims: &Claims) -> User {
    let subject = &claims.subject;
    let mut extra = BTreeMap::new();
    let mut tell = |name: &str, value: String| {
        extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    };
    tell("credential-id", format!("JTI={}", claims.jti));
    for (what, reference) in [("node", &subject.node), ("pod", &subject.pod)] {
        if let Some(Reference { name, uid }) = reference {
            tell(&format!("{what}-name"), name.clone());
            if !uid.is_empty() {
                tell(&format!("{what}-uid"), uid.clone());
            }
        }
    }
    User {
        name: claims.sub.clone(),
        uid: subject.account.uid.clone(),
        groups: account_groups(&subject.namespace),
        extra,
    }
}

/// The objects that a token depends on: its account, and what it is bound to. The node of a bound
/// Pod is only told.
fn objects(subject: &Subject) -> Vec<Named> {
    let named = |resource: &str, namespace: &str, reference: &Reference| Named {
        key: Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: reference.name.clone(),
        },
        uid: reference.uid.clone(),
        seen: AtomicU64::new(0),
    };
    let namespace = subject.namespace.as_str();
    let bound = match (&subject.pod, &subject.secret, &subject.node) {
        (Some(pod), _, _) => Some(named("pods", namespace, pod)),
        (_, Some(secret), _) => Some(named("secrets", namespace, secret)),
        (_, _, Some(node)) => Some(named("nodes", "", node)),
        (None, None, None) => None,
    };
    let account = named("serviceaccounts", namespace, &subject.account);
    [account].into_iter().chain(bound).collect()
}
