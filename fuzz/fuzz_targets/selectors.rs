//! The readers of label and field selectors.
//!
//! ```text
//! cargo +nightly fuzz run selectors
//! ```
#![no_main]

use apiserver::selector::{FieldSelector, LabelSelector};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let object = json!({"metadata": {"name": "a", "labels": {"a": "b", "c": ""}}});
    if let Ok(selector) = LabelSelector::parse(text) {
        let _selected = selector.matches(&object);
    }
    let _selector = FieldSelector::parse(text);
});
