//! The Controller service: making and removing volumes.

use std::collections::HashMap;
use std::sync::Arc;

use csi::v1::controller_service_capability::{Rpc, Type, rpc};
use csi::v1::validate_volume_capabilities_response::Confirmed;
use csi::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse,
    ControllerServiceCapability, CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest,
    DeleteVolumeResponse, GetCapacityRequest, GetCapacityResponse, Topology,
    ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, Volume,
};
use tonic::{Request, Response, Status};

use crate::capability::{check_capabilities, check_sizes, check_topology};
use crate::log::{answer, blocking};
use crate::pool::Pool;
use crate::{DEFAULT_POOL, POOL_PARAMETER, TOPOLOGY_KEY, VolumeId};

/// Parameters with this prefix are between the orchestrator and its provisioner.
const RESERVED_PREFIX: &str = "csi.storage.k8s.io/";

/// The pools of this node.
#[derive(Clone)]
pub(crate) struct Controller {
    pub(crate) node: String,
    pub(crate) pools: Arc<[Pool]>,
}

impl Controller {
    /// The position of the pool that the parameters name.
    fn pool(&self, parameters: &HashMap<String, String>) -> Result<usize, Status> {
        let name = parameters
            .get(POOL_PARAMETER)
            .map_or(DEFAULT_POOL, String::as_str);
        self.pools
            .iter()
            .position(|pool| pool.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = self.pools.iter().map(Pool::name).collect();
                Status::invalid_argument(format!(
                    "unable to locate path for storage pool {name}: node {} has {}",
                    self.node,
                    known.join(", ")
                ))
            })
    }

    fn place(&self) -> Topology {
        Topology {
            segments: HashMap::from([(TOPOLOGY_KEY.to_owned(), self.node.clone())]),
        }
    }

    async fn create(&self, request: CreateVolumeRequest) -> Result<CreateVolumeResponse, Status> {
        if request.name.is_empty() {
            return Err(Status::invalid_argument("volume name missing in request"));
        }
        let id = volume_id(&request.name)?;
        check_capabilities(&request.volume_capabilities)?;
        let sizes = check_sizes(request.capacity_range.as_ref())?;
        check_topology(request.accessibility_requirements.as_ref(), &self.node)?;
        let pool = self.pool(&request.parameters)?;
        if request.volume_content_source.is_some() {
            return Err(Status::invalid_argument(
                "a volume content source is not supported by this driver",
            ));
        }
        let (pools, created) = (Arc::clone(&self.pools), id.clone());
        let promise = blocking(move || Ok(pools[pool].create(&created, sizes)?)).await?;
        let mut volume_context = request.parameters;
        volume_context.retain(|key, _| !key.starts_with(RESERVED_PREFIX));
        let accessible_topology = if self.pools[pool].is_shared() {
            Vec::new()
        } else {
            vec![self.place()]
        };
        Ok(CreateVolumeResponse {
            volume: Some(Volume {
                capacity_bytes: i64::try_from(promise.capacity_bytes).unwrap_or(i64::MAX),
                volume_id: id.to_string(),
                volume_context,
                content_source: None,
                accessible_topology,
            }),
        })
    }

    async fn delete(&self, request: DeleteVolumeRequest) -> Result<DeleteVolumeResponse, Status> {
        let id = volume_id(&request.volume_id)?;
        let pools = Arc::clone(&self.pools);
        blocking(move || Ok(pools.iter().try_for_each(|pool| pool.delete(&id))?)).await?;
        Ok(DeleteVolumeResponse {})
    }

    async fn validate(
        &self,
        request: ValidateVolumeCapabilitiesRequest,
    ) -> Result<ValidateVolumeCapabilitiesResponse, Status> {
        let id = volume_id(&request.volume_id)?;
        check_capabilities(&request.volume_capabilities)?;
        let pools = Arc::clone(&self.pools);
        blocking(move || {
            for pool in pools.iter() {
                if pool.open_volume(&id)?.is_some() {
                    return Ok(());
                }
            }
            Err(Status::not_found(format!("volume {id} does not exist")))
        })
        .await?;
        Ok(ValidateVolumeCapabilitiesResponse {
            confirmed: Some(Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: request.parameters,
                mutable_parameters: HashMap::new(),
            }),
            message: String::new(),
        })
    }

    async fn capacity(&self, request: GetCapacityRequest) -> Result<GetCapacityResponse, Status> {
        let pool = self.pool(&request.parameters)?;
        let elsewhere = request
            .accessible_topology
            .and_then(|place| place.segments.get(TOPOLOGY_KEY).cloned())
            .is_some_and(|node| node != self.node);
        if elsewhere || check_any(&request.volume_capabilities).is_err() {
            return Ok(GetCapacityResponse::default());
        }
        let pools = Arc::clone(&self.pools);
        let space = blocking(move || Ok(pools[pool].space()?)).await?;
        Ok(GetCapacityResponse {
            available_capacity: i64::try_from(space.available_bytes).unwrap_or(i64::MAX),
            maximum_volume_size: Some(i64::try_from(space.total_bytes).unwrap_or(i64::MAX)),
            minimum_volume_size: Some(0),
        })
    }
}

/// As [`check_capabilities`], where none at all means any.
fn check_any(capabilities: &[csi::VolumeCapability]) -> Result<(), Status> {
    if capabilities.is_empty() {
        Ok(())
    } else {
        check_capabilities(capabilities)
    }
}

/// Checks a volume id or name from outside.
pub(crate) fn volume_id(text: &str) -> Result<VolumeId, Status> {
    VolumeId::new(text).map_err(|error| {
        Status::invalid_argument(format!("volume id {text:?} is invalid: {error}"))
    })
}

#[tonic::async_trait]
impl csi::Controller for Controller {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        answer("CreateVolume", request, |request| self.create(request)).await
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        answer("DeleteVolume", request, |request| self.delete(request)).await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        answer("ValidateVolumeCapabilities", request, |request| {
            self.validate(request)
        })
        .await
    }

    async fn get_capacity(
        &self,
        request: Request<GetCapacityRequest>,
    ) -> Result<Response<GetCapacityResponse>, Status> {
        answer("GetCapacity", request, |request| self.capacity(request)).await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let capability = |call: rpc::Type| ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: call.into(),
            })),
        };
        Ok(Response::new(ControllerGetCapabilitiesResponse {
            capabilities: vec![
                capability(rpc::Type::CreateDeleteVolume),
                capability(rpc::Type::GetCapacity),
            ],
        }))
    }
}
