//! Services and their endpoints: data for those who route, which this server does not.

use serde_json::{Value, json};

use super::NO_HOOKS;
use super::access::{fill, list, map, text};
use super::column::{AGE, Col};
use super::workload;
use crate::kind::Hooks;
use crate::meta::names;
use crate::schema::cause;
use crate::status::Cause;

/// Endpoints shown in a cell.
const SHOWN: usize = 3;

pub(super) const SERVICE_COLUMNS: &[Col] = &[
    Col::new("Type", "How the service is reached.", |service| {
        text(service, "/spec/type").into()
    }),
    Col::new("Cluster-IP", "Address inside the cluster.", |service| {
        or_none(text(service, "/spec/clusterIP")).into()
    }),
    Col::new("External-IP", "Address from outside.", |service| {
        external(service).into()
    }),
    Col::new("Port(s)", "Ports of the service.", |service| {
        ports(service).into()
    }),
    AGE,
    Col::new("Selector", "Labels of the Pods behind it.", |service| {
        workload::labels_text(service.pointer("/spec/selector")).into()
    })
    .wide(),
];

pub(super) const SERVICE_HOOKS: Hooks = Hooks {
    default: Some(default_service),
    validate: Some(validate_service),
    fields: Some(|service| {
        vec![
            (
                "spec.clusterIP",
                text(service, "/spec/clusterIP").to_owned(),
            ),
            ("spec.type", text(service, "/spec/type").to_owned()),
        ]
    }),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const ENDPOINTS_COLUMNS: &[Col] = &[
    Col::new("Endpoints", "Addresses that are ready.", |endpoints| {
        addresses(endpoints).into()
    }),
    AGE,
];

pub(super) const SLICE_COLUMNS: &[Col] = &[
    Col::new("AddressType", "Type of the addresses.", |slice| {
        text(slice, "/addressType").into()
    }),
    Col::new("Ports", "Ports of the endpoints.", |slice| {
        let ports = list(slice, "/ports")
            .iter()
            .map(|port| number(&port["port"]));
        shorten(ports.collect(), "<unset>").into()
    }),
    Col::new("Endpoints", "Addresses of the endpoints.", |slice| {
        let all = list(slice, "/endpoints").iter();
        let all = all.flat_map(|endpoint| list(endpoint, "/addresses"));
        let all = all.filter_map(Value::as_str).map(str::to_owned);
        shorten(all.collect(), "<unset>").into()
    }),
    AGE,
];

pub(super) const ENDPOINTS_HOOKS: Hooks = Hooks {
    no_generation: true,
    ..NO_HOOKS
};

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn number(value: &Value) -> String {
    value.as_i64().unwrap_or_default().to_string()
}

fn external(service: &Value) -> String {
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress").iter();
            let address = |at: &Value| match text(at, "/ip") {
                "" => text(at, "/hostname").to_owned(),
                ip => ip.to_owned(),
            };
            shorten(ingress.map(address).collect(), "<pending>")
        }
        _ => {
            let given = list(service, "/spec/externalIPs").iter();
            let given: Vec<_> = given.filter_map(Value::as_str).collect();
            or_none(&given.join(",")).to_owned()
        }
    }
}

fn ports(service: &Value) -> String {
    let port = |port: &Value| {
        let (number, protocol) = (number(&port["port"]), text(port, "/protocol"));
        match port["nodePort"].as_i64() {
            Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    let ports: Vec<_> = list(service, "/spec/ports").iter().map(port).collect();
    or_none(&ports.join(",")).to_owned()
}

fn addresses(endpoints: &Value) -> String {
    let pairs = list(endpoints, "/subsets").iter().flat_map(|subset| {
        let addresses = list(subset, "/addresses").iter();
        addresses.flat_map(|address| {
            let ip = text(address, "/ip");
            let ports = list(subset, "/ports").iter();
            ports.map(move |port| format!("{ip}:{}", number(&port["port"])))
        })
    });
    shorten(pairs.collect(), "<none>")
}

/// The first entries, and how many there are more.
fn shorten(entries: Vec<String>, none: &str) -> String {
    let shown = entries[..entries.len().min(SHOWN)].join(",");
    match entries.len() {
        0 => none.to_owned(),
        all if all > SHOWN => format!("{shown} + {} more...", all - SHOWN),
        _ => shown,
    }
}

fn default_service(service: &mut Value) {
    let spec = map(service, "spec");
    fill(spec, "type", "ClusterIP");
    fill(spec, "sessionAffinity", "None");
    if spec["type"] != "ExternalName" {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "NodePort" || spec["type"] == "LoadBalancer" {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        fill(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            fill(port, "targetPort", number);
        }
    }
    fill(map(service, "status"), "loadBalancer", json!({}));
}

fn validate_service(service: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let type_ = service.pointer("/spec/type").unwrap_or(&Value::Null);
    if !types.iter().any(|known| type_ == known) {
        causes.push(cause::unsupported("spec.type", type_, types));
    }
    let headless = text(service, "/spec/clusterIP") == "None";
    let ports = list(service, "/spec/ports");
    if ports.is_empty() && !headless && type_ != "ExternalName" {
        causes.push(cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        if !(1..=65535).contains(&port["port"].as_i64().unwrap_or_default()) {
            let detail = "must be between 1 and 65535, inclusive";
            causes.push(cause::invalid(
                format!("{path}.port"),
                &port["port"],
                detail,
            ));
        }
        let name = text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(cause::required(format!("{path}.name"), ""));
        }
        let faults = names::dns_label(name);
        let faults = faults.iter().filter(|_| !name.is_empty());
        causes.extend(faults.map(|f| cause::invalid(format!("{path}.name"), &name.into(), f)));
    }
    let address = |service: &Value| text(service, "/spec/clusterIP").to_owned();
    if let Some(old) = old
        && !address(old).is_empty()
        && address(old) != address(service)
    {
        let value = address(service).into();
        causes.push(cause::invalid(
            "spec.clusterIPs[0]",
            &value,
            "may not change once set",
        ));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_ports_and_tells_of_them() {
        let mut service = json!({"spec": {"ports": [{"port": 80}, {"port": 0, "name": "x"}]}});
        default_service(&mut service);
        assert_eq!(ports(&service), "80/TCP,0/TCP");
        assert_eq!(service["spec"]["ports"][0]["targetPort"], 80);
        let fields: Vec<_> = validate_service(&service, None)
            .into_iter()
            .map(|cause| cause.field)
            .collect();
        assert_eq!(fields, ["spec.ports[0].name", "spec.ports[1].port"]);
    }

    #[test]
    fn long_lists_are_shortened() {
        let ports = json!([{"port": 1}, {"port": 2}]);
        let endpoints =
            json!({"subsets": [{"addresses": [{"ip": "a"}, {"ip": "b"}], "ports": ports}]});
        assert_eq!(addresses(&endpoints), "a:1,a:2,b:1 + 1 more...");
        assert_eq!(addresses(&json!({})), "<none>");
    }
}
