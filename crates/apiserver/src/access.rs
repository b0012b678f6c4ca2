//! Who is asking, and what they may do.
//!
//! * [`pki`]: certificates; a client is known by its own: common name = user, organisations = groups
//! * `keys`, [`token`]: tokens of ServiceAccounts
//! * `authenticate`: from a request to a [`User`]; `impersonate`: who acts as somebody else
//! * `attempt`, `rule`, `authorizer`: what they want, what a rule allows, what all rules together say
//! * `escalation`: that nobody gives away more than they have
//! * `bootstrap`: the roles that every server has; `aggregation`: roles that are made of others
//! * [`review`]: questions about users that clients ask by creating an object
//!
//! An in-process caller is whoever the embedder says.

pub(crate) mod aggregation;
mod attempt;
pub(crate) mod authenticate;
mod authorizer;
pub(crate) mod bootstrap;
pub(crate) mod escalation;
pub(crate) mod impersonate;
mod keys;
pub mod pki;
pub mod review;
mod rule;
pub mod token;

pub use attempt::Attempt;
pub(crate) use authorizer::Policies;
pub use authorizer::{Authorizer, Decision};

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";

/// An authenticated user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Tells users of the same name apart, over time too; empty where there is none.
    pub uid: String,
    /// Groups; `system:masters` is the administrators'.
    pub groups: Vec<String>,
    /// What else is known, such as the Pod that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user of some groups.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        Self {
            name: name.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// The server itself.
    pub fn system() -> Self {
        Self::new("system:apiserver", &["system:masters"])
    }

    /// Somebody who does not say who they are.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    /// The subject of a client certificate whose signature has been verified.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let organisations = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok());
        let mut groups: Vec<String> = organisations.map(Into::into).collect();
        groups.push(AUTHENTICATED.into());
        Some(Self {
            name,
            groups,
            ..Self::default()
        })
    }

    /// The user as `UserInfo` of `authentication.k8s.io/v1`.
    pub fn to_value(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".into(), self.name.as_str().into());
        if !self.uid.is_empty() {
            info.insert("uid".into(), self.uid.as_str().into());
        }
        if !self.groups.is_empty() {
            info.insert("groups".into(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            info.insert("extra".into(), json!(self.extra));
        }
        info.into()
    }
}
