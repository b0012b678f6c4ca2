//! Events, in their older (core) and newer form. Both are views of the same things, stored apart.

use serde_json::Value;

use super::NO_HOOKS;
use super::access::text;
use super::column::Col;
use crate::kind::Hooks;
use crate::schema::cause;
use crate::status::Cause;
use crate::table::age;

/// How the two forms spell the same thing.
struct Form {
    object: &'static str,
    message: &'static str,
    count: &'static str,
    first: &'static str,
    last: &'static str,
}

const CORE: Form = Form {
    object: "/involvedObject",
    message: "/message",
    count: "/count",
    first: "/firstTimestamp",
    last: "/lastTimestamp",
};
const NEWER: Form = Form {
    object: "/regarding",
    message: "/note",
    count: "/deprecatedCount",
    first: "/deprecatedFirstTimestamp",
    last: "/deprecatedLastTimestamp",
};

pub(super) const CORE_COLUMNS: &[Col] = &[
    Col::new("Last Seen", "Time at which the event was last seen", |e| {
        CORE.last_seen(e).into()
    }),
    Col::new("Type", "Normal or Warning", |e| text(e, "/type").into()),
    Col::new("Reason", "Why the event was made, in one word", |e| {
        text(e, "/reason").into()
    }),
    Col::new("Object", "What the event is about", |e| {
        CORE.object(e).into()
    }),
    Col::new("Subobject", "Part of the object", |e| CORE.subobject(e)).wide(),
    Col::new("Source", "Who made the event", |e| source(e).into()).wide(),
    Col::new("Message", "What happened", |e| CORE.message(e).into()),
    Col::new(
        "First Seen",
        "Time at which the event was first seen",
        |e| CORE.first_seen(e).into(),
    )
    .wide(),
    Col::new("Count", "How often it happened", |e| CORE.count(e)).wide(),
    Col::new("Name", "Name of the event", |e| {
        text(e, "/metadata/name").into()
    })
    .format("name")
    .wide(),
];

pub(super) const COLUMNS: &[Col] = &[
    Col::new("Last Seen", "Time at which the event was last seen", |e| {
        NEWER.last_seen(e).into()
    }),
    Col::new("Type", "Normal or Warning", |e| text(e, "/type").into()),
    Col::new("Reason", "Why the event was made, in one word", |e| {
        text(e, "/reason").into()
    }),
    Col::new("Object", "What the event is about", |e| {
        NEWER.object(e).into()
    }),
    Col::new("Subobject", "Part of the object", |e| NEWER.subobject(e)).wide(),
    Col::new("Source", "Who made the event", |e| source(e).into()).wide(),
    Col::new("Message", "What happened", |e| NEWER.message(e).into()),
    Col::new(
        "First Seen",
        "Time at which the event was first seen",
        |e| NEWER.first_seen(e).into(),
    )
    .wide(),
    Col::new("Count", "How often it happened", |e| NEWER.count(e)).wide(),
    Col::new("Name", "Name of the event", |e| {
        text(e, "/metadata/name").into()
    })
    .format("name")
    .wide(),
];

