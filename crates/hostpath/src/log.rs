//! One line per call, and how the errors of pools are told to callers.

use std::error::Error;
use std::fmt::Debug;
use std::io;

use tonic::{Code, Request, Response, Status};

use crate::pool::PoolError;

/// Answers a call and logs it: the failed ones as warnings, the rest for debugging. Messages carry
/// no secrets: those fields are never decoded.
pub(crate) async fn answer<Q: Debug, A: Debug>(
    method: &'static str,
    request: Request<Q>,
    work: impl AsyncFnOnce(Q) -> Result<A, Status>,
) -> Result<Response<A>, Status> {
    let request = request.into_inner();
    tracing::debug!(method, ?request, "called");
    match work(request).await {
        Ok(answer) => {
            tracing::debug!(method, ?answer, "answered");
            Ok(Response::new(answer))
        }
        Err(status) => {
            tracing::warn!(method, code = ?status.code(), message = status.message(), "failed");
            Err(status)
        }
    }
}

/// Runs file system work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Status::internal(format!("the call was abandoned: {error}"))))
}

impl From<PoolError> for Status {
    fn from(error: PoolError) -> Self {
        let code = match &error {
            PoolError::OtherSize { .. } => Code::AlreadyExists,
            PoolError::NoSpace { .. } => Code::ResourceExhausted,
            PoolError::InTheWay { .. } => Code::FailedPrecondition,
            PoolError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Code::ResourceExhausted
            }
            PoolError::Io { .. } | PoolError::Damaged { .. } => Code::Internal,
        };
        Self::new(code, sentence(&error))
    }
}

/// An error with its causes in one line.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
