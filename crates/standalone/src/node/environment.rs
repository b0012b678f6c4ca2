//! The environment of a container, with everything it refers to looked up.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};
use kube::{Api, Client};

use super::plan::Problem;
use super::status::HOST_ADDRESS;

/// Where programs are searched for: this program first, then the machine's.
const PATH: &str = "/longshore/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The reason while something that the environment refers to is missing.
const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Looks up the environment of a container. Later values may refer to earlier ones as `$(NAME)`.
///
/// # Errors
/// A [`Problem`] with reason `CreateContainerConfigError` that names what is missing.
pub(super) async fn resolve(
    client: &Client,
    pod: &Pod,
    container: &Container,
    address: &str,
) -> Result<BTreeMap<String, String>, Problem> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), name),
        ("HOME".to_owned(), "/".to_owned()),
    ]);
    if container
        .env_from
        .as_ref()
        .is_some_and(|sources| !sources.is_empty())
    {
        return Err(config_error(
            "envFrom is not supported here: name the variables one by one",
        ));
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &environment)),
            (None, Some(source)) => lookup(client, pod, source, address).await?,
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

/// What a variable refers to; `None` when it is missing and may be.
async fn lookup(
    client: &Client,
    pod: &Pod,
    source: &EnvVarSource,
    address: &str,
) -> Result<Option<String>, Problem> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return self_field(pod, &field.field_path, address).map(Some);
    }
    if let Some(wanted) = &source.secret_key_ref {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let found = secrets.get_opt(&wanted.name).await.map_err(unreadable)?;
        let exists = found.is_some();
        let value = found
            .and_then(|secret| secret.data?.remove(&wanted.key))
            .map(|value| String::from_utf8_lossy(&value.0).into_owned());
        let optional = wanted.optional.unwrap_or_default();
        return required(
            value,
            optional,
            exists,
            ("secret", namespace, &wanted.name, &wanted.key),
        );
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let found = maps.get_opt(&wanted.name).await.map_err(unreadable)?;
        let exists = found.is_some();
        let value = found.and_then(|map| map.data?.remove(&wanted.key));
        let optional = wanted.optional.unwrap_or_default();
        let key = (
            "configmap",
            namespace,
            wanted.name.as_str(),
            wanted.key.as_str(),
        );
        return required(value, optional, exists, key);
    }
    Err(config_error(
        "an environment variable takes its value from a source that is not supported here",
    ))
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

fn self_field(pod: &Pod, path: &str, address: &str) -> Result<String, Problem> {
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(address.to_owned()),
        "status.hostIP" | "status.hostIPs" => Some(HOST_ADDRESS.to_owned()),
        _ => {
            return keyed(pod, path)
                .ok_or_else(|| config_error(format!("unsupported fieldPath: {path}")));
        }
    };
    Ok(value.unwrap_or_default())
}

/// `metadata.labels['key']` and `metadata.annotations['key']`; a missing key is empty.
fn keyed(pod: &Pod, path: &str) -> Option<String> {
    let (field, rest) = path.split_once("['")?;
    let key = rest.strip_suffix("']")?;
    let map = match field {
        "metadata.labels" => &pod.metadata.labels,
        "metadata.annotations" => &pod.metadata.annotations,
        _ => return None,
    };
    Some(
        map.as_ref()
            .and_then(|map| map.get(key).cloned())
            .unwrap_or_default(),
    )
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

    #[test]
    fn a_pods_own_fields() {
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".to_owned());
        pod.metadata.labels = Some([("app".to_owned(), "x".to_owned())].into());
        let field = |path| self_field(&pod, path, "127.64.0.1").ok();
        assert_eq!(field("metadata.name").as_deref(), Some("p"));
        assert_eq!(field("status.podIP").as_deref(), Some("127.64.0.1"));
        assert_eq!(field("metadata.labels['app']").as_deref(), Some("x"));
        assert_eq!(field("metadata.labels['none']").as_deref(), Some(""));
        assert_eq!(field("spec.colour"), None);
    }
}
