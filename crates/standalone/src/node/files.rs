//! Volumes made of files: from ConfigMaps, Secrets, the Pod itself, and tokens of its account.
//!
//! The files are in memory. They stay as they were at the Pod's start, except that those of a volume
//! with a token are written again before the token ends.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource,
    Secret, SecretProjection, ServiceAccount, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::fields;
use super::folder;
use super::volumes::{VolumeError, failed, get, unless_missing};

/// Room for the files of one volume, in bytes; objects are at most 3 MiB.
const ROOM: u64 = 8 << 20;
/// The mode of files unless the volume says otherwise.
const MODE: u32 = 0o644;
/// Life of a token whose projection names none, in seconds.
const TOKEN_LIFE: i64 = 3600;

/// Files of a volume, by their paths in it.
type Files = BTreeMap<String, File>;

struct File {
    mode: u32,
    content: Vec<u8>,
}

/// Which values of an object become files, and how.
struct Layout<'a> {
    items: Option<&'a [KeyToPath]>,
    mode: u32,
    optional: Option<bool>,
}

/// What files are made from.
pub(super) struct Sources<'a> {
    pub(super) client: &'a Client,
    pub(super) pod: &'a Pod,
    /// Of the Pod.
    pub(super) address: &'a str,
}

/// Whether a volume is made of files.
pub(super) fn is_made_of_files(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// After how long the files of a volume must be written again; `None` where they stay.
pub(super) fn renewal(volume: &Volume) -> Option<Duration> {
    let tokens = volume.projected.iter().flat_map(|projected| {
        let sources = projected.sources.iter().flatten();
        sources.filter_map(|source| source.service_account_token.as_ref())
    });
    let seconds = tokens
        .map(|token| token.expiration_seconds.unwrap_or(TOKEN_LIFE))
        .min()?;
    // With a fifth of its life left, as Kubernetes' agent does.
    Some(Duration::from_secs(
        u64::try_from(seconds).unwrap_or(0) * 4 / 5,
    ))
}

impl Sources<'_> {
    /// Writes the files of a volume into a folder, in memory.
    pub(super) async fn write(&self, volume: &Volume, path: &Path) -> Result<(), VolumeError> {
        let files = self.files(volume).await?;
        folder::create_with_mode(path, 0o755).map_err(failed(path))?;
        if !sys::mount::is_mount_point(path).map_err(failed(path))? {
            sys::mount::memory(path, ROOM, 0o755).map_err(failed(path))?;
        }
        for (file, content) in &files {
            put(path, file, content).map_err(failed(path))?;
        }
        Ok(())
    }

    async fn files(&self, volume: &Volume) -> Result<Files, VolumeError> {
        if let Some(source) = &volume.config_map {
            let layout = Layout {
                items: source.items.as_deref(),
                mode: mode(source.default_mode, MODE),
                optional: source.optional,
            };
            return self.config_map(&source.name, layout).await;
        }
        if let Some(source) = &volume.secret {
            let layout = Layout {
                items: source.items.as_deref(),
                mode: mode(source.default_mode, MODE),
                optional: source.optional,
            };
            let name = source.secret_name.as_deref().unwrap_or_default();
            return self.secret(name, layout).await;
        }
        if let Some(source) = &volume.downward_api {
            let items = source.items.as_deref().unwrap_or_default();
            return self.own_fields(items, mode(source.default_mode, MODE));
        }
        match &volume.projected {
            Some(source) => self.projected(source).await,
            None => Ok(Files::new()),
        }
    }

    async fn projected(&self, source: &ProjectedVolumeSource) -> Result<Files, VolumeError> {
        let mode = mode(source.default_mode, MODE);
        let mut files = Files::new();
        for source in source.sources.iter().flatten() {
            files.extend(self.projection(source, mode).await?);
        }
        Ok(files)
    }

    async fn projection(&self, source: &VolumeProjection, mode: u32) -> Result<Files, VolumeError> {
        if let Some(ConfigMapProjection {
            items,
            name,
            optional,
        }) = &source.config_map
        {
            let (items, optional) = (items.as_deref(), *optional);
            let layout = Layout {
                items,
                mode,
                optional,
            };
            return self.config_map(name, layout).await;
        }
        if let Some(SecretProjection {
            items,
            name,
            optional,
        }) = &source.secret
        {
            let (items, optional) = (items.as_deref(), *optional);
            let layout = Layout {
                items,
                mode,
                optional,
            };
            return self.secret(name, layout).await;
        }
        if let Some(source) = &source.downward_api {
            return self.own_fields(source.items.as_deref().unwrap_or_default(), mode);
        }
        match &source.service_account_token {
            Some(source) => self.token(source, mode).await,
            None => Err(VolumeError::UnsupportedProjection),
        }
    }

    async fn config_map(&self, name: &str, layout: Layout<'_>) -> Result<Files, VolumeError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace());
        let found = get(&maps, "configmap", name).await;
        let map = unless_missing(found, layout.optional)?.unwrap_or_default();
        let text = map.data.into_iter().flatten();
        let text = text.map(|(key, text)| (key, text.into_bytes()));
        let binary = map.binary_data.into_iter().flatten();
        let binary = binary.map(|(key, bytes)| (key, bytes.0));
        layout.arrange("configmap", text.chain(binary).collect())
    }

    async fn secret(&self, name: &str, layout: Layout<'_>) -> Result<Files, VolumeError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace());
        let found = get(&secrets, "secret", name).await;
        let secret = unless_missing(found, layout.optional)?.unwrap_or_default();
        let values = secret.data.into_iter().flatten();
        layout.arrange(
            "secret",
            values.map(|(key, bytes)| (key, bytes.0)).collect(),
        )
    }

    fn own_fields(&self, items: &[DownwardAPIVolumeFile], mode: u32) -> Result<Files, VolumeError> {
        let file = |item: &DownwardAPIVolumeFile| {
            let value = if let Some(wanted) = &item.resource_field_ref {
                let name = wanted.container_name.as_deref().unwrap_or_default();
                let spec = self.pod.spec.as_ref();
                let container =
                    spec.and_then(|spec| spec.containers.iter().find(|c| c.name == name));
                let container = container.ok_or_else(|| VolumeError::NoContainer {
                    container: name.to_owned(),
                })?;
                fields::resource(container, wanted)?
            } else {
                let path = item
                    .field_ref
                    .as_ref()
                    .map(|field| field.field_path.as_str());
                fields::field(self.pod, path.unwrap_or_default(), self.address)?
            };
            let content = value.into_bytes();
            let mode = self::mode(item.mode, mode);
            Ok((item.path.clone(), File { mode, content }))
        };
        items.iter().map(file).collect()
    }

    /// Asks for a token that ends with the Pod.
    async fn token(
        &self,
        source: &ServiceAccountTokenProjection,
        mode: u32,
    ) -> Result<Files, VolumeError> {
        let metadata = &self.pod.metadata;
        let audiences = source
            .audience
            .clone()
            .filter(|audience| !audience.is_empty());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.into_iter().collect(),
                expiration_seconds: Some(source.expiration_seconds.unwrap_or(TOKEN_LIFE)),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: metadata.name.clone(),
                    uid: metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let spec = self.pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), self.namespace());
        let parameters = PostParams::default();
        let answer = accounts
            .create_token_request(account, &parameters, &request)
            .await;
        let answer = answer.map_err(|source| VolumeError::Token {
            account: account.to_owned(),
            source: Box::new(source),
        })?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        let content = token.into_bytes();
        Ok([(source.path.clone(), File { mode, content })].into())
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }
}

