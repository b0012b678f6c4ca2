//! `GET pods/log`, as the API server's extension point.

use apiserver::discovery;
use apiserver::extend::{Body, BoxError, Subresource, SubresourceRequest};
use apiserver::status::Status;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{LogOptions, Logs, LogsError};

/// Serves the logs of Pods that ran on this machine.
#[derive(Clone, Debug)]
pub struct PodLogs {
    logs: Logs,
}

impl PodLogs {
    /// The handler over the logs that the agents write.
    pub fn new(logs: Logs) -> Self {
        Self { logs }
    }

    /// What discovery tells of it.
    pub fn about() -> discovery::Subresource {
        discovery::Subresource {
            group: String::new(),
            resource: "pods".to_owned(),
            subresource: "log".to_owned(),
            kind: "Pod".to_owned(),
            verbs: vec!["get".to_owned()],
        }
    }
}

impl Subresource for PodLogs {
    fn call(
        &self,
        request: SubresourceRequest,
    ) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        let answer = answer(&self.logs, &request);
        Box::pin(async { answer })
    }
}

/// Must be called inside a Tokio runtime.
fn answer(logs: &Logs, request: &SubresourceRequest) -> Result<Response<Body>, Status> {
    if request.method != Method::GET {
        return Err(Status::method_not_allowed("logs can only be read"));
    }
    let pod: Pod = serde_json::from_value(request.object.clone())
        .map_err(|error| internal(format!("the stored pod is not readable: {error}")))?;
    let options = options(request)?;
    let container = choose(&pod, request.query.get("container"))?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let previous = options.previous;
    let chunks = logs
        .read((node.unwrap_or_default(), uid, &container), options)
        .map_err(|error| match error {
            LogsError::Missing => Status::bad_request(absent(&pod, &container, previous)),
            LogsError::Unreadable { ref source, .. } => internal(format!("{error}: {source}")),
        })?;
    let body = StreamBody::new(chunks.map_ok(Frame::data).map_err(BoxError::from)).boxed_unsync();
    Response::builder()
        .header(http::header::CONTENT_TYPE, "text/plain")
        .body(body)
        .map_err(|error| internal(error.to_string()))
}

fn internal(message: String) -> Status {
    Status::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
}

fn options(request: &SubresourceRequest) -> Result<LogOptions, Status> {
    let query = &request.query;
    let count = |name: &str| {
        query
            .number::<u64>(name)
            .map(|count| count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
    };
    let since = match (query.number::<u64>("sinceSeconds")?, query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err(Status::bad_request(
                "only one of sinceSeconds and sinceTime may be given",
            ));
        }
        (Some(seconds), None) => {
            let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN))
        }
        (None, Some(text)) => Some(text.parse().map_err(|_| {
            Status::bad_request(format!("invalid value \"{text}\" of parameter sinceTime"))
        })?),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: count("tailLines")?,
        since,
        limit_bytes: count("limitBytes")?,
    })
}

/// The container that is meant: the named one, or the only one.
fn choose(pod: &Pod, wanted: Option<&str>) -> Result<String, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let names: Vec<String> = spec
        .containers
        .into_iter()
        .map(|container| container.name)
        .collect();
    let init: Vec<String> = spec
        .init_containers
        .unwrap_or_default()
        .into_iter()
        .map(|container| container.name)
        .collect();
    match (wanted, names.as_slice()) {
        (Some(wanted), _) if names.iter().chain(&init).any(|known| known == wanted) => {
            Ok(wanted.to_owned())
        }
        (Some(wanted), _) => Err(Status::bad_request(format!(
            "container {wanted} is not valid for pod {name}"
        ))),
        (None, [only]) => Ok(only.clone()),
        (None, _) => {
            let init = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", init.join(" "))
            };
            Err(Status::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]{init}",
                names.join(" ")
            )))
        }
    }
}

/// Why a container has no log yet.
fn absent(pod: &Pod, container: &str, previous: bool) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if previous {
        return format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        );
    }
    let status = pod.status.clone().unwrap_or_default();
    let all = [status.init_container_statuses, status.container_statuses];
    let reason = all
        .into_iter()
        .flatten()
        .flatten()
        .find(|status| status.name == container)
        .and_then(waiting_reason)
        .unwrap_or_else(|| "ContainerCreating".to_owned());
    format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}")
}

fn waiting_reason(status: ContainerStatus) -> Option<String> {
    status.state?.waiting?.reason
}
