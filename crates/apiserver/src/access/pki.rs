//! The server's own certificate authority: made once, kept in a folder, renewed in time.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long certificates are valid, and from how long before the end they are renewed, in days.
const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;
const RENEW_DAYS: i64 = 60;

/// Names that the server always answers to.
const NAMES: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Why certificates cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key or certificate cannot be made.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// A file does not hold what it should; removing it makes a new one.
    #[error("{} holds no usable key or certificate; remove it to have a new one made", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library refuses the certificates.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A token cannot be signed.
    #[error("cannot sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A certificate and its key, as PEM text.
#[derive(Debug, Clone)]
struct Pair {
    certificate: String,
    key: String,
}

/// The certificates of one server.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
    ca: Pair,
    server: Pair,
    admin: Pair,
}

impl Pki {
    /// Reads the certificates in a folder, and makes those that are missing, nearly expired, or do
    /// not cover a host that the server listens on.
    pub fn open(dir: &Path, hosts: &[String]) -> Result<Self, PkiError> {
        make_folder(dir)?;
        let ca = match load(dir, "ca")? {
            Some(pair) if is_current(&pair, &[]) => pair,
            _ => store(dir, "ca", make_ca()?)?,
        };
        let names: Vec<String> = NAMES
            .iter()
            .map(ToString::to_string)
            .chain(hosts.iter().cloned())
            .collect();
        let leaf =
            |file: &str, names: &[String], make: &dyn Fn() -> Result<Pair, PkiError>| match load(
                dir, file,
            )? {
                Some(pair) if is_current(&pair, names) && is_issued_by(&pair, &ca) => Ok(pair),
                _ => store(dir, file, make()?),
            };
        let server = leaf("server", &names, &|| make_server(&ca, &names))?;
        let admin = leaf("admin", &[], &|| {
            make_client(&ca, "admin", "system:masters")
        })?;
        Ok(Self {
            dir: dir.into(),
            ca,
            server,
            admin,
        })
    }

    /// A kubeconfig for the administrator; the credentials are part of the text.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        format!(
            "apiVersion: v1
kind: Config
clusters:
- name: longshore
  cluster:
    server: {server_url}
    certificate-authority-data: {ca}
users:
- name: admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: longshore
  context:
    cluster: longshore
    user: admin
    namespace: default
current-context: longshore
",
            ca = encode(&self.ca.certificate),
            certificate = encode(&self.admin.certificate),
            key = encode(&self.admin.key),
        )
    }

    /// Writes [`Pki::kubeconfig`] to a file that only its owner can read, whole or not at all.
    pub fn write_kubeconfig(&self, path: &Path, server_url: &str) -> Result<(), PkiError> {
        write_secret(path, &self.kubeconfig(server_url))
    }

    /// The TLS side of a listener: our certificate, and optional client certificates of our CA.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, PkiError> {
        let unusable = |file: &str| PkiError::Unusable {
            path: self.dir.join(file),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = |pair: &Pair, file: &str| {
            CertificateDer::from_pem_slice(pair.certificate.as_bytes()).map_err(|_| unusable(file))
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(&self.ca, "ca.crt")?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|_| unusable("ca.crt"))?;
        let chain = vec![certificate(&self.server, "server.crt")?];
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes())
            .map_err(|_| unusable("server.key"))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Parameters of a certificate that is valid from yesterday on, for clocks that are a little off.
fn parameters(names: Vec<String>, days: i64) -> Result<CertificateParams, PkiError> {
    let date = |offset: i64| {
        let now = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let date = now.checked_add(offset.days()).unwrap_or(now);
        let part = |n: i8| u8::try_from(n).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    let mut parameters = CertificateParams::new(names)?;
    parameters.not_before = date(-1);
    parameters.not_after = date(days);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(parameters)
}

fn make_ca() -> Result<Pair, PkiError> {
    let key = KeyPair::generate()?;
    let mut parameters = parameters(Vec::new(), CA_DAYS)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages.push(KeyUsagePurpose::KeyCertSign);
    // A name of its own, so that clients tell the CAs of several servers apart.
    let name = format!("longshore-ca-{}", uuid::Uuid::new_v4().simple());
    parameters.distinguished_name.push(DnType::CommonName, name);
    let certificate = parameters.self_signed(&key)?.pem();
    Ok(Pair {
        certificate,
        key: key.serialize_pem(),
    })
}

fn make_server(ca: &Pair, names: &[String]) -> Result<Pair, PkiError> {
    let mut parameters = parameters(names.to_vec(), LEAF_DAYS)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "kubernetes");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(ca, &parameters)
}

