//! `/metrics`: what was asked for, how it ended, and how long it took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::ResourceRequest;
use super::in_flight::InFlight;
use crate::kind::Kind;
use crate::metrics::{Histogram, head};
use crate::store::Store;

/// What a request was about. Names that clients make up are left out, so that there is a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct About {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
}

impl About {
    /// What a request for a document is about.
    pub(super) fn document() -> Self {
        Self {
            verb: "GET",
            ..Self::default()
        }
    }

    /// What a request for a known resource is about.
    pub(super) fn resource(request: &ResourceRequest) -> Self {
        let kind: &Kind = &request.kind;
        let one = !request.path.name.is_empty();
        let verb = match request.parts.method {
            Method::GET if request.query.flag("watch") => "WATCH",
            Method::GET if one => "GET",
            Method::GET => "LIST",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE if one => "DELETE",
            Method::DELETE => "DELETECOLLECTION",
            _ => "OTHER",
        };
        Self {
            verb,
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.plural.clone(),
        }
    }

    fn labels(&self) -> String {
        let Self {
            verb,
            group,
            version,
            resource,
        } = self;
        format!("verb=\"{verb}\",group=\"{group}\",version=\"{version}\",resource=\"{resource}\"")
    }
}

/// Counts of requests.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<BTreeMap<About, Arc<Series>>>);

#[derive(Debug, Default)]
struct Series {
    codes: Mutex<BTreeMap<u16, u64>>,
    durations: Histogram,
}

impl Metrics {
    /// Notes an answer. A watch is answered when it begins.
    pub(super) fn observe(&self, about: About, code: StatusCode, took: Duration) {
        let series = Arc::clone(self.0.lock().entry(about).or_default());
        *series.codes.lock().entry(code.as_u16()).or_default() += 1;
        series.durations.observe(took);
    }

    /// All numbers as text.
    pub(super) fn text(&self, store: &Store, in_flight: &InFlight) -> String {
        let mut text = String::new();
        let all: Vec<_> = {
            let all = self.0.lock();
            all.iter()
                .map(|(about, series)| (about.labels(), Arc::clone(series)))
                .collect()
        };
        let name = "apiserver_request_total";
        head(
            &mut text,
            name,
            "counter",
            "Requests by what they were about and how they ended.",
        );
        for (labels, series) in &all {
            for (code, count) in &*series.codes.lock() {
                let _ = writeln!(text, "{name}{{{labels},code=\"{code}\"}} {count}");
            }
        }
        let name = "apiserver_request_duration_seconds";
        head(&mut text, name, "histogram", "Time until an answer began.");
        for (labels, series) in &all {
            series.durations.write(&mut text, name, labels);
        }
        let name = "apiserver_current_inflight_requests";
        head(&mut text, name, "gauge", "Requests that are worked on.");
        let (reading, changing) = in_flight.now();
        let _ = writeln!(text, "{name}{{request_kind=\"readOnly\"}} {reading}");
        let _ = writeln!(text, "{name}{{request_kind=\"mutating\"}} {changing}");
        stored(&mut text, store);
        text
    }
}

fn stored(text: &mut String, store: &Store) {
    let counts = store.counts();
    let name = "apiserver_storage_objects";
    head(text, name, "gauge", "Objects by resource.");
    for counts in &counts {
        let _ = writeln!(
            text,
            "{name}{{resource=\"{}\"}} {}",
            counts.resource, counts.objects
        );
    }
    let name = "apiserver_registered_watchers";
    head(text, name, "gauge", "Watches by resource.");
    for counts in &counts {
        let _ = writeln!(
            text,
            "{name}{{resource=\"{}\"}} {}",
            counts.resource, counts.watchers
        );
    }
    let name = "apiserver_storage_commit_duration_seconds";
    head(
        text,
        name,
        "histogram",
        "Time of commits, each of which may carry many writes.",
    );
    store.commits().write(text, name, "");
}
