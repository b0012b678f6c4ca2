//! Reading a running worker's progress from its metrics.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use crate::plan::import_pod::METRICS_PORT;

/// A worker that does not answer at once is asked again later.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The metric, and the label that it carries.
const METRIC: &str = "kubevirt_cdi_import_progress_total{ownerUID=\"";
/// More than this is no worker's metrics.
const MAX_BODY: usize = 64 << 10;

/// Reads workers' metrics.
pub(super) struct Reader {
    http: Option<reqwest::Client>,
}

impl Reader {
    pub(super) fn new() -> Self {
        // Workers make their certificates themselves, and what they are asked is no secret.
        let http = reqwest::Client::builder()
            .danger_accept_invalid_certs(true)
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(5))
            .build()
            .inspect_err(|error| tracing::warn!(%error, "no progress can be shown"));
        Self { http: http.ok() }
    }

    /// The progress of the worker in `pod` for `owner`, such as `45.40%`, if it tells.
    pub(super) async fn read(&self, pod: &Pod, owner: &str) -> Option<String> {
        let http = self.http.as_ref()?;
        let address: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        let url = match address {
            IpAddr::V4(address) => format!("https://{address}:{METRICS_PORT}/metrics"),
            IpAddr::V6(address) => format!("https://[{address}]:{METRICS_PORT}/metrics"),
        };
        let mut response = http.get(url).send().await.ok()?.error_for_status().ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY {
                return None;
            }
        }
        parse(std::str::from_utf8(&body).ok()?, owner)
    }
}

fn parse(metrics: &str, owner: &str) -> Option<String> {
    let value = metrics.lines().find_map(|line| {
        line.strip_prefix(METRIC)?
            .strip_prefix(owner)?
            .strip_prefix("\"}")?
            .split_whitespace()
            .next()
    })?;
    let percent: f64 = value.parse().ok()?;
    (0.0..=100.0)
        .contains(&percent)
        .then(|| format!("{percent:.2}%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_line_is_read() {
        let metrics = "# TYPE kubevirt_cdi_import_progress_total counter\n\
                       kubevirt_cdi_import_progress_total{ownerUID=\"other\"} 9\n\
                       kubevirt_cdi_import_progress_total{ownerUID=\"mine\"} 45.4\n";
        assert_eq!(parse(metrics, "mine").as_deref(), Some("45.40%"));
        assert_eq!(parse(metrics, "nobody"), None);
        assert_eq!(parse(&metrics.replace("45.4", "NaN"), "mine"), None);
    }
}
