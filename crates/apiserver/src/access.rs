//! Who is asking.
//!
//! A client is known by its certificate: common name = user, organisations = groups. An in-process
//! caller is whoever the embedder says. Everyone who is known may do everything.

pub mod pki;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Groups; `system:masters` is the administrators'.
    pub groups: Vec<String>,
}

impl User {
    /// A user of some groups.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        Self {
            name: name.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
        }
    }

    /// The server itself.
    pub fn system() -> Self {
        Self::new("system:apiserver", &["system:masters"])
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
        groups.push("system:authenticated".into());
        Some(Self { name, groups })
    }
}