impl Layout<'_> {
    fn arrange(
        &self,
        kind: &'static str,
        mut values: BTreeMap<String, Vec<u8>>,
    ) -> Result<Files, VolumeError> {
        let mut files = Files::new();
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            let mode = self.mode;
            let all = values.into_iter();
            return Ok(all
                .map(|(key, content)| (key, File { mode, content }))
                .collect());
        };
        for item in items {
            let mode = mode(item.mode, self.mode);
            match values.remove(&item.key) {
                Some(content) => drop(files.insert(item.path.clone(), File { mode, content })),
                None if self.optional == Some(true) => {}
                None => {
                    let key = item.key.clone();
                    return Err(VolumeError::NoKey { kind, key });
                }
            }
        }
        Ok(files)
    }
}

fn mode(own: Option<i32>, usual: u32) -> u32 {
    own.and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(usual)
}

/// Writes a file in one step, so that who reads it meanwhile gets the old one or the new one.
fn put(folder: &Path, path: &str, file: &File) -> io::Result<()> {
    let path = plain_path(folder, path)?;
    let new = folder.join("..new");
    fs::write(&new, &file.content)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(file.mode))?;
    fs::rename(&new, &path)
}

/// A file below a folder that only the agent writes to; its parents are made.
fn plain_path(folder: &Path, file: &str) -> io::Result<PathBuf> {
    let relative = Path::new(file);
    let is_plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || file.is_empty() {
        let message = format!("{file:?} is not a path below the volume");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let path = folder.join(relative);
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        folder::create_with_mode(parent, 0o755)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_volumes_with_tokens_are_renewed_before_the_first_ends() {
        let volume = |value| serde_json::from_value::<Volume>(value).unwrap();
        let token =
            |seconds| json!({"serviceAccountToken": {"path": "t", "expirationSeconds": seconds}});
        let tokens =
            volume(json!({"name": "v", "projected": {"sources": [token(3607), token(600)]}}));
        assert_eq!(renewal(&tokens), Some(Duration::from_mins(8)));
        let map = volume(json!({"name": "v", "configMap": {"name": "m"}}));
        assert_eq!(renewal(&map), None);
        assert!(is_made_of_files(&map));
    }

    #[test]
    fn files_are_the_values_that_the_items_name() {
        let values = || BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), vec![])]);
        let layout = |items, optional| Layout {
            items,
            mode: 0o400,
            optional,
        };
        let all = layout(None, None).arrange("secret", values()).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        let item = |key: &str, mode| KeyToPath {
            key: key.to_owned(),
            path: format!("folder/{key}"),
            mode,
        };
        let items = [item("a", Some(0o600)), item("c", None)];
        let some = layout(Some(&items), Some(true))
            .arrange("secret", values())
            .unwrap();
        assert_eq!(
            some.iter()
                .map(|(path, f)| (&**path, f.mode))
                .collect::<Vec<_>>(),
            [("folder/a", 0o600)]
        );
        let error = layout(Some(&items), None)
            .arrange("secret", values())
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "references non-existent secret key: c");
    }
}
