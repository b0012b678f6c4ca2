//! A request to the API server that failed, and what it was for.

/// Why a controller could not do its step. The step is tried again later.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {object}")]
pub(crate) struct ApiError {
    action: &'static str,
    object: String,
    #[source]
    source: Box<kube::Error>,
}

impl ApiError {
    /// Someone else changed the object first: the cache is about to learn of it.
    pub(crate) fn is_conflict(&self) -> bool {
        status_code(&self.source) == Some(409)
    }

    /// What the API server said, or what kept it from saying something.
    pub(crate) fn answer(&self) -> String {
        match &*self.source {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        }
    }

    /// A quota or a limit is in the way, or the namespace is going.
    pub(crate) fn is_forbidden(&self) -> bool {
        status_code(&self.source) == Some(403)
    }

    /// The object, or its kind, is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        status_code(&self.source) == Some(404)
    }
}

/// The HTTP status code that the API server answered, if it answered.
pub(crate) fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Says what a request was for, in the words of [`ApiError`].
pub(crate) trait Doing<T> {
    /// `action` is a verb phrase such as `bind claim`.
    fn doing(self, action: &'static str, object: impl ToString) -> Result<T, ApiError>;
}

impl<T> Doing<T> for kube::Result<T> {
    fn doing(self, action: &'static str, object: impl ToString) -> Result<T, ApiError> {
        self.map_err(|source| ApiError {
            action,
            object: object.to_string(),
            source: Box::new(source),
        })
    }
}

/// Treats an object that is gone, or was replaced meanwhile, as success.
pub(crate) trait GoneIsDone {
    /// `Ok` for success and for the codes 404 and 409.
    fn or_gone(self) -> Result<(), ApiError>;
}

impl<T> GoneIsDone for Result<T, ApiError> {
    fn or_gone(self) -> Result<(), ApiError> {
        match self {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
