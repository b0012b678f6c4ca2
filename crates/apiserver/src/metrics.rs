//! Numbers about the server's work, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 10] = [
    500, 1_000, 5_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 60_000_000,
];

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many fell into each bucket; the last one has no bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// Notes one duration.
    pub(crate) fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// Appends the samples; `labels` are those of the series, such as `verb="GET"`, or nothing.
    pub(crate) fn write(&self, text: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = BOUNDS.map(|bound| seconds(bound).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            );
        }
        let sum = seconds(self.microseconds.load(Ordering::Relaxed));
        let braced = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let _ = writeln!(
            text,
            "{name}_sum{braced} {sum}\n{name}_count{braced} {count}"
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for the first 285 years")]
fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// Appends what a metric means; its samples follow.
pub(crate) fn head(text: &mut String, name: &str, type_: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type_}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let histogram = Histogram::default();
        for took in [
            Duration::from_micros(500),
            Duration::from_millis(2),
            Duration::MAX,
        ] {
            histogram.observe(took);
        }
        let mut text = String::new();
        histogram.write(&mut text, "x", "");
        assert!(text.contains("x_bucket{le=\"0.0005\"} 1\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"0.005\"} 2\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"60\"} 2\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.ends_with("x_count 3\n"), "{text}");
        let mut text = String::new();
        histogram.write(&mut text, "x", "a=\"b\"");
        assert!(
            text.contains("x_bucket{a=\"b\",le=\"0.0005\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("x_count{a=\"b\"} 3\n"), "{text}");
    }
}
