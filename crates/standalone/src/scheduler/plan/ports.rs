//! Ports of the node itself that Pods ask for.

use k8s_openapi::api::core::v1::Pod;

const ANY: &str = "0.0.0.0";

/// Whether two Pods can be on one node as far as its ports go.
pub(super) fn conflict(pod: &Pod, other: &Pod) -> bool {
    let taken: Vec<_> = wanted(other).collect();
    wanted(pod).any(|(port, protocol, address)| {
        taken
            .iter()
            .any(|(other_port, other_protocol, other_address)| {
                let same_place =
                    address == *other_address || address == ANY || *other_address == ANY;
                port == *other_port && protocol == *other_protocol && same_place
            })
    })
}

fn wanted(pod: &Pod) -> impl Iterator<Item = (i32, &str, &str)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| {
        container.ports.iter().flatten().filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let address = port.host_ip.as_deref().filter(|ip| !ip.is_empty());
            Some((number, protocol, address.unwrap_or(ANY)))
        })
    })
}
