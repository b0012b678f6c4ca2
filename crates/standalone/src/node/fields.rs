//! What a container can be told of its own Pod: fields and resources.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::registration;
use super::status::HOST_ADDRESS;
use crate::objects::quantity;

/// The Pod has no such field or resource.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unknown(String);

/// The value of a field, such as `metadata.name` or `metadata.labels['app']`; a missing key is
/// empty. `metadata.labels` and `metadata.annotations` are all of them, one to a line.
pub(super) fn field(pod: &Pod, path: &str, address: &str) -> Result<String, Unknown> {
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "metadata.labels" => pod.metadata.labels.as_ref().map(lines),
        "metadata.annotations" => pod.metadata.annotations.as_ref().map(lines),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(address.to_owned()),
        "status.hostIP" | "status.hostIPs" => Some(HOST_ADDRESS.to_owned()),
        _ => {
            return keyed(pod, path)
                .ok_or_else(|| Unknown(format!("unsupported fieldPath: {path}")));
        }
    };
    Ok(value.unwrap_or_default())
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map
        .iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    lines.join("\n")
}

fn keyed(pod: &Pod, path: &str) -> Option<String> {
    let (field, rest) = path.split_once("['")?;
    let key = rest.strip_suffix("']")?;
    let map = match field {
        "metadata.labels" => &pod.metadata.labels,
        "metadata.annotations" => &pod.metadata.annotations,
        _ => return None,
    };
    let value = map.as_ref().and_then(|map| map.get(key).cloned());
    Some(value.unwrap_or_default())
}

/// A container's own request or limit, in units of the divisor, rounded up. A limit that is not set
/// is what the node has.
pub(super) fn resource(
    container: &Container,
    wanted: &ResourceFieldSelector,
) -> Result<String, Unknown> {
    let name = &wanted.resource;
    let unknown = || Unknown(format!("unsupported container resource: {name}"));
    let own = container.resources.as_ref();
    let (set, resource) = match name.split_once('.') {
        Some(("limits", resource)) => (own.and_then(|own| own.limits.as_ref()), resource),
        Some(("requests", resource)) => (own.and_then(|own| own.requests.as_ref()), resource),
        _ => return Err(unknown()),
    };
    let set = set.and_then(|set| set.get(resource)).cloned();
    let of_node = || {
        let capacity = registration::capacity();
        let has = capacity
            .get(resource)
            .filter(|_| name.starts_with("limits"));
        has.cloned().map(Quantity)
    };
    let amount = set.or_else(of_node).unwrap_or_default();
    // In thousandths, as the divisor may be one of a processor.
    let thousandths = |quantity: &Quantity| quantity::thousandths(quantity).ok_or_else(unknown);
    let divisor = wanted.divisor.as_ref().map(thousandths).transpose()?;
    let divisor = divisor.filter(|divisor| *divisor > 0).unwrap_or(1000);
    let amount = if amount.0.is_empty() {
        0
    } else {
        thousandths(&amount)?
    };
    Ok(amount.div_ceil(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pods_own_fields() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {
            "name": "p", "labels": {"app": "x", "zone": "a \"b\""}}}))
        .unwrap();
        let field = |path| field(&pod, path, "127.64.0.1").ok();
        assert_eq!(field("metadata.name").as_deref(), Some("p"));
        assert_eq!(field("status.podIP").as_deref(), Some("127.64.0.1"));
        assert_eq!(field("metadata.labels['app']").as_deref(), Some("x"));
        assert_eq!(field("metadata.labels['none']").as_deref(), Some(""));
        let lines = "app=\"x\"\nzone=\"a \\\"b\\\"\"";
        assert_eq!(field("metadata.labels").as_deref(), Some(lines));
        assert_eq!(field("spec.colour"), None);
    }

    #[test]
    fn a_containers_own_resources() {
        let container: Container = serde_json::from_value(json!({"name": "c", "resources": {
            "limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}}))
        .unwrap();
        let resource = |name: &str, divisor: Option<&str>| {
            let wanted = ResourceFieldSelector {
                resource: name.to_owned(),
                divisor: divisor.map(|text| Quantity(text.to_owned())),
                container_name: None,
            };
            resource(&container, &wanted).ok()
        };
        assert_eq!(resource("limits.cpu", None).as_deref(), Some("2"));
        assert_eq!(resource("limits.cpu", Some("1m")).as_deref(), Some("1500"));
        assert_eq!(
            resource("requests.memory", Some("1Mi")).as_deref(),
            Some("64")
        );
        assert_eq!(resource("requests.cpu", None).as_deref(), Some("0"));
        assert!(resource("limits.memory", None).is_some_and(|memory| memory != "0"));
        assert_eq!(resource("cpu", None), None);
    }
}
