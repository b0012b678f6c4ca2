//! What a DataVolume must be to be admitted; the messages are those that CDI's clients know.

use crate::{
    data_volume::{ContentType, DataVolumeSpec},
    source::{DataVolumeSource, DataVolumeSourceRef, HttpSource},
    storage::ClaimSpec,
    volume_import_source::VolumeImportSourceSpec,
};

/// The longest name of a DataVolume.
const MAX_NAME: usize = 253;
/// What a claim's `accessModes` can hold.
const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// A fault of a DataVolume; the sentence says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Machine-readable: `FieldValueRequired`, `FieldValueInvalid`, ….
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

impl Fault {
    fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: message.into(),
            field: field.to_owned(),
        }
    }

    fn required(field: &str, message: &str) -> Self {
        Self {
            reason: "FieldValueRequired",
            message: message.to_owned(),
            field: field.to_owned(),
        }
    }
}

/// Checks a new DataVolume. The first fault counts.
pub fn create(name: &str, spec: &DataVolumeSpec) -> Result<(), Fault> {
    if name.len() > MAX_NAME {
        let message = "Name cannot be longer than 253 characters";
        return Err(Fault::invalid("metadata.name", message));
    }
    storage(spec)?;
    match (&spec.source, &spec.source_ref) {
        _ if is_populated_by_others(spec) => external_population(spec),
        (Some(given), None) => source(given, spec.content_type.unwrap_or_default()),
        (None, Some(reference)) => source_ref(reference),
        _ => Err(Fault::invalid(
            "spec.source",
            "Data volume should have either Source or SourceRef, or be externally populated",
        )),
    }
}

/// Checks a change of a DataVolume: what is asked for stays as it is.
pub fn update(old: &DataVolumeSpec, new: &DataVolumeSpec) -> Result<(), Fault> {
    if old == new {
        return Ok(());
    }
    Err(Fault {
        reason: "FieldValueDuplicate",
        message: "Cannot update DataVolume Spec".to_owned(),
        field: "spec".to_owned(),
    })
}

/// Checks a new VolumeImportSource.
pub fn create_import_source(spec: &VolumeImportSourceSpec) -> Result<(), Fault> {
    let nothing = DataVolumeSource::default();
    source(
        spec.source.as_ref().unwrap_or(&nothing),
        spec.content_type.unwrap_or_default(),
    )
}

/// Checks a change of a VolumeImportSource.
pub fn update_import_source(
    old: &VolumeImportSourceSpec,
    new: &VolumeImportSourceSpec,
) -> Result<(), Fault> {
    if old == new {
        return Ok(());
    }
    Err(Fault {
        reason: "FieldValueDuplicate",
        message: "Cannot update VolumeImportSource Spec".to_owned(),
        field: "spec".to_owned(),
    })
}

fn storage(spec: &DataVolumeSpec) -> Result<(), Fault> {
    let (claim, field, what) = match (&spec.pvc, &spec.storage) {
        (None, None) => return Err(Fault::required("spec.pvc", "Missing Data volume PVC")),
        (Some(_), Some(_)) => {
            return Err(Fault::invalid(
                "spec.storage",
                "Duplicate storage definition, both target storage and target pvc defined",
            ));
        }
        (Some(claim), None) => (claim, "spec.pvc", "PVC"),
        (None, Some(claim)) => (claim, "spec.storage", "Storage"),
    };
    size(spec, claim, field, what)?;
    if claim
        .storage_class_name
        .as_ref()
        .is_some_and(|name| name.len() > MAX_NAME)
    {
        let message = "Storage class name cannot be longer than 253 characters";
        return Err(Fault::invalid(
            &format!("{field}.storageClassName"),
            message,
        ));
    }
    access_modes(claim, field, spec.pvc.is_some())
}

fn size(spec: &DataVolumeSpec, claim: &ClaimSpec, field: &str, what: &str) -> Result<(), Fault> {
    let field = format!("{field}.resources.requests[storage]");
    match claim.request() {
        None => {
            let copies =
                |source: &DataVolumeSource| source.pvc.is_some() || source.snapshot.is_some();
            let inferred = spec.source_ref.is_some() || spec.source.as_ref().is_some_and(copies);
            if spec.storage.is_some() && inferred {
                return Ok(());
            }
            Err(Fault::required(&field, &format!("{what} size is missing")))
        }
        Some(size) if !size.is_positive() => Err(Fault::invalid(
            &field,
            format!("{what} size can't be equal or less than zero"),
        )),
        Some(size) if size.units() < crate::size::MINIMUM => Err(Fault::invalid(
            &field,
            format!("{what} size should be at least 1MiB"),
        )),
        Some(_) => Ok(()),
    }
}