fn make_client(ca: &Pair, user: &str, group: &str) -> Result<Pair, PkiError> {
    let mut parameters = parameters(Vec::new(), LEAF_DAYS)?;
    parameters.distinguished_name.push(DnType::CommonName, user);
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, group);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(ca, &parameters)
}

fn sign(ca: &Pair, parameters: &CertificateParams) -> Result<Pair, PkiError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, &issuer)?.pem();
    Ok(Pair {
        certificate,
        key: key.serialize_pem(),
    })
}

/// Whether a certificate can be used for a while, and for all these names.
fn is_current(pair: &Pair, names: &[String]) -> bool {
    let current = |certificate: &X509Certificate<'_>| {
        let renew = (Timestamp::now().as_second()) + RENEW_DAYS * 24 * 60 * 60;
        let covered = alternative_names(certificate);
        certificate.validity().not_after.timestamp() > renew
            && names.iter().all(|name| covered.contains(name))
    };
    with_certificate(pair, current).unwrap_or(false)
}

fn is_issued_by(pair: &Pair, ca: &Pair) -> bool {
    let subject = with_certificate(ca, |ca| ca.subject().to_string());
    let issuer = with_certificate(pair, |certificate| certificate.issuer().to_string());
    subject.is_some() && subject == issuer
}

fn with_certificate<T>(pair: &Pair, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(look(&certificate))
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match *bytes {
                [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
                _ => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
            },
            _ => None,
        })
        .collect()
}

fn load(dir: &Path, name: &str) -> Result<Option<Pair>, PkiError> {
    let read = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::Io { path, source }),
    };
    let certificate = read(dir.join(format!("{name}.crt")))?;
    let key = read(dir.join(format!("{name}.key")))?;
    Ok(certificate
        .zip(key)
        .map(|(certificate, key)| Pair { certificate, key }))
}

/// Keeps a pair; the certificate comes last, so that one that is there has its key.
fn store(dir: &Path, name: &str, pair: Pair) -> Result<Pair, PkiError> {
    write_secret(&dir.join(format!("{name}.key")), &pair.key)?;
    write_secret(&dir.join(format!("{name}.crt")), &pair.certificate)?;
    Ok(pair)
}

/// Makes a folder that only its owner can look into.
pub(super) fn make_folder(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| PkiError::Io {
            path: dir.into(),
            source,
        })
}

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), PkiError> {
    let partial = path.with_added_extension("partial");
    let written = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| PkiError::Io {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::User;

    #[test]
    fn certificates_are_kept_and_renewed_when_a_host_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path(), &[]).unwrap();
        let again = Pki::open(dir.path(), &["127.0.0.1".into()]).unwrap();
        assert_eq!(first.server.certificate, again.server.certificate);
        let other = Pki::open(dir.path(), &["192.0.2.1".into()]).unwrap();
        assert_ne!(first.server.certificate, other.server.certificate);
        assert_eq!(first.ca.certificate, other.ca.certificate);
        assert_eq!(first.admin.certificate, other.admin.certificate);
        other.server_config().unwrap();
        assert!(
            other
                .kubeconfig("https://127.0.0.1:1")
                .contains("server: https://127.0.0.1:1\n")
        );
    }

    #[test]
    fn the_subject_is_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &[]).unwrap();
        let der = CertificateDer::from_pem_slice(pki.admin.certificate.as_bytes()).unwrap();
        let user = User::from_certificate(&der).unwrap();
        assert_eq!(
            user,
            User::new("admin", &["system:masters", "system:authenticated"])
        );
    }
}
