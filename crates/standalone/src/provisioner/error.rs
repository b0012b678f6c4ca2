//! Why a volume was not made or removed.

use tonic::{Code, Status};

use crate::runtime::ApiError;
use crate::runtime::queue::ReconcileError;

/// What is known after a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It may still happen: the same call must be repeated until it ends.
    Unknown,
    /// Nothing was made; another node may have room.
    NoRoom,
    /// Nothing was made.
    Nothing,
}

/// A driver's refusal, or no answer.
#[derive(Debug, thiserror::Error)]
#[error("the driver refused")]
pub(super) struct DriverError(#[source] Box<Status>);

impl DriverError {
    pub(super) fn no_room(bytes: u64) -> Self {
        Status::resource_exhausted(format!("no node has {bytes} bytes free")).into()
    }

    /// A node that is away is one without room: the volume may go elsewhere.
    pub(super) fn no_such_node(node: &str) -> Self {
        Status::resource_exhausted(format!("node {node:?} has no driver")).into()
    }

    /// Sorts codes by what the CSI specification lets a caller conclude.
    pub(super) fn outcome(&self) -> Outcome {
        match self.0.code() {
            Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Aborted => {
                Outcome::Unknown
            }
            Code::ResourceExhausted => Outcome::NoRoom,
            _ => Outcome::Nothing,
        }
    }

    /// In the words that Kubernetes' components use for an answer over gRPC.
    pub(super) fn detail(&self) -> String {
        let code = match self.0.code() {
            Code::Cancelled => "Canceled".to_owned(),
            code => format!("{code:?}"),
        };
        format!("rpc error: code = {code} desc = {}", self.0.message())
    }
}

impl From<Status> for DriverError {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvisionError {
    /// The API server refused.
    #[error("the API server refused")]
    Api(#[from] ApiError),
    /// The driver refused.
    #[error("no volume could be made or removed")]
    Driver(#[from] DriverError),
    /// The claim or its class asks for what no driver offers.
    #[error("the claim cannot be provisioned: {0}")]
    Unsupported(String),
}

impl ProvisionError {
    /// For an event's message.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Driver(error) => error.detail(),
            Self::Unsupported(why) => why.clone(),
            Self::Api(error) => error.to_string(),
        }
    }
}

impl ReconcileError for ProvisionError {
    fn is_routine(&self) -> bool {
        match self {
            Self::Api(error) => error.is_routine(),
            // Told to the owner by an event.
            Self::Driver(_) | Self::Unsupported(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_end_a_call_let_it_be_forgotten() {
        let outcome = |code| DriverError::from(Status::new(code, "")).outcome();
        assert_eq!(outcome(Code::Aborted), Outcome::Unknown);
        assert_eq!(outcome(Code::DeadlineExceeded), Outcome::Unknown);
        assert_eq!(outcome(Code::ResourceExhausted), Outcome::NoRoom);
        assert_eq!(outcome(Code::Unknown), Outcome::Nothing);
        assert_eq!(outcome(Code::InvalidArgument), Outcome::Nothing);
    }

    #[test]
    fn a_volume_may_go_elsewhere_when_its_node_is_away() {
        assert_eq!(DriverError::no_such_node("n2").outcome(), Outcome::NoRoom);
    }

    #[test]
    fn answers_read_as_they_do_in_kubernetes() {
        let text = |code| DriverError::from(Status::new(code, "full")).detail();
        assert_eq!(
            text(Code::ResourceExhausted),
            "rpc error: code = ResourceExhausted desc = full"
        );
        assert_eq!(
            text(Code::Cancelled),
            "rpc error: code = Canceled desc = full"
        );
    }
}
