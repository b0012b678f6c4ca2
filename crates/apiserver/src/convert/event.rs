//! Events: `events.k8s.io/v1` and the core group name the same facts differently.

use serde_json::{Map, Value, json};

/// Fields that have another name; the core group's first.
const RENAMED: [(&str, &str); 7] = [
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(event: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = event.remove(from) {
        event.insert(to.into(), value);
    }
}

/// Turns an `events.k8s.io/v1` Event into one of the core group.
pub(super) fn to_core(event: &mut Value) {
    let Some(event) = event.as_object_mut() else {
        return;
    };
    for (core, new) in RENAMED {
        rename(event, new, core);
    }
    event.insert("apiVersion".into(), "v1".into());
    event.entry("involvedObject").or_insert_with(|| json!({}));
}

/// Turns an Event of the core group into one of `events.k8s.io/v1`.
pub(super) fn from_core(event: &mut Value) {
    let Some(event) = event.as_object_mut() else {
        return;
    };
    for (core, new) in RENAMED {
        rename(event, core, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let new = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"},
            "note": "n", "regarding": {"name": "p"}, "reportingController": "c",
            "reportingInstance": "i", "eventTime": "2026-01-01T00:00:00.000000Z",
            "deprecatedCount": 2, "reason": "R", "action": "A", "type": "Normal",
        });
        let mut event = new.clone();
        to_core(&mut event);
        assert_eq!(event["message"], "n");
        assert_eq!(event["involvedObject"]["name"], "p");
        assert_eq!(event["reportingComponent"], "c");
        assert_eq!(event["count"], 2);
        assert_eq!(event["apiVersion"], "v1");
        from_core(&mut event);
        event["apiVersion"] = "events.k8s.io/v1".into();
        assert_eq!(event, new);
    }
}