pub(super) const CORE_HOOKS: Hooks = Hooks {
    validate: Some(|event, _| namespace(event, "involvedObject")),
    fields: Some(|event| {
        let reporter = text(event, "/source/component");
        let reporter = if reporter.is_empty() {
            text(event, "/reportingComponent")
        } else {
            reporter
        };
        vec![
            (
                "involvedObject.kind",
                text(event, "/involvedObject/kind").to_owned(),
            ),
            (
                "involvedObject.namespace",
                text(event, "/involvedObject/namespace").to_owned(),
            ),
            (
                "involvedObject.name",
                text(event, "/involvedObject/name").to_owned(),
            ),
            (
                "involvedObject.uid",
                text(event, "/involvedObject/uid").to_owned(),
            ),
            (
                "involvedObject.apiVersion",
                text(event, "/involvedObject/apiVersion").to_owned(),
            ),
            (
                "involvedObject.resourceVersion",
                text(event, "/involvedObject/resourceVersion").to_owned(),
            ),
            (
                "involvedObject.fieldPath",
                text(event, "/involvedObject/fieldPath").to_owned(),
            ),
            ("reason", text(event, "/reason").to_owned()),
            (
                "reportingComponent",
                text(event, "/reportingComponent").to_owned(),
            ),
            ("source", reporter.to_owned()),
            ("type", text(event, "/type").to_owned()),
        ]
    }),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) const HOOKS: Hooks = Hooks {
    validate: Some(|event, _| namespace(event, "regarding")),
    fields: Some(|event| {
        vec![
            ("regarding.kind", text(event, "/regarding/kind").to_owned()),
            (
                "regarding.namespace",
                text(event, "/regarding/namespace").to_owned(),
            ),
            ("regarding.name", text(event, "/regarding/name").to_owned()),
            ("regarding.uid", text(event, "/regarding/uid").to_owned()),
            (
                "regarding.apiVersion",
                text(event, "/regarding/apiVersion").to_owned(),
            ),
            (
                "regarding.fieldPath",
                text(event, "/regarding/fieldPath").to_owned(),
            ),
            ("reason", text(event, "/reason").to_owned()),
            (
                "reportingController",
                text(event, "/reportingController").to_owned(),
            ),
            ("type", text(event, "/type").to_owned()),
        ]
    }),
    no_generation: true,
    ..NO_HOOKS
};

/// An event lives beside the object that it is about, or in `default` for cluster-wide ones.
fn namespace(event: &Value, field: &str) -> Vec<Cause> {
    let about = text(event, &format!("/{field}/namespace"));
    let own = text(event, "/metadata/namespace");
    if about == own || (about.is_empty() && matches!(own, "default" | "kube-system" | "")) {
        return Vec::new();
    }
    let path = format!("{field}.namespace");
    vec![cause::invalid(
        path,
        &about.into(),
        "does not match event.namespace",
    )]
}

impl Form {
    fn object(&self, event: &Value) -> String {
        let kind = text(event, &format!("{}/kind", self.object)).to_lowercase();
        let name = text(event, &format!("{}/name", self.object));
        if name.is_empty() {
            kind
        } else {
            format!("{kind}/{name}")
        }
    }

    fn subobject(&self, event: &Value) -> Value {
        text(event, &format!("{}/fieldPath", self.object)).into()
    }

    fn message(&self, event: &Value) -> String {
        text(event, self.message).trim().to_owned()
    }

    fn count(&self, event: &Value) -> Value {
        let series = event.pointer("/series/count");
        let count = series
            .or_else(|| event.pointer(self.count))
            .and_then(Value::as_i64);
        count
            .filter(|&count| count > 0)
            .unwrap_or(1)
            .to_string()
            .into()
    }

    fn first_seen(&self, event: &Value) -> String {
        let first = text(event, self.first);
        age::since(if first.is_empty() {
            text(event, "/eventTime")
        } else {
            first
        })
    }

    /// A repeated event says how often and for how long.
    fn last_seen(&self, event: &Value) -> String {
        let first = self.first_seen(event);
        if let Some(observed) = event
            .pointer("/series/lastObservedTime")
            .and_then(Value::as_str)
        {
            let count = event
                .pointer("/series/count")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            return format!("{} (x{count} over {first})", age::since(observed));
        }
        let last = text(event, self.last);
        let last = if last.is_empty() {
            first.clone()
        } else {
            age::since(last)
        };
        match event.pointer(self.count).and_then(Value::as_i64) {
            Some(count) if count > 1 => format!("{last} (x{count} over {first})"),
            _ => last,
        }
    }
}

fn source(event: &Value) -> String {
    let either = |names: [&'static str; 3]| {
        names
            .into_iter()
            .map(|name| text(event, name))
            .find(|found| !found.is_empty())
    };
    let component = either([
        "/source/component",
        "/deprecatedSource/component",
        "/reportingComponent",
    ])
    .or_else(|| either(["/reportingController", "/reportingController", ""]))
    .unwrap_or_default();
    let host = either([
        "/source/host",
        "/deprecatedSource/host",
        "/reportingInstance",
    ]);
    [Some(component), host]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}
