//! The environment of a container, with everything it refers to looked up.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVarSource, Pod, ResourceFieldSelector, Secret,
};
use kube::{Api, Client};

use super::fields;
use super::plan::Problem;

/// Where programs are searched for: this program first, then the machine's.
const PATH: &str = "/longshore/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The reason while something that the environment refers to is missing.
const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// What environments are looked up with.
pub(super) struct Surroundings<'a> {
    pub(super) client: &'a Client,
    pub(super) pod: &'a Pod,
    /// Of the Pod.
    pub(super) address: &'a str,
    /// Where the API server listens, for programs that look for the one that runs them.
    pub(super) api: Option<SocketAddr>,
}

/// Looks up the environment of a container. Later values may refer to earlier ones as `$(NAME)`.
///
/// # Errors
/// A [`Problem`] with reason `CreateContainerConfigError` that names what is missing.
pub(super) async fn resolve(
    around: &Surroundings<'_>,
    container: &Container,
) -> Result<BTreeMap<String, String>, Problem> {
    let name = around.pod.metadata.name.clone().unwrap_or_default();
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), name),
        ("HOME".to_owned(), "/".to_owned()),
    ]);
    if let Some(api) = around.api {
        let service = |name: &str| format!("KUBERNETES_SERVICE_{name}");
        environment.insert(service("HOST"), api.ip().to_string());
        environment.insert(service("PORT"), api.port().to_string());
        environment.insert(service("PORT_HTTPS"), api.port().to_string());
    }
    for source in container.env_from.iter().flatten() {
        environment.extend(around.all_of(source).await?);
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &environment)),
            (None, Some(source)) => around.lookup(container, source).await?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            environment.insert(variable.name.clone(), value);
        }
    }
    Ok(environment)
}

fn config_error(message: impl Into<String>) -> Problem {
    Problem::new(CONFIG_ERROR, message)
}

impl Surroundings<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    async fn config_map(&self, name: &str) -> Result<Option<ConfigMap>, Problem> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace());
        maps.get_opt(name).await.map_err(unreadable)
    }

    async fn secret(&self, name: &str) -> Result<Option<Secret>, Problem> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace());
        secrets.get_opt(name).await.map_err(unreadable)
    }

    /// All entries of a ConfigMap or Secret whose keys can be names of variables.
    async fn all_of(&self, source: &EnvFromSource) -> Result<BTreeMap<String, String>, Problem> {
        let mut all = BTreeMap::new();
        if let Some(wanted) = &source.config_map_ref {
            let found = self.config_map(&wanted.name).await?;
            let map = found_or_optional(found, wanted.optional, "configmap", &wanted.name)?;
            all.extend(map.and_then(|map| map.data).unwrap_or_default());
        }
        if let Some(wanted) = &source.secret_ref {
            let found = self.secret(&wanted.name).await?;
            let secret = found_or_optional(found, wanted.optional, "secret", &wanted.name)?;
            let data = secret.and_then(|secret| secret.data).unwrap_or_default();
            all.extend(data.into_iter().map(|(key, value)| (key, text(value))));
        }
        let prefix = source.prefix.as_deref().unwrap_or_default();
        Ok(all
            .into_iter()
            .filter(|(key, _)| !key.contains('='))
            .map(|(key, value)| (format!("{prefix}{key}"), value))
            .collect())
    }

    /// What a variable refers to; `None` when it is missing and may be.
    async fn lookup(
        &self,
        container: &Container,
        source: &EnvVarSource,
    ) -> Result<Option<String>, Problem> {
        let unknown = |error: fields::Unknown| config_error(error.to_string());
        if let Some(wanted) = &source.field_ref {
            let value = fields::field(self.pod, &wanted.field_path, self.address);
            return value.map(Some).map_err(unknown);
        }
        if let Some(wanted) = &source.resource_field_ref {
            let value = fields::resource(self.container(wanted, container), wanted);
            return value.map(Some).map_err(unknown);
        }
        let (kind, name, key, optional, exists, value);
        if let Some(wanted) = &source.secret_key_ref {
            let found = self.secret(&wanted.name).await?;
            (kind, name, key, optional) = ("secret", &wanted.name, &wanted.key, wanted.optional);
            exists = found.is_some();
            value = found.and_then(|secret| Some(text(secret.data?.remove(key)?)));
        } else if let Some(wanted) = &source.config_map_key_ref {
            let found = self.config_map(&wanted.name).await?;
            (kind, name, key, optional) = ("configmap", &wanted.name, &wanted.key, wanted.optional);
            exists = found.is_some();
            value = found.and_then(|map| map.data?.remove(key));
        } else {
            return Err(config_error(
                "an environment variable takes its value from a source that is not supported here",
            ));
        }
        let reference = (kind, self.namespace(), name.as_str(), key.as_str());
        required(value, optional.unwrap_or_default(), exists, reference)
    }

    /// The container that a variable is about: its own unless it names another.
    fn container<'a>(
        &'a self,
        wanted: &ResourceFieldSelector,
        own: &'a Container,
    ) -> &'a Container {
        let name = wanted
            .container_name
            .as_deref()
            .filter(|name| !name.is_empty());
        let spec = self.pod.spec.as_ref();
        let named = spec.and_then(|spec| {
            let containers = spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten());
            containers
                .into_iter()
                .find(|each| Some(each.name.as_str()) == name)
        });
        named.unwrap_or(own)
    }
}

fn text(value: ByteString) -> String {
    String::from_utf8_lossy(&value.0).into_owned()
}

fn found_or_optional<K>(
    found: Option<K>,
    optional: Option<bool>,
    kind: &str,
    name: &str,
) -> Result<Option<K>, Problem> {
    match found {
        None if optional != Some(true) => Err(config_error(format!("{kind} \"{name}\" not found"))),
        found => Ok(found),
    }
}

fn unreadable(error: kube::Error) -> Problem {
    config_error(format!("cannot read the API server: {error}"))
}

fn required(
    value: Option<String>,
    optional: bool,
    exists: bool,
    (kind, namespace, name, key): (&str, &str, &str, &str),
) -> Result<Option<String>, Problem> {
    match value {
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None if exists => Err(config_error(format!(
            "couldn't find key {key} in {kind} {namespace}/{name}"
        ))),
        None => Err(config_error(format!("{kind} \"{name}\" not found"))),
    }
}

/// Replaces `$(NAME)` by the variable's value; `$$` stands for one `$`, and an unknown name stays
/// as it is.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'))
        {
            match environment.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded() {
        let environment = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expanded) in [
            ("x$(A)y", "x1y"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("cost: 5$", "cost: 5$"),
        ] {
            assert_eq!(expand(text, &environment), expanded, "{text}");
        }
    }
}
