//! Discovery: which groups, versions and resources are served.
//!
//! Two forms of the same: a document per group and version, which every client knows, and the
//! aggregated one (`apidiscovery.k8s.io/v2`), which says all in two answers.

use std::cmp::Reverse;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// A subresource beyond `status`, such as `pods/log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// API group of the resource; empty for the core group.
    pub group: String,
    /// Plural of the resource, such as `pods`.
    pub resource: String,
    /// Name of the subresource, such as `log`.
    pub subresource: String,
    /// Kind of what is read and written there, such as `Binding`.
    pub kind: String,
    /// What can be done, such as `get`.
    pub verbs: Vec<String>,
}

const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// `/api`: the versions of the core group, and the address under which the client has found us.
pub fn core_versions(kinds: &[Arc<Kind>], address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": versions(kinds, ""), "serverAddressByClientCIDRs":
        [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

/// `/`: every path that can be read without naming a resource.
pub fn paths(kinds: &[Arc<Kind>]) -> Value {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/apis/",
        "/healthz",
        "/healthz/etcd",
        "/healthz/log",
        "/healthz/ping",
        "/livez",
        "/livez/etcd",
        "/livez/log",
        "/livez/ping",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/readyz/etcd",
        "/readyz/log",
        "/readyz/ping",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    paths.extend(
        versions(kinds, "")
            .iter()
            .map(|version| format!("/api/{version}")),
    );
    for group in groups(kinds) {
        paths.push(format!("/apis/{group}"));
        let versions = versions(kinds, group);
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    paths.sort();
    json!({"paths": paths})
}

/// `/apis`: every group but the core one.
pub fn group_list(kinds: &[Arc<Kind>]) -> Value {
    let groups: Vec<_> = groups(kinds)
        .into_iter()
        .filter_map(|name| group_entry(kinds, name))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`; `None` if there is no such group.
pub fn group(kinds: &[Arc<Kind>], name: &str) -> Option<Value> {
    let mut group = group_entry(kinds, name)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

fn group_entry(kinds: &[Arc<Kind>], name: &str) -> Option<Value> {
    let entry =
        |version: &&str| json!({"groupVersion": Kind::join(name, version), "version": version});
    let versions: Vec<_> = versions(kinds, name).iter().map(entry).collect();
    let preferred = versions.first()?.clone();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

/// `/api/v1` and `/apis/{group}/{version}`; `None` if nothing of that version is served.
pub fn resource_list(
    kinds: &[Arc<Kind>],
    subresources: &[Subresource],
    group: &str,
    version: &str,
) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
    {
        resources.push(resource(kind));
        for (name, response, verbs) in below(kind, subresources) {
            let mut entry = json!({"name": format!("{}/{name}", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "kind": response, "verbs": verbs});
            if let Some((group, version)) = elsewhere(response) {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            resources.push(entry);
        }
    }
    if resources.is_empty() {
        return None;
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": Kind::join(group, version), "resources": resources}))
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({"name": kind.plural, "singularName": kind.singular,
        "namespaced": kind.namespaced, "kind": kind.kind, "verbs": kind.verbs()});
    if kind.hooks.review.is_none() {
        resource["storageVersionHash"] = storage_version_hash(kind).into();
    }
    names(&mut resource, kind);
    resource
}

/// The group and version of what a subresource takes, where it is not that of its resource.
pub(crate) fn elsewhere(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "Scale" => Some(("autoscaling", "v1")),
        "TokenRequest" => Some(("authentication.k8s.io", "v1")),
        _ => None,
    }
}

/// `shortNames` and `categories`, where there are any.
fn names(resource: &mut Value, kind: &Kind) {
    for (field, names) in [
        ("shortNames", &kind.short_names),
        ("categories", &kind.categories),
    ] {
        if !names.is_empty() {
            resource[field] = json!(names);
        }
    }
}

/// The subresources of a kind: name, kind and verbs.
pub(crate) fn below<'a>(
    kind: &'a Kind,
    extra: &'a [Subresource],
) -> impl Iterator<Item = (&'a str, &'a str, Vec<&'a str>)> {
    let status = kind
        .status_subresource
        .then(|| ("status", kind.kind.as_str(), STATUS_VERBS.to_vec()));
    let extra = extra
        .iter()
        .filter(|extra| kind.is(&extra.group, &extra.resource))
        .map(|extra| {
            let verbs = extra.verbs.iter().map(String::as_str).collect();
            (extra.subresource.as_str(), extra.kind.as_str(), verbs)
        });
    let scale = kind.scale.as_ref();
    let scale = scale.map(|_| ("scale", "Scale", STATUS_VERBS.to_vec()));
    status.into_iter().chain(scale).chain(extra)
}

/// The aggregated form of the core group, for `/api`, in a version of `apidiscovery.k8s.io`.
pub fn aggregated_core(kinds: &[Arc<Kind>], subresources: &[Subresource], version: &str) -> Value {
    aggregated_list(kinds, subresources, &[""], version)
}

/// The aggregated form of all other groups, for `/apis`.
pub fn aggregated(kinds: &[Arc<Kind>], subresources: &[Subresource], version: &str) -> Value {
    aggregated_list(kinds, subresources, &groups(kinds), version)
}

fn aggregated_list(
    kinds: &[Arc<Kind>],
    extra: &[Subresource],
    groups: &[&str],
    version: &str,
) -> Value {
    let items: Vec<_> = groups
        .iter()
        .map(|group| aggregated_group(kinds, extra, group))
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items})
}

fn aggregated_group(kinds: &[Arc<Kind>], extra: &[Subresource], group: &str) -> Value {
    let version = |version: &&str| {
        let served = kinds
            .iter()
            .filter(|kind| kind.group == group && kind.version == **version);
        let resources: Vec<_> = served
            .map(|kind| aggregated_resource(kind, extra))
            .collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    };
    let versions: Vec<_> = versions(kinds, group).iter().map(version).collect();
    let mut metadata = Map::new();
    metadata.insert("creationTimestamp".to_owned(), Value::Null);
    if !group.is_empty() {
        metadata.insert("name".to_owned(), group.into());
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind, extra: &[Subresource]) -> Value {
    let response = |name: &str| {
        let (group, version) = elsewhere(name).unwrap_or((&kind.group, &kind.version));
        json!({"group": group, "version": version, "kind": name})
    };
    let scope = if kind.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut resource = json!({"resource": kind.plural, "responseKind": response(&kind.kind),
        "scope": scope, "singularResource": kind.singular, "verbs": kind.verbs()});
    names(&mut resource, kind);
    let subresources: Vec<_> = below(kind, extra)
        .map(|(name, kind, verbs)| {
            json!({"subresource": name, "responseKind": response(kind), "verbs": verbs})
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}

/// The groups but the core one, in the order of their kinds.
fn groups(kinds: &[Arc<Kind>]) -> Vec<&str> {
    let mut groups = Vec::new();
    for kind in kinds {
        if !kind.group.is_empty() && !groups.contains(&kind.group.as_str()) {
            groups.push(kind.group.as_str());
        }
    }
    groups
}

/// The versions of a group, the preferred one first.
fn versions<'a>(kinds: &'a [Arc<Kind>], group: &str) -> Vec<&'a str> {
    let in_group = kinds.iter().filter(|kind| kind.group == group);
    let mut versions: Vec<_> = in_group.map(|kind| kind.version.as_str()).collect();
    versions.sort_by_key(|version| rank(version));
    versions.dedup();
    versions
}

/// Orders versions as Kubernetes does: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then others.
fn rank(version: &str) -> (u8, Reverse<u32>, Reverse<u32>, &str) {
    let parsed = || {
        let rest = version.strip_prefix('v')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major: u32 = rest[..end].parse().ok()?;
        let (stage, minor) = match &rest[end..] {
            "" => return Some((0, major, 0)),
            stage if stage.starts_with("beta") => (1, &stage[4..]),
            stage if stage.starts_with("alpha") => (2, &stage[5..]),
            _ => return None,
        };
        Some((stage, major, minor.parse().ok()?))
    };
    match parsed() {
        Some((stage, major, minor)) => (stage, Reverse(major), Reverse(minor), ""),
        None => (3, Reverse(0), Reverse(0), version),
    }
}

/// An opaque name of the version that objects are stored in; clients only compare it.
fn storage_version_hash(kind: &Kind) -> String {
    let name = format!("{}/{}/{}", kind.group, kind.storage_version, kind.kind);
    BASE64_STANDARD.encode(fnv1a(name.as_bytes()).to_be_bytes())
}

/// FNV-1a: small, and the same in every build, unlike the hashes of the standard library.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<Arc<Kind>> {
        let mut kinds: Vec<_> = crate::builtin::kinds().into_iter().map(Arc::new).collect();
        let mut older = (*kinds[4]).clone();
        older.group = "example.org".to_owned();
        for version in ["v1alpha1", "v1beta1", "v1"] {
            version.clone_into(&mut older.version);
            kinds.push(Arc::new(older.clone()));
        }
        kinds
    }

    fn log() -> Subresource {
        Subresource {
            group: String::new(),
            resource: "pods".to_owned(),
            subresource: "log".to_owned(),
            kind: "Pod".to_owned(),
            verbs: vec!["get".to_owned()],
        }
    }

    #[test]
    fn groups_prefer_their_most_stable_version() {
        let kinds = kinds();
        assert_eq!(core_versions(&kinds, "")["versions"], json!(["v1"]));
        let example = group(&kinds, "example.org").unwrap();
        assert_eq!(
            example["preferredVersion"]["groupVersion"],
            "example.org/v1"
        );
        assert_eq!(example["versions"][2]["version"], "v1alpha1");
        assert_eq!(group(&kinds, "nothing"), None);
        let listed = group_list(&kinds)["groups"].as_array().unwrap().len();
        assert_eq!(listed, groups(&kinds).len());
    }

    #[test]
    fn resources_are_listed_with_their_subresources() {
        let list = resource_list(&kinds(), &[log()], "", "v1").unwrap();
        let find = |name: &str| {
            let mut resources = list["resources"].as_array().unwrap().iter();
            resources
                .find(|resource| resource["name"] == name)
                .unwrap()
                .clone()
        };
        assert_eq!(find("persistentvolumeclaims")["shortNames"], json!(["pvc"]));
        assert_eq!(find("pods/log")["verbs"], json!(["get"]));
        assert_eq!(find("pods/status")["kind"], "Pod");
        assert_eq!(find("nodes")["namespaced"], false);
        assert_eq!(resource_list(&kinds(), &[], "", "v2"), None);
    }

    #[test]
    fn the_aggregated_form_says_the_same() {
        let core = aggregated_core(&kinds(), &[log()], "v2");
        let resources = core
            .pointer("/items/0/versions/0/resources")
            .unwrap()
            .as_array()
            .unwrap();
        let pods = resources
            .iter()
            .find(|resource| resource["resource"] == "pods")
            .unwrap();
        assert_eq!(pods["scope"], "Namespaced");
        assert_eq!(pods["subresources"][1]["subresource"], "log");
        let others = aggregated(&kinds(), &[], "v2beta1");
        let listed = others["items"].as_array().unwrap().len();
        assert_eq!(listed, groups(&kinds()).len());
        assert_eq!(others["items"][0]["metadata"]["name"], "events.k8s.io");
    }
}
