//! Conditions of a DataVolume, and when their times move.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::data_volume::DataVolumeCondition;

/// What a condition says, before it has times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `Bound`, `Running` or `Ready`.
    pub type_: &'static str,
    /// Yes, no, or not known.
    pub status: Option<bool>,
    /// One word for the cause; may be empty.
    pub reason: String,
    /// One sentence for people; may be empty.
    pub message: String,
}

impl Finding {
    /// A finding with a cause.
    pub fn new(
        type_: &'static str,
        status: Option<bool>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// `True`, `False` or `Unknown`.
    pub fn status_text(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// The conditions after `findings`: a transition is a change of status, a heartbeat any change.
pub fn update(
    before: &[DataVolumeCondition],
    findings: &[Finding],
    now: &Time,
) -> Vec<DataVolumeCondition> {
    let one = |finding: &Finding| {
        let old = before
            .iter()
            .find(|condition| condition.type_ == finding.type_);
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let (reason, message) = (text(&finding.reason), text(&finding.message));
        let same_status = old.filter(|old| old.status == finding.status_text());
        let same = same_status.filter(|old| old.reason == reason && old.message == message);
        let time = |kept: Option<&Time>| Some(kept.unwrap_or(now).clone());
        DataVolumeCondition {
            type_: finding.type_.to_owned(),
            status: finding.status_text().to_owned(),
            last_transition_time: time(same_status.and_then(|c| c.last_transition_time.as_ref())),
            last_heartbeat_time: time(same.and_then(|c| c.last_heartbeat_time.as_ref())),
            reason,
            message,
        }
    };
    findings.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn only_a_change_of_status_is_a_transition() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let first = update(&[], &[Finding::new("Ready", Some(false), "A", "a")], &at(1));
        let second = update(
            &first,
            &[Finding::new("Ready", Some(false), "B", "b")],
            &at(2),
        );
        assert_eq!(second[0].last_transition_time, Some(at(1)));
        assert_eq!(second[0].last_heartbeat_time, Some(at(2)));
        let third = update(
            &second,
            &[Finding::new("Ready", Some(false), "B", "b")],
            &at(3),
        );
        assert_eq!(third, second, "what has not changed keeps its times");
        let fourth = update(&third, &[Finding::new("Ready", Some(true), "", "")], &at(4));
        assert_eq!(fourth[0].last_transition_time, Some(at(4)));
    }
}
