//! Strategic merge patches of a Pod: an object and a patch, as a list of the two.
//!
//! ```text
//! cargo +nightly fuzz run strategic_patch
//! ```
#![no_main]

use std::sync::LazyLock;

use apiserver::builtin;
use apiserver::kind::Kind;
use apiserver::patch::strategic;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static POD: LazyLock<Kind> = LazyLock::new(|| {
    let mut kinds = builtin::kinds().into_iter();
    kinds.find(|kind| kind.is("", "pods")).expect("Pods are built in")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok([object, patch]) = serde_json::from_slice::<[Value; 2]>(bytes) else {
        return;
    };
    let apply = |object: &Value| strategic::apply(object, &patch, &POD.schema, &POD.definitions);
    if let Ok(once) = apply(&object) {
        // What was patched can be patched again.
        let _twice = apply(&once);
    }
});
