//! The reader of `fieldsV1` and of `metadata.managedFields`.
//!
//! ```text
//! cargo +nightly fuzz run field_sets
//! ```
#![no_main]

use apiserver::apply::{FieldSet, Owners};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice(bytes) else {
        return;
    };
    if let Ok(set) = FieldSet::parse(&value) {
        assert_eq!(FieldSet::parse(&set.to_value()), Ok(set.clone()));
        let mut nothing = set.clone();
        nothing.subtract(&set);
        assert!(nothing.is_empty());
        let mut same = set.clone();
        same.intersect(&set);
        assert_eq!(same, set);
    }
    if let Ok(owners) = Owners::parse(&value) {
        assert_eq!(Owners::parse(&owners.to_value()).map(|o| o.to_value()), Ok(owners.to_value()));
    }
});
