//! The environment of a worker as types.
//!
//! | variable | meaning |
//! |---|---|
//! | `IMPORTER_SOURCE` | `http`, or `none` for a blank disk |
//! | `IMPORTER_ENDPOINT` | the URL of the image |
//! | `IMPORTER_CONTENTTYPE` | `kubevirt`, a disk; nothing else yet |
//! | `IMPORTER_IMAGE_SIZE` | the size of the claim, a Kubernetes quantity |
//! | `FILESYSTEM_OVERHEAD` | the part of the volume that its file system takes, such as `0.06` |
//! | `PREALLOCATION` | `true` to allocate every block |
//! | `INSECURE_TLS` | `true` to accept any certificate |
//! | `OWNER_UID` | the label of the progress metric |
//! | `POD_IP` | the address to serve metrics on; all addresses when it is missing |

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use api::{
    Quantity,
    size::{self, Overhead},
};
use image::{HttpOptions, Location};

/// The port of the metrics endpoint.
const METRICS_PORT: u16 = 8443;

/// Everything a worker needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the disk is made from.
    pub source: SourceConfig,
    /// The size of the claim in bytes, where it is known.
    pub requested: Option<u64>,
    /// The part of the volume that its file system takes.
    pub overhead: Overhead,
    /// Allocate every block.
    pub preallocate: bool,
    /// The UID of the claim, which labels the metrics.
    pub owner_uid: String,
    /// Where things are; tests have their own.
    pub places: Places,
}

/// What a disk is made from.
#[derive(Debug, Clone)]
pub enum SourceConfig {
    /// Nothing: a disk of zeros.
    Blank,
    /// An image on a server.
    Http {
        /// Its address.
        location: Location,
        /// How to talk to the server.
        options: HttpOptions,
    },
}

/// Where a worker finds the volume and leaves its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The folder that the volume is mounted at.
    pub volume: PathBuf,
    /// The file for the termination message.
    pub termination_log: PathBuf,
    /// The address to serve metrics on.
    pub metrics: SocketAddr,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A variable that must be set is not.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A variable has a value that is not understood.
    #[error("{name} is {value:?}: {expected} is expected")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The endpoint is no URL.
    #[error("the endpoint cannot be used")]
    Endpoint(#[source] image::Error),
}

impl Places {
    /// Those of a Pod whose address is `address`.
    pub fn of_pod(address: IpAddr) -> Self {
        Self {
            volume: "/data".into(),
            termination_log: "/dev/termination-log".into(),
            metrics: SocketAddr::new(address, METRICS_PORT),
        }
    }
}

impl Config {
    /// Reads the settings; `variable` looks one up in the environment.
    pub fn from_env(
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let env = Env(|name| variable(name).filter(|value| !value.is_empty()));
        let content = env.get("IMPORTER_CONTENTTYPE").unwrap_or_default();
        if !matches!(content.as_str(), "" | "kubevirt") {
            return Err(invalid("IMPORTER_CONTENTTYPE", content, "kubevirt"));
        }
        let address = env
            .parse("POD_IP", "an IP address")?
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Ok(Self {
            source: env.source()?,
            requested: env
                .parse::<Quantity>("IMPORTER_IMAGE_SIZE", "a size such as 10Gi")?
                .map(|quantity| quantity.units()),
            overhead: env
                .parse("FILESYSTEM_OVERHEAD", "a fraction such as 0.06")?
                .unwrap_or(Overhead::NONE),
            preallocate: env.flag("PREALLOCATION")?,
            owner_uid: env.get("OWNER_UID").unwrap_or_default(),
            places: Places::of_pod(address),
        })
    }

    /// The largest disk for a volume with `available` bytes of room, whole MiB.
    pub fn largest_disk(&self, available: u64) -> u64 {
        size::usable(
            available.min(self.requested.unwrap_or(u64::MAX)),
            self.overhead,
        )
    }
}

/// The environment; empty variables count as missing.
struct Env<F>(F);

