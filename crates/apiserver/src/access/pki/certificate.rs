//! Making certificates, and reading what they say.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;

/// Certificates are valid from before they are made, for clocks that are a little off.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

/// A certificate and its key, as PEM text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Pair {
    /// Whether the key is that of the certificate.
    pub(super) fn fits(&self) -> bool {
        let Ok(key) = KeyPair::from_pem(&self.key) else {
            return false;
        };
        let key = key.subject_public_key_info();
        self.look(|certificate| certificate.public_key().raw == key)
            .unwrap_or(false)
    }

    /// Whether the certificate has not ended at a moment.
    pub(super) fn lives_at(&self, at: Timestamp) -> bool {
        let end = self.look(|certificate| certificate.validity().not_after.timestamp());
        end.is_some_and(|end| end > at.as_second())
    }

    /// Whether the certificate is for all these names.
    pub(super) fn covers(&self, names: &[String]) -> bool {
        let covered = self.look(alternative_names).unwrap_or_default();
        names.iter().all(|name| covered.contains(name))
    }

    pub(super) fn is_issued_by(&self, ca: &Self) -> bool {
        let subject = ca.look(|ca| ca.subject().to_string());
        let issuer = self.look(|certificate| certificate.issuer().to_string());
        subject.is_some() && subject == issuer
    }

    fn look<T>(&self, look: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Some(look(&certificate))
    }
}

pub(super) fn make_ca(now: Timestamp, life: SignedDuration) -> Result<Pair, PkiError> {
    let key = KeyPair::generate()?;
    let mut parameters = parameters(Vec::new(), now, life)?;
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

pub(super) fn make_server(
    ca: &Pair,
    names: &[String],
    now: Timestamp,
    life: SignedDuration,
) -> Result<Pair, PkiError> {
    let mut parameters = parameters(names.to_vec(), now, life)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "kubernetes");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(ca, &parameters)
}

pub(super) fn make_client(
    ca: &Pair,
    user: &str,
    group: &str,
    now: Timestamp,
    life: SignedDuration,
) -> Result<Pair, PkiError> {
    let mut parameters = parameters(Vec::new(), now, life)?;
    parameters.distinguished_name.push(DnType::CommonName, user);
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, group);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(ca, &parameters)
}

fn parameters(
    names: Vec<String>,
    now: Timestamp,
    life: SignedDuration,
) -> Result<CertificateParams, PkiError> {
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
    };
    let mut parameters = CertificateParams::new(names)?;
    parameters.not_before = date(now - BACKDATED);
    parameters.not_after = date(now + life);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(parameters)
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
