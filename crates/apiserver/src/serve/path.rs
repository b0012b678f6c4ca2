//! What a request's path asks for.
//!
//! The grammar is that of the Kubernetes API: `/api/v1/…` for the core group,
//! `/apis/GROUP/VERSION/…` for others, then `[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]`.

use super::query::percent_decode;
use crate::meta::names;
use crate::status::Status;

/// A path that means something here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// Objects.
    Resource(ResourcePath),
    /// `/api`: versions of the core group.
    CoreVersions,
    /// `/apis`: all other groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`: resources of a version.
    Resources { group: String, version: String },
    /// `/openapi/v2`.
    OpenApi2,
    /// `/openapi/v3`.
    OpenApi3,
    /// `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`.
    OpenApi3Of { group: String, version: String },
    /// `/.well-known/openid-configuration`: who issues tokens.
    OpenId,
    /// `/openid/v1/jwks`: the public keys that tokens are verified with.
    KeySet,
    /// `/version`.
    Version,
    /// `/`: the paths that there are.
    Root,
    /// `/metrics`.
    Metrics,
    /// `/healthz`, `/livez` or `/readyz`, or one of their checks.
    Health {
        endpoint: String,
        check: Option<String>,
    },
    /// `/longshore/v1/backup`.
    Backup,
    /// `/longshore/v1/restore`.
    Restore,
}

/// Objects of a resource, or one of them, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty where the path names none.
    pub(crate) namespace: String,
    pub(crate) resource: String,
    /// Empty for all objects.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Path {
    pub(crate) fn parse(path: &str) -> Option<Self> {
        // An encoded slash is a slash, so that no name has one.
        let path = percent_decode(path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Some(match parts.as_slice() {
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).into()),
            ["api", version] => Self::Resources {
                group: String::new(),
                version: (*version).into(),
            },
            ["apis", group, version] => Self::Resources {
                group: (*group).into(),
                version: (*version).into(),
            },
            ["api", version, rest @ ..] => Self::Resource(resource("", version, rest)?),
            ["apis", group, version, rest @ ..] => Self::Resource(resource(group, version, rest)?),
            ["openapi", "v2"] => Self::OpenApi2,
            ["openapi", "v3"] => Self::OpenApi3,
            ["openapi", "v3", "api", version] => Self::OpenApi3Of {
                group: String::new(),
                version: (*version).into(),
            },
            ["openapi", "v3", "apis", group, version] => Self::OpenApi3Of {
                group: (*group).into(),
                version: (*version).into(),
            },
            [".well-known", "openid-configuration"] => Self::OpenId,
            ["openid", "v1", "jwks"] => Self::KeySet,
            ["version"] => Self::Version,
            [] => Self::Root,
            ["metrics"] => Self::Metrics,
            ["longshore", "v1", "backup"] => Self::Backup,
            ["longshore", "v1", "restore"] => Self::Restore,
            [endpoint @ ("healthz" | "livez" | "readyz"), check @ ..] if check.len() < 2 => {
                Self::Health {
                    endpoint: (*endpoint).into(),
                    check: check.first().map(|check| (*check).into()),
                }
            }
            _ => return None,
        })
    }
}

impl ResourcePath {
    /// Refuses names that are not parts of a path, such as `..`.
    pub(super) fn check(&self) -> Result<(), Status> {
        for (what, name) in [("Namespace", &self.namespace), ("Name", &self.name)] {
            let faults = names::path_segment(name);
            if !faults.is_empty() {
                let why = faults.join(";");
                let message = format!("{what} parameter invalid: {name:?}: {why}");
                return Err(Status::bad_request(message));
            }
        }
        Ok(())
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Option<ResourcePath> {
    let (namespace, rest) = match rest {
        // `namespaces/NAME/status` is a part of the namespace, not a resource in it.
        ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (*namespace, inner),
        _ => ("", rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        [resource, name, subresource] => (*resource, *name, *subresource),
        _ => return None,
    };
    Some(ResourcePath {
        group: group.into(),
        version: version.into(),
        namespace: namespace.into(),
        resource: resource.into(),
        name: name.into(),
        subresource: subresource.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(path: &str) -> [String; 6] {
        let Some(Path::Resource(path)) = Path::parse(path) else {
            panic!("{path} has no resource")
        };
        [
            path.group,
            path.version,
            path.namespace,
            path.resource,
            path.name,
            path.subresource,
        ]
    }

    #[test]
    fn resources_are_found() {
        assert_eq!(parsed("/api/v1/pods"), ["", "v1", "", "pods", "", ""]);
        assert_eq!(
            parsed("/api/v1/namespaces"),
            ["", "v1", "", "namespaces", "", ""]
        );
        assert_eq!(
            parsed("/api/v1/namespaces/a"),
            ["", "v1", "", "namespaces", "a", ""]
        );
        assert_eq!(
            parsed("/api/v1/namespaces/a/finalize"),
            ["", "v1", "", "namespaces", "a", "finalize"]
        );
        assert_eq!(
            parsed("/api/v1/namespaces/a/pods/b/log"),
            ["", "v1", "a", "pods", "b", "log"]
        );
        assert_eq!(
            parsed("/apis/cdi.kubevirt.io/v1beta1/namespaces/a/datavolumes/x%2Fy"),
            ["cdi.kubevirt.io", "v1beta1", "a", "datavolumes", "x", "y"]
        );
    }

    #[test]
    fn documents_are_found() {
        assert_eq!(Path::parse("/api"), Some(Path::CoreVersions));
        assert_eq!(Path::parse("/apis/"), Some(Path::Groups));
        let health = |check: Option<&str>| Path::Health {
            endpoint: "readyz".into(),
            check: check.map(Into::into),
        };
        assert_eq!(Path::parse("/readyz"), Some(health(None)));
        assert_eq!(Path::parse("/readyz/ping"), Some(health(Some("ping"))));
        assert_eq!(Path::parse("/readyz/ping/pong"), None);
        assert_eq!(Path::parse("/"), Some(Path::Root));
        assert_eq!(
            Path::parse("/openapi/v3/apis/a/v1"),
            Some(Path::OpenApi3Of {
                group: "a".into(),
                version: "v1".into()
            })
        );

        assert_eq!(Path::parse("/api/v1/namespaces/a/b/c/d/e"), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(path in "(/(api|apis|v1|namespaces|[a-z%/]{0,4})){0,8}") {
            let _ = Path::parse(&path);
        }

        #[test]
        fn every_part_is_kept(
            group in "[a-z]{1,5}\\.io",
            namespace in "[a-z]{1,5}",
            name in "[a-z.]{1,9}",
        ) {
            let path = format!("/apis/{group}/v1/namespaces/{namespace}/things/{name}/status");
            let expected =
                [group, "v1".into(), namespace, "things".into(), name, "status".into()];
            prop_assert_eq!(parsed(&path), expected);
        }
    }
}