fn access_modes(claim: &ClaimSpec, field: &str, required: bool) -> Result<(), Fault> {
    let field = format!("{field}.accessModes");
    let modes = claim.access_modes.as_deref().unwrap_or_default();
    if required && modes.is_empty() {
        let message = "Required value: at least 1 access mode is required";
        return Err(Fault::required(&field, message));
    }
    if required && modes.len() > 1 {
        return Err(Fault::invalid(&field, "PVC multiple accessModes"));
    }
    match modes
        .iter()
        .find(|mode| !ACCESS_MODES.contains(&mode.as_str()))
    {
        None => Ok(()),
        Some(mode) => {
            let supported = ACCESS_MODES.map(|mode| format!("{mode:?}")).join(", ");
            let message = format!("Unsupported value: {mode:?}: supported values: {supported}");
            Err(Fault {
                reason: "FieldValueNotSupported",
                message,
                field,
            })
        }
    }
}

/// Whether another populator than Longshore's own is to fill the claim.
fn is_populated_by_others(spec: &DataVolumeSpec) -> bool {
    let claim = spec.pvc.as_ref().or(spec.storage.as_ref());
    claim.is_some_and(|claim| claim.data_source.is_some() || claim.data_source_ref.is_some())
}

fn external_population(spec: &DataVolumeSpec) -> Result<(), Fault> {
    if spec.source.is_some() || spec.source_ref.is_some() {
        let message = "External population is incompatible with Source and SourceRef";
        return Err(Fault::invalid("spec.source", message));
    }
    Err(Fault::invalid(
        "spec.pvc.dataSourceRef",
        "this version does not create DataVolumes for external populators: create a \
         PersistentVolumeClaim with the dataSourceRef instead",
    ))
}

fn source_ref(reference: &DataVolumeSourceRef) -> Result<(), Fault> {
    let field = "spec.sourceRef";
    let message = match (reference.kind.as_str(), reference.name.as_str()) {
        ("", _) => "Missing sourceRef kind".to_owned(),
        ("DataSource", "") => "Missing sourceRef name".to_owned(),
        ("DataSource", _) => unserved("sourceRef"),
        (kind, _) => {
            format!("Unsupported sourceRef kind {kind}, currently only DataSource is supported")
        }
    };
    Err(Fault::invalid(field, message))
}

fn unserved(source: &str) -> String {
    format!("source {source} is not served by this version, use one of: http, blank")
}

fn source(source: &DataVolumeSource, content: ContentType) -> Result<(), Fault> {
    let field = "spec.source";
    match source.members()[..] {
        [] => Err(Fault::required(field, "Missing Data volume source")),
        [_, _, ..] => Err(Fault::invalid(field, "Multiple Data volume sources")),
        ["blank"] if content == ContentType::Archive => Err(Fault::invalid(
            field,
            "SourceType cannot be blank and the contentType be archive",
        )),
        ["blank"] => Ok(()),
        [member] => match &source.http {
            Some(http) => self::http(http, content),
            None => Err(Fault::invalid(
                &format!("{field}.{member}"),
                unserved(member),
            )),
        },
    }
}

fn http(source: &HttpSource, content: ContentType) -> Result<(), Fault> {
    url(&source.url).map_err(|message| {
        Fault::invalid("spec.source.http.url", format!("spec.source {message}"))
    })?;
    if let Some(checksum) = &source.checksum {
        self::checksum(checksum).map_err(|detail| {
            let message = format!("Invalid checksum format: {detail}");
            Fault::invalid("spec.source.http.checksum", message)
        })?;
    }
    let later = [
        ("secretRef", source.secret_ref.is_some()),
        ("certConfigMap", source.cert_config_map.is_some()),
        ("extraHeaders", source.extra_headers.is_some()),
        ("secretExtraHeaders", source.secret_extra_headers.is_some()),
        ("checksum", source.checksum.is_some()),
    ];
    if let Some((name, _)) = later.into_iter().find(|(_, set)| *set) {
        let message = format!("{name} is not served by this version: leave it out");
        return Err(Fault::invalid(&format!("spec.source.http.{name}"), message));
    }
    if content == ContentType::Archive {
        let message = "contentType archive is not served by this version: use kubevirt";
        return Err(Fault::invalid("spec.contentType", message));
    }
    Ok(())
}

