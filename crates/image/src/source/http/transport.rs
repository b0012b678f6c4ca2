//! Errors below HTTP, reduced to their cause.

use std::{error::Error as StdError, fmt, io};

/// Why a request got no answer, or an answer broke off. Its text is the innermost cause: the layers
/// of an HTTP client mean nothing to the user, and its URL may hold credentials.
#[derive(Debug)]
pub struct TransportError(reqwest::Error);

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        Self(error.without_url())
    }
}

impl TransportError {
    /// Whether another try would end in the same way: a certificate that is not trusted, a redirect
    /// that leads nowhere, a URL that cannot be used.
    pub fn is_permanent(&self) -> bool {
        self.0.is_redirect() || self.0.is_builder() || self.bad_certificate()
    }

    fn bad_certificate(&self) -> bool {
        let mut next: Option<&(dyn StdError + 'static)> = Some(&self.0);
        while let Some(error) = next {
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            let tls = error
                .downcast_ref::<rustls::Error>()
                .or_else(|| inner.and_then(|inner| inner.downcast_ref()));
            if let Some(rustls::Error::InvalidCertificate(_)) = tls {
                return true;
            }
            next = inner.map(|inner| inner as _).or_else(|| error.source());
        }
        false
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause: &(dyn StdError + 'static) = &self.0;
        while let Some(source) = cause.source() {
            cause = source;
        }
        if self.bad_certificate() {
            f.write_str("x509: ")?;
        }
        fmt::Display::fmt(cause, f)
    }
}

impl StdError for TransportError {}
