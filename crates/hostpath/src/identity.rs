//! The Identity service.

use csi::v1::plugin_capability::{Service, Type, service};
use csi::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse,
};
use tonic::{Request, Response, Status};

/// Who the driver is.
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: String,
}

#[tonic::async_trait]
impl csi::Identity for Identity {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: self.name.clone(),
            vendor_version: self.version.clone(),
            ..Default::default()
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let capability = |kind: service::Type| PluginCapability {
            r#type: Some(Type::Service(Service {
                r#type: kind.into(),
            })),
        };
        Ok(Response::new(GetPluginCapabilitiesResponse {
            capabilities: vec![
                capability(service::Type::ControllerService),
                capability(service::Type::VolumeAccessibilityConstraints),
            ],
        }))
    }

    /// The driver listens only once its pools are open, so it is always ready.
    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse { ready: Some(true) }))
    }
}
