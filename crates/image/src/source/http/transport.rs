//! Errors below HTTP, reduced to their cause.

use std::{error::Error as StdError, fmt, io};

/// Why a request got no answer, or an answer broke off. Its text is the innermost cause: the layers
/// of an HTTP client mean nothing to the user, and its URL may hold credentials.
#[derive(Debug)]
pub struct TransportError(Layer);

/// Which layer noticed.
#[derive(Debug)]
enum Layer {
    Client(reqwest::Error),
    Stream(io::Error),
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        Self(Layer::Client(error.without_url()))
    }
}

impl From<io::Error> for TransportError {
    /// The client reports most failures of a body as its own error inside one of the system's.
    fn from(error: io::Error) -> Self {
        error
            .downcast::<reqwest::Error>()
            .map_or_else(|e| Self(Layer::Stream(e)), Self::from)
    }
}

impl TransportError {
    /// Whether the server was silent for too long.
    pub(super) fn is_silence(&self) -> bool {
        match &self.0 {
            Layer::Client(error) => error.is_timeout() && !error.is_connect(),
            Layer::Stream(error) => error.kind() == io::ErrorKind::TimedOut,
        }
    }

    fn outermost(&self) -> &(dyn StdError + 'static) {
        match &self.0 {
            Layer::Client(error) => error,
            Layer::Stream(error) => error,
        }
    }

    /// Whether another try would end in the same way: a certificate that is not trusted, a redirect
    /// that leads nowhere, a URL that cannot be used.
    pub fn is_permanent(&self) -> bool {
        let hopeless = match &self.0 {
            Layer::Client(error) => error.is_redirect() || error.is_builder(),
            Layer::Stream(_) => false,
        };
        hopeless || self.bad_certificate()
    }

    fn bad_certificate(&self) -> bool {
        let mut next: Option<&(dyn StdError + 'static)> = Some(self.outermost());
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
        let mut cause = self.outermost();
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
