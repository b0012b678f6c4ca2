//! What somebody wants to do, in the terms that rules are written in.

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::User;
use crate::serve::path::{Path, ResourcePath};
use crate::serve::query::Query;
use crate::status::Status;

/// Something that somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// To objects.
    Resource {
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or
        /// one that only rules know, such as `impersonate`.
        verb: &'a str,
        /// API group; empty for the core group.
        group: &'a str,
        /// Plural of the resource.
        resource: &'a str,
        /// Empty for the object itself.
        subresource: &'a str,
        /// Empty for all namespaces, or where there is none.
        namespace: &'a str,
        /// Empty for all objects, or for one that has no name yet.
        name: &'a str,
    },
    /// To a path that is no resource.
    Path {
        /// HTTP method in lower case.
        verb: &'a str,
        /// The path, such as `/healthz`.
        path: &'a str,
    },
}

impl<'a> Attempt<'a> {
    /// What a request wants.
    pub(crate) fn of(parts: &'a Parts, path: Option<&'a Path>, query: &'a Query) -> Self {
        let method = &parts.method;
        let Some(Path::Resource(path)) = path else {
            return Self::Path {
                verb: path_verb(method),
                path: parts.uri.path(),
            };
        };
        let ResourcePath {
            group,
            namespace,
            resource,
            name,
            subresource,
            ..
        } = path;
        let is_namespace = group.is_empty() && resource == "namespaces";
        let verb = resource_verb(method, name, query);
        Self::Resource {
            verb,
            group,
            resource,
            subresource,
            // A namespace lives in itself, so that a role in it can allow to read it.
            namespace: if is_namespace { name } else { namespace },
            name: if matches!(verb, "list" | "watch") && name.is_empty() {
                selected(query)
            } else {
                name
            },
        }
    }

    /// The namespace; empty for paths and for everything in all of them.
    pub(crate) fn namespace(&self) -> &'a str {
        match self {
            Self::Resource { namespace, .. } => namespace,
            Self::Path { .. } => "",
        }
    }

    /// 403: the user may not do it. `reason` may be empty.
    pub(crate) fn refusal(&self, user: &User, reason: &str) -> Status {
        let who = &user.name;
        let mut message = match self {
            Self::Path { verb, path } => {
                format!("forbidden: User {who:?} cannot {verb} path {path:?}")
            }
            Self::Resource {
                verb,
                group,
                namespace,
                name,
                ..
            } => {
                let home = match *namespace {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace {namespace:?}"),
                };
                let named = match *name {
                    "" => String::new(),
                    name => format!(" {name:?}"),
                };
                format!(
                    "{}{named} is forbidden: User {who:?} cannot {verb} resource {:?} in API group \
                     {group:?} {home}",
                    self.group_resource(),
                    self.full_resource(),
                )
            }
        };
        if !reason.is_empty() {
            message = format!("{message}: {reason}");
        }
        Status {
            details: self.details(),
            ..Status::new(StatusCode::FORBIDDEN, "Forbidden", message)
        }
    }

    fn details(&self) -> serde_json::Value {
        let mut details = json!({});
        if let Self::Resource {
            group,
            resource,
            name,
            ..
        } = self
        {
            for (field, text) in [("name", name), ("group", group), ("kind", resource)] {
                if !text.is_empty() {
                    details[field] = (*text).into();
                }
            }
        }
        details
    }

    fn group_resource(&self) -> String {
        match self {
            Self::Resource {
                group, resource, ..
            } if !group.is_empty() => format!("{resource}.{group}"),
            Self::Resource { resource, .. } => (*resource).to_owned(),
            Self::Path { .. } => String::new(),
        }
    }

    fn full_resource(&self) -> String {
        match self {
            Self::Resource {
                resource,
                subresource,
                ..
            } if !subresource.is_empty() => format!("{resource}/{subresource}"),
            Self::Resource { resource, .. } => (*resource).to_owned(),
            Self::Path { .. } => String::new(),
        }
    }
}

fn path_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "",
    }
}

fn resource_verb(method: &Method, name: &str, query: &Query) -> &'static str {
    match method.as_str() {
        "GET" | "HEAD" if query.flag("watch") => "watch",
        "GET" | "HEAD" if name.is_empty() => "list",
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if name.is_empty() => "deletecollection",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The name that a list or watch is limited to by its field selector.
fn selected(query: &Query) -> &str {
    let terms = query.get("fieldSelector").unwrap_or_default().split(',');
    let mut names = terms.filter_map(|term| {
        let (field, name) = term.split_once('=')?;
        let name = name.strip_prefix('=').unwrap_or(name);
        (field.trim() == "metadata.name").then_some(name.trim())
    });
    names.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn refusal(method: &str, url: &str) -> String {
        let request = Request::builder().method(method).uri(url).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let path = Path::parse(parts.uri.path());
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let attempt = Attempt::of(&parts, path.as_ref(), &query);
        attempt.refusal(&User::new("x", &[]), "").message
    }

    #[test]
    fn refusals_read_as_those_of_kubernetes() {
        for (method, url, expected) in [
            (
                "GET",
                "/api/v1/namespaces/y/pods?limit=500",
                "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in \
                 the namespace \"y\"",
            ),
            (
                "GET",
                "/api/v1/nodes?watch=true",
                "nodes is forbidden: User \"x\" cannot watch resource \"nodes\" in API group \"\" \
                 at the cluster scope",
            ),
            (
                "GET",
                "/api/v1/namespaces/y/pods/p/log",
                "pods \"p\" is forbidden: User \"x\" cannot get resource \"pods/log\" in API group \
                 \"\" in the namespace \"y\"",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/y/deployments/d",
                "deployments.apps \"d\" is forbidden: User \"x\" cannot patch resource \
                 \"deployments\" in API group \"apps\" in the namespace \"y\"",
            ),
            (
                "GET",
                "/api/v1/namespaces/y",
                "namespaces \"y\" is forbidden: User \"x\" cannot get resource \"namespaces\" in \
                 API group \"\" in the namespace \"y\"",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/y/secrets?fieldSelector=metadata.name%3Ds",
                "secrets is forbidden: User \"x\" cannot deletecollection resource \
                 \"secrets\" in API group \"\" in the namespace \"y\"",
            ),
            (
                "GET",
                "/metrics",
                "forbidden: User \"x\" cannot get path \"/metrics\"",
            ),
        ] {
            assert_eq!(refusal(method, url), expected);
        }
    }
}
