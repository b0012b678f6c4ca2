//! Names of the objects that are made for a disk.

/// Longest name of an object.
const MAX_NAME: usize = 253;
/// A hash and the hyphens around it.
const HASH_ROOM: usize = 10;

/// `base-suffix`; where that is too long, the base is cut and a hash of it is put in. A suffix that
/// leaves no room for a base is replaced by a hash of the whole.
///
/// ```
/// # use longshore_api::names::with_suffix;
/// assert_eq!(with_suffix("disk", "scratch"), "disk-scratch");
/// assert!(with_suffix(&"d".repeat(253), "scratch").len() <= 253);
/// ```
pub fn with_suffix(base: &str, suffix: &str) -> String {
    if base.len() + suffix.len() < MAX_NAME {
        return format!("{base}-{suffix}");
    }
    let Some(mut keep) = MAX_NAME.checked_sub(HASH_ROOM + suffix.len()) else {
        return format!(
            "{base}-{:08x}",
            fnv32a(format!("{base}-{suffix}").as_bytes())
        );
    };
    while !base.is_char_boundary(keep) {
        keep -= 1;
    }
    format!("{}-{:08x}-{suffix}", &base[..keep], fnv32a(base.as_bytes()))
}

/// The worker Pod that imports into a claim: `importer-<claim>`.
pub fn importer_pod(claim: &str) -> String {
    with_suffix("importer", claim)
}

/// The claim that the work for the claim with this UID is done on: `prime-<uid>`.
pub fn prime_claim(uid: &str) -> String {
    format!("prime-{uid}")
}

/// The VolumeImportSource of the DataVolume with this UID.
pub fn volume_import_source(uid: &str) -> String {
    format!("volume-import-source-{uid}")
}

/// The 32-bit FNV-1a hash.
fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fnv32a() {
        assert_eq!(fnv32a(b""), 0x811c_9dc5);
        assert_eq!(fnv32a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn an_importer_of_a_longest_name_still_has_a_valid_one() {
        for length in MAX_NAME - 20..=MAX_NAME {
            assert!(importer_pod(&"d".repeat(length)).len() <= MAX_NAME);
        }
    }
}
