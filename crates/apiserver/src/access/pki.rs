//! The server's own certificate authority: made once, kept in a folder, renewed in time.
//!
//! Certificates are replaced while the server runs. New connections get the new ones; those that
//! are open stay. An authority is followed by another one in two steps, so that nobody is locked
//! out: first its successor is trusted and told to clients, much later it signs. The old one is
//! trusted to its end.

mod certificate;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use certificate::Pair;
pub(super) use files::{make_folder, write_secret};

/// Names that the server always answers to.
const NAMES: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Files of the authority that signs, its successor and its predecessor, without their endings.
const CA: &str = "ca";
const NEXT_CA: &str = "ca-next";
const OLD_CA: &str = "ca-old";

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

/// How long certificates are valid, and how long before their end something is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Validity of an authority.
    pub ca: SignedDuration,
    /// From how long before its end on the successor of an authority is trusted.
    pub announce_ca: SignedDuration,
    /// From how long before its end on an authority leaves signing to its successor.
    pub replace_ca: SignedDuration,
    /// Validity of the certificates of the server and the administrator.
    pub leaf: SignedDuration,
    /// From how long before their end on those are replaced.
    pub replace_leaf: SignedDuration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let days = |days: i64| SignedDuration::from_hours(days * 24);
        Self {
            ca: days(3650),
            announce_ca: days(730),
            replace_ca: days(365),
            leaf: days(365),
            replace_leaf: days(60),
        }
    }
}

/// The certificates of one server. Clones are handles to the same ones.
#[derive(Debug, Clone)]
pub struct Pki {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    names: Vec<String>,
    current: RwLock<Arc<Current>>,
    renewals: watch::Sender<u64>,
}

/// The certificates of one moment.
#[derive(Debug)]
struct Current {
    ca: Pair,
    next_ca: Option<Pair>,
    old_ca: Option<Pair>,
    server: Pair,
    admin: Pair,
    tls: Arc<rustls::ServerConfig>,
}

impl Pki {
    /// Reads the certificates in a folder, and makes those that are missing, nearly expired, or do
    /// not cover a host that the server listens on.
    pub fn open(dir: &Path, hosts: &[String]) -> Result<Self, PkiError> {
        make_folder(dir)?;
        let own = NAMES.iter().map(ToString::to_string);
        let names: Vec<String> = own.chain(hosts.iter().cloned()).collect();
        let current = Current::read(dir, &names, &Lifetimes::default())?;
        let shared = Shared {
            dir: dir.into(),
            names,
            current: RwLock::new(Arc::new(current)),
            renewals: watch::Sender::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Replaces what is due, at most one step of a change of authorities, and returns whether
    /// anything was. Uses the disk.
    pub fn renew(&self, lifetimes: &Lifetimes) -> Result<bool, PkiError> {
        let shared = &self.shared;
        let renewed = Current::read(&shared.dir, &shared.names, lifetimes)?;
        let mut current = shared.current.write();
        if renewed.is_same(&current) {
            return Ok(false);
        }
        *current = Arc::new(renewed);
        drop(current);
        shared.renewals.send_modify(|count| *count += 1);
        Ok(true)
    }

    /// Tells of renewals: what was made of the certificates, such as a kubeconfig, is outdated then.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.shared.renewals.subscribe()
    }

    /// The authorities that clients should trust, as PEM text.
    pub fn root_ca(&self) -> String {
        let current = self.current();
        let all = current.authorities().map(|ca| ca.certificate.as_str());
        all.collect::<Vec<_>>().concat()
    }

    /// A kubeconfig for the administrator; the credentials are part of the text.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let current = self.current();
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
            ca = encode(&self.root_ca()),
            certificate = encode(&current.admin.certificate),
            key = encode(&current.admin.key),
        )
    }

    /// Writes [`Pki::kubeconfig`] to a file that only its owner can read, whole or not at all.
    pub fn write_kubeconfig(&self, path: &Path, server_url: &str) -> Result<(), PkiError> {
        write_secret(path, &self.kubeconfig(server_url))
    }

    /// The TLS side of a new connection: our certificate, and optional client certificates of our
    /// authorities.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.current().tls)
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.shared.current.read())
    }
}

impl Current {
    /// Reads what is in a folder, after putting what is due in order there.
    fn read(dir: &Path, names: &[String], lifetimes: &Lifetimes) -> Result<Self, PkiError> {
        let now = Timestamp::now();
        let (ca, next_ca) = authorities(dir, lifetimes, now)?;
        let old_ca = files::load(dir, OLD_CA)?.filter(|old| old.lives_at(now));
        let leaf = |file: &str, names: &[String], make: &dyn Fn() -> Result<Pair, PkiError>| {
            match files::load(dir, file)? {
                Some(pair)
                    if pair.lives_at(now + lifetimes.replace_leaf)
                        && pair.covers(names)
                        && pair.is_issued_by(&ca) =>
                {
                    Ok(pair)
                }
                _ => files::store(dir, file, make()?),
            }
        };
        let server = leaf("server", names, &|| {
            certificate::make_server(&ca, names, now, lifetimes.leaf)
        })?;
        let admin = leaf("admin", &[], &|| {
            certificate::make_client(&ca, "admin", "system:masters", now, lifetimes.leaf)
        })?;
        let trusted = [Some(&ca), next_ca.as_ref(), old_ca.as_ref()];
        let tls = Arc::new(tls(dir, &server, trusted.into_iter().flatten())?);
        Ok(Self {
            ca,
            next_ca,
            old_ca,
            server,
            admin,
            tls,
        })
    }

    fn authorities(&self) -> impl Iterator<Item = &Pair> {
        let others = [&self.next_ca, &self.old_ca].into_iter().flatten();
        [&self.ca].into_iter().chain(others)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.authorities().eq(other.authorities())
            && self.server == other.server
            && self.admin == other.admin
    }
}