impl<F: Fn(&'static str) -> Option<String>> Env<F> {
    fn get(&self, name: &'static str) -> Option<String> {
        (self.0)(name)
    }

    fn parse<T: FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|_| invalid(name, value, expected))
    }

    fn flag(&self, name: &'static str) -> Result<bool, ConfigError> {
        Ok(self.parse(name, "true or false")?.unwrap_or(false))
    }

    fn source(&self) -> Result<SourceConfig, ConfigError> {
        let kind = self
            .get("IMPORTER_SOURCE")
            .ok_or(ConfigError::Missing("IMPORTER_SOURCE"))?;
        match kind.as_str() {
            "none" | "blank" => Ok(SourceConfig::Blank),
            "http" => {
                let endpoint = self.get("IMPORTER_ENDPOINT");
                let endpoint = endpoint.ok_or(ConfigError::Missing("IMPORTER_ENDPOINT"))?;
                let location = http_location(&endpoint).map_err(ConfigError::Endpoint)?;
                let insecure_tls = self.flag("INSECURE_TLS")?;
                let options = HttpOptions {
                    insecure_tls,
                    ..HttpOptions::default()
                };
                Ok(SourceConfig::Http { location, options })
            }
            _ => Err(invalid("IMPORTER_SOURCE", kind, "http or none")),
        }
    }
}

/// A URL: an endpoint must not lead to a file of the worker itself.
fn http_location(endpoint: &str) -> image::Result<Location> {
    match endpoint.parse()? {
        Location::File(_) => Err(image::Error::Url {
            url: endpoint.to_owned(),
        }),
        location @ Location::Http(_) => Ok(location),
    }
}

fn invalid(name: &'static str, value: String, expected: &'static str) -> ConfigError {
    ConfigError::Invalid {
        name,
        value,
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_env(|name| {
            let pair = pairs.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_import() {
        let config = read(&[
            ("IMPORTER_SOURCE", "http"),
            ("IMPORTER_ENDPOINT", "https://example.org/disk.qcow2"),
            ("IMPORTER_CONTENTTYPE", "kubevirt"),
            ("IMPORTER_IMAGE_SIZE", "1138166334"),
            ("FILESYSTEM_OVERHEAD", "0.06"),
            ("PREALLOCATION", "false"),
            ("INSECURE_TLS", "true"),
            ("OWNER_UID", "uid-1"),
            ("POD_IP", "127.64.0.3"),
        ])
        .unwrap();
        assert!(
            matches!(&config.source, SourceConfig::Http { options, .. } if options.insecure_tls)
        );
        assert_eq!(config.places.metrics.to_string(), "127.64.0.3:8443");
        assert_eq!(config.largest_disk(u64::MAX), 1 << 30);
        assert_eq!(config.largest_disk(106 << 20), 100 << 20);
    }

    #[test]
    fn a_blank_disk_needs_no_endpoint() {
        let config = read(&[("IMPORTER_SOURCE", "none"), ("IMPORTER_IMAGE_SIZE", "1Gi")]).unwrap();
        assert!(matches!(config.source, SourceConfig::Blank));
        assert_eq!(config.places, Places::of_pod(Ipv4Addr::UNSPECIFIED.into()));
        assert_eq!(config.largest_disk(1 << 40), 1 << 30);
    }

    #[test]
    fn bad_settings_are_named() {
        for (pairs, text) in [
            (&[][..], "IMPORTER_SOURCE is not set"),
            (
                &[("IMPORTER_SOURCE", "vddk")],
                "IMPORTER_SOURCE is \"vddk\": http or none is expected",
            ),
            (
                &[("IMPORTER_SOURCE", "http")],
                "IMPORTER_ENDPOINT is not set",
            ),
            (
                &[
                    ("IMPORTER_SOURCE", "http"),
                    ("IMPORTER_ENDPOINT", "/etc/passwd"),
                ],
                "the endpoint cannot be used",
            ),
            (
                &[("IMPORTER_SOURCE", "none"), ("FILESYSTEM_OVERHEAD", "6%")],
                "FILESYSTEM_OVERHEAD is \"6%\": a fraction such as 0.06 is expected",
            ),
        ] {
            assert_eq!(read(pairs).unwrap_err().to_string(), text);
        }
    }
}