fn url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("source URL is empty".to_owned());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("Invalid source URL: {url}"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("Invalid source URL scheme: {url}"));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(format!("Invalid source URL: {url}"));
    }
    Ok(())
}

fn checksum(text: &str) -> Result<(), String> {
    let (algorithm, hash) = text.split_once(':').ok_or("expected 'algorithm:hash'")?;
    let length = match algorithm.to_ascii_lowercase().as_str() {
        "md5" => 32,
        "sha1" => 40,
        "sha256" => 64,
        "sha512" => 128,
        _ => {
            return Err(format!(
                "unsupported hash algorithm '{algorithm}': supported algorithms are: md5, sha1, \
                 sha256, sha512"
            ));
        }
    };
    if hash.len() != length {
        let got = hash.len();
        return Err(format!(
            "invalid {algorithm} hash length: expected {length} hex characters, got {got}"
        ));
    }
    if !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("hash must be hex characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The message for a spec that differs from a good one by `change`.
    fn fault(change: Value) -> Option<String> {
        let mut spec = json!({
            "source": { "http": { "url": "http://host/disk.qcow2" } },
            "storage": { "resources": { "requests": { "storage": "1Gi" } } },
        });
        json_merge(&mut spec, change);
        let spec: DataVolumeSpec = serde_json::from_value(spec).unwrap();
        create("disk", &spec).err().map(|fault| fault.message)
    }

    fn json_merge(target: &mut Value, change: Value) {
        match (target, change) {
            (Value::Object(target), Value::Object(change)) => {
                for (key, value) in change {
                    if value.is_null() {
                        target.remove(&key);
                    } else {
                        json_merge(target.entry(key).or_insert(Value::Null), value);
                    }
                }
            }
            (target, change) => *target = change,
        }
    }

    #[test]
    fn a_good_one_is_admitted() {
        assert_eq!(fault(json!({})), None);
        assert_eq!(
            fault(json!({ "source": { "http": null, "blank": {} } })),
            None
        );
    }

    #[test]
    fn faults_are_named_as_clients_know_them() {
        let size =
            |size: &str| json!({ "storage": { "resources": { "requests": { "storage": size } } } });
        let cases = [
            (json!({ "storage": null }), "Missing Data volume PVC"),
            (json!({ "pvc": {} }), "Duplicate storage definition"),
            (size("0"), "Storage size can't be equal or less than zero"),
            (
                size("-1Gi"),
                "Storage size can't be equal or less than zero",
            ),
            (size("1023Ki"), "Storage size should be at least 1MiB"),
            (
                json!({ "storage": { "resources": null } }),
                "Storage size is missing",
            ),
            (
                json!({ "source": null }),
                "Data volume should have either Source or SourceRef",
            ),
            (
                json!({ "source": { "http": null } }),
                "Missing Data volume source",
            ),
            (
                json!({ "source": { "blank": {} } }),
                "Multiple Data volume sources",
            ),
            (
                json!({ "source": { "http": { "url": "" } } }),
                "spec.source source URL is empty",
            ),
            (
                json!({ "source": { "http": { "url": "ftp://host/x" } } }),
                "spec.source Invalid source URL scheme: ftp://host/x",
            ),
            (
                json!({ "source": { "http": { "checksum": "crc:00" } } }),
                "Invalid checksum format: unsupported hash algorithm 'crc'",
            ),
            (
                json!({ "source": { "http": null, "blank": {} }, "contentType": "archive" }),
                "SourceType cannot be blank and the contentType be archive",
            ),
            (
                json!({ "storage": { "accessModes": ["RWO"] } }),
                "Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\"",
            ),
        ];
        for (change, expected) in cases {
            let message = fault(change.clone()).unwrap_or_default();
            assert!(message.starts_with(expected), "{change}: {message:?}");
        }
    }

    #[test]
    fn a_spec_cannot_change() {
        let old = DataVolumeSpec::default();
        let new = DataVolumeSpec {
            preallocation: Some(true),
            ..old.clone()
        };
        assert!(update(&old, &old.clone()).is_ok());
        assert_eq!(
            update(&old, &new).unwrap_err().message,
            "Cannot update DataVolume Spec"
        );
    }
}
