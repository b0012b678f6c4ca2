//! What the driver is told when it is started.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the driver is told when it is started. [`Config::check`] says whether it makes sense.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: `unix:///path`, `unix://path` or a bare path. A missing leading slash is
    /// added.
    pub endpoint: String,
    /// The driver's name, the `provisioner` of its storage classes.
    pub driver_name: String,
    /// The name of this node in Kubernetes.
    pub node_id: String,
    /// The driver's version, as GetPluginInfo tells it.
    pub version: String,
    /// The pools; the first is the default one of the node.
    pub pools: Vec<PoolConfig>,
}

/// One pool, an element of the JSON array given as `--datadir`.
///
/// The original driver also knows `snapshotPath` and `snapshotProvider`; they are accepted, and
/// unused until this driver takes snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolConfig {
    /// The name by which storage classes choose the pool.
    pub name: String,
    /// The pool's folder; made when missing.
    pub path: PathBuf,
    /// The folder for snapshots.
    #[serde(default)]
    pub snapshot_path: Option<PathBuf>,
    /// How snapshots are taken.
    #[serde(default)]
    pub snapshot_provider: Option<SnapshotProvider>,
    /// Whether every node has the same folder there, so that its volumes belong to no node.
    #[serde(default)]
    pub shared: bool,
}

/// How snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotProvider {
    /// By sharing blocks on file systems that can.
    Reflink,
    /// Not at all; what an empty text means.
    #[serde(rename = "")]
    None,
}

/// What is wrong with a [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A mandatory value is empty.
    #[error("--{flag} must not be empty")]
    Empty {
        /// The flag's name.
        flag: &'static str,
    },
    /// `--endpoint` is of a kind that the driver does not serve.
    #[error("--endpoint {endpoint}: only unix sockets are served; use unix:///path/to/csi.sock")]
    Endpoint {
        /// The value.
        endpoint: String,
    },
    /// `--datadir` is no array of pools.
    #[error("--datadir is not a JSON array of storage pools")]
    Pools {
        /// Where and why.
        source: serde_json::Error,
    },
    /// There is no pool.
    #[error("--datadir names no storage pool")]
    NoPool,
    /// Two pools have one name.
    #[error("--datadir names the storage pool {name} twice")]
    SamePool {
        /// The name.
        name: String,
    },
    /// A pool's folder is not absolute.
    #[error("the path {path} of storage pool {name} is not absolute")]
    RelativePool {
        /// The pool.
        name: String,
        /// Its folder.
        path: PathBuf,
    },
}

impl Config {
    /// Parses the value of `--datadir`.
    pub fn parse_pools(json: &str) -> Result<Vec<PoolConfig>, ConfigError> {
        serde_json::from_str(json).map_err(|source| ConfigError::Pools { source })
    }

    /// Whether every mandatory value is there and the pools are distinct.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (flag, value) in [
            ("drivername", &self.driver_name),
            ("nodeid", &self.node_id),
            ("endpoint", &self.endpoint),
            ("version", &self.version),
        ] {
            if value.is_empty() {
                return Err(ConfigError::Empty { flag });
            }
        }
        self.socket()?;
        if self.pools.is_empty() {
            return Err(ConfigError::NoPool);
        }
        for (index, pool) in self.pools.iter().enumerate() {
            let name = pool.name.clone();
            if name.is_empty() {
                return Err(ConfigError::Empty {
                    flag: "datadir: name",
                });
            }
            if self
                .pools
                .iter()
                .take(index)
                .any(|earlier| earlier.name == name)
            {
                return Err(ConfigError::SamePool { name });
            }
            if !pool.path.is_absolute() {
                return Err(ConfigError::RelativePool {
                    name,
                    path: pool.path.clone(),
                });
            }
        }
        Ok(())
    }

    /// The socket that [`Config::endpoint`] means.
    pub fn socket(&self) -> Result<PathBuf, ConfigError> {
        let path = match self.endpoint.split_once("://") {
            Some(("unix", path)) => path,
            Some(_) => {
                return Err(ConfigError::Endpoint {
                    endpoint: self.endpoint.clone(),
                });
            }
            None => &self.endpoint,
        };
        if path.is_empty() {
            return Err(ConfigError::Empty { flag: "endpoint" });
        }
        Ok(Path::new("/").join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str, pools: &str) -> Config {
        Config {
            endpoint: endpoint.to_owned(),
            driver_name: "d".to_owned(),
            node_id: "n".to_owned(),
            version: "v".to_owned(),
            pools: Config::parse_pools(pools).unwrap(),
        }
    }

    const ONE: &str = r#"[{
        "name": "legacy", "path": "/csi-data-dir",
        "snapshotPath": "/snap-dir", "snapshotProvider": "reflink"
    }]"#;

    #[test]
    fn the_endpoint_takes_three_forms() {
        for (endpoint, socket) in [
            ("unix:///csi/csi.sock", "/csi/csi.sock"),
            ("unix://tmp/csi.sock", "/tmp/csi.sock"),
            ("/csi/csi.sock", "/csi/csi.sock"),
        ] {
            assert_eq!(config(endpoint, ONE).socket().unwrap(), Path::new(socket));
        }
        let error = config("tcp://127.0.0.1:1", ONE).check().unwrap_err();
        assert!(matches!(error, ConfigError::Endpoint { .. }), "{error}");
    }

    #[test]
    fn pools_are_checked() {
        assert!(config("/s", ONE).check().is_ok());
        assert!(matches!(
            config("/s", "[]").check(),
            Err(ConfigError::NoPool)
        ));
        let twice = r#"[{"name":"a","path":"/a"},{"name":"a","path":"/b"}]"#;
        assert!(matches!(
            config("/s", twice).check(),
            Err(ConfigError::SamePool { .. })
        ));
        let relative = r#"[{"name":"a","path":"a"}]"#;
        assert!(matches!(
            config("/s", relative).check(),
            Err(ConfigError::RelativePool { .. })
        ));
        assert!(Config::parse_pools("{}").is_err());
        assert!(
            Config::parse_pools(r#"[{"name":"a","path":"/a","snapshotProvider":"lvm"}]"#).is_err()
        );
    }
}
