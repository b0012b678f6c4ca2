//! What a caller asks of a volume, checked.

use csi::v1::volume_capability::AccessType;
use csi::{CapacityRange, TopologyRequirement, VolumeCapability};
use tonic::Status;

use crate::TOPOLOGY_KEY;
use crate::pool::SizeRange;

/// Every capability must be a mounted directory.
pub(crate) fn check_capabilities(capabilities: &[VolumeCapability]) -> Result<(), Status> {
    if capabilities.is_empty() {
        return Err(Status::invalid_argument(
            "volume capabilities missing in request",
        ));
    }
    capabilities.iter().try_for_each(check_capability)
}

/// The capability must be a mounted directory.
pub(crate) fn check_capability(capability: &VolumeCapability) -> Result<(), Status> {
    match capability.access_type {
        Some(AccessType::Mount(_)) => Ok(()),
        Some(AccessType::Block(_)) => Err(Status::invalid_argument(
            "volumes must have mount access type: this driver does not offer block volumes",
        )),
        None => Err(Status::invalid_argument(
            "volumes must have mount access type: none is given",
        )),
    }
}

/// One of the places must be this node. A missing requirement is met everywhere.
pub(crate) fn check_topology(
    requirement: Option<&TopologyRequirement>,
    node: &str,
) -> Result<(), Status> {
    let Some(requirement) = requirement else {
        return Ok(());
    };
    let here = requirement
        .requisite
        .iter()
        .chain(&requirement.preferred)
        .any(|place| {
            place
                .segments
                .get(TOPOLOGY_KEY)
                .is_some_and(|value| value == node)
        });
    if here {
        Ok(())
    } else {
        Err(Status::invalid_argument(format!(
            "not correct node: the volume must be reachable elsewhere, and this is node {node}"
        )))
    }
}

/// Checks the bounds; a missing range leaves the size open.
pub(crate) fn check_sizes(range: Option<&CapacityRange>) -> Result<SizeRange, Status> {
    let Some(range) = range else {
        return Ok(SizeRange {
            required: 0,
            limit: None,
        });
    };
    let (Ok(required), Ok(limit)) = (
        u64::try_from(range.required_bytes),
        u64::try_from(range.limit_bytes),
    ) else {
        return Err(Status::out_of_range("a volume's size cannot be negative"));
    };
    if limit != 0 && limit < required {
        return Err(Status::out_of_range(format!(
            "the limit of {limit} bytes is below the required {required} bytes"
        )));
    }
    Ok(SizeRange {
        required,
        limit: (limit != 0).then_some(limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn sizes_have_two_bounds() {
        let check = |required_bytes, limit_bytes| {
            check_sizes(Some(&CapacityRange {
                required_bytes,
                limit_bytes,
            }))
        };
        assert_eq!(
            check(5, 0).unwrap(),
            SizeRange {
                required: 5,
                limit: None
            }
        );
        assert_eq!(
            check(5, 5).unwrap(),
            SizeRange {
                required: 5,
                limit: Some(5)
            }
        );
        assert_eq!(check(5, 4).unwrap_err().code(), Code::OutOfRange);
        assert_eq!(check(-1, 0).unwrap_err().code(), Code::OutOfRange);
        assert_eq!(check(0, i64::MIN).unwrap_err().code(), Code::OutOfRange);
    }

    #[test]
    fn a_requirement_without_places_is_met_nowhere() {
        assert!(check_topology(None, "n").is_ok());
        let empty = TopologyRequirement::default();
        assert_eq!(
            check_topology(Some(&empty), "n").unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}