/// The authority that signs and its successor, if there is one yet, after at most one step.
fn authorities(
    dir: &Path,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<(Pair, Option<Pair>), PkiError> {
    let make = || certificate::make_ca(now, lifetimes.ca);
    let Some(ca) = files::load(dir, CA)? else {
        return Ok((files::store(dir, CA, make()?)?, None));
    };
    let next = files::load(dir, NEXT_CA)?;
    if ca.lives_at(now + lifetimes.replace_ca) {
        let is_announced = next.is_some() || ca.lives_at(now + lifetimes.announce_ca);
        let next = match next {
            None if !is_announced => Some(files::store(dir, NEXT_CA, make()?)?),
            next => next,
        };
        return Ok((ca, next));
    }
    // A server that was off for long has had no time to announce a successor.
    let next = match next {
        Some(next) => next,
        None => make()?,
    };
    files::store(dir, OLD_CA, ca)?;
    let ca = files::store(dir, CA, next)?;
    files::remove(dir, NEXT_CA)?;
    Ok((ca, None))
}

fn tls<'a>(
    dir: &Path,
    server: &Pair,
    trusted: impl Iterator<Item = &'a Pair>,
) -> Result<rustls::ServerConfig, PkiError> {
    let unusable = |file: &str| PkiError::Unusable {
        path: dir.join(file),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = |pair: &Pair, file: &str| {
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).map_err(|_| unusable(file))
    };
    let mut roots = rustls::RootCertStore::empty();
    for ca in trusted {
        roots.add(certificate(ca, "ca.crt")?)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|_| unusable("ca.crt"))?;
    let chain = vec![certificate(server, "server.crt")?];
    let key =
        PrivateKeyDer::from_pem_slice(server.key.as_bytes()).map_err(|_| unusable("server.key"))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::User;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const NEVER: SignedDuration = SignedDuration::ZERO;

    /// Certificates that live for ten hours, and of which nothing is due.
    const FRESH: Lifetimes = Lifetimes {
        ca: SignedDuration::from_hours(10),
        announce_ca: NEVER,
        replace_ca: NEVER,
        leaf: SignedDuration::from_hours(10),
        replace_leaf: NEVER,
    };

    #[test]
    fn certificates_are_kept_and_renewed_when_a_host_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path(), &[]).unwrap().current();
        let again = Pki::open(dir.path(), &["127.0.0.1".into()]).unwrap();
        assert!(again.current().is_same(&first));
        assert!(!again.renew(&Lifetimes::default()).unwrap());
        let other = Pki::open(dir.path(), &["192.0.2.1".into()]).unwrap();
        assert_ne!(first.server, other.current().server);
        assert_eq!(first.ca, other.current().ca);
        assert_eq!(first.admin, other.current().admin);
        assert!(
            other
                .kubeconfig("https://127.0.0.1:1")
                .contains("server: https://127.0.0.1:1\n")
        );
    }

    #[test]
    fn a_certificate_is_replaced_before_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &[]).unwrap();
        let first = pki.current();
        let mut renewals = pki.renewals();
        let due = Lifetimes {
            replace_leaf: Lifetimes::default().leaf + HOUR,
            ..Lifetimes::default()
        };
        assert!(pki.renew(&due).unwrap());
        assert!(renewals.has_changed().unwrap());
        renewals.mark_unchanged();
        let second = pki.current();
        assert_eq!(first.ca, second.ca);
        assert_ne!(first.server, second.server);
        assert_ne!(first.admin, second.admin);
        assert!(!pki.renew(&Lifetimes::default()).unwrap());
        assert!(!renewals.has_changed().unwrap());
    }

    #[test]
    fn an_authority_is_followed_by_another_in_two_steps() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &[]).unwrap();
        let first = pki.current();
        let announce = Lifetimes {
            announce_ca: Lifetimes::default().ca + HOUR,
            ..Lifetimes::default()
        };
        assert!(pki.renew(&announce).unwrap());
        let second = pki.current();
        assert_eq!((&second.ca, &second.server), (&first.ca, &first.server));
        let next = second.next_ca.clone().unwrap();
        assert_eq!(
            pki.root_ca(),
            format!("{}{}", first.ca.certificate, next.certificate)
        );
        assert!(!pki.renew(&announce).unwrap());

        let replace = Lifetimes {
            replace_ca: Lifetimes::default().ca + HOUR,
            ..Lifetimes::default()
        };
        assert!(pki.renew(&replace).unwrap());
        let third = pki.current();
        assert_eq!(third.ca, next);
        assert_eq!(third.old_ca.as_ref(), Some(&first.ca));
        assert_eq!(third.next_ca, None);
        assert!(third.server.is_issued_by(&next) && third.admin.is_issued_by(&next));
        assert!(!pki.renew(&FRESH).unwrap());
        assert!(
            Pki::open(dir.path(), &[])
                .unwrap()
                .current()
                .is_same(&third)
        );
    }

    #[test]
    fn a_key_that_does_not_fit_its_certificate_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path(), &[]).unwrap().current();
        // As if the process had ended between the two files.
        std::fs::copy(dir.path().join("admin.key"), dir.path().join("server.key")).unwrap();
        let second = Pki::open(dir.path(), &[]).unwrap().current();
        assert_ne!(first.server, second.server);
        assert_eq!(first.ca, second.ca);
    }

    #[test]
    fn the_subject_is_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &[]).unwrap();
        let text = pki.current().admin.certificate.clone();
        let der = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let user = User::from_certificate(&der).unwrap();
        assert_eq!(
            user,
            User::new("admin", &["system:masters", "system:authenticated"])
        );
    }
}
