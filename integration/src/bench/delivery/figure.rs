//! What a cost comes to, and whether it is good enough.

use serde::Serialize;

use super::{Cost, Subject};

/// How many times the cost of each of these ours may be.
const LIMITS: &[(Subject, f64)] = &[
    (Subject::Librdkafka, 1.0 / 0.7),
    (Subject::RsyslogMemory, 1.0),
    (Subject::RsyslogDisk, 0.5),
    (Subject::Collector1000, 1.0),
];

/// CPU seconds of one subject for a million records.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    #[serde(serialize_with = "name")]
    pub(super) subject: Subject,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) target: Option<f64>,
    pub(super) ok: Option<bool>,
}

impl Figure {
    /// One for each subject. Only ours has a target.
    pub(super) fn all(costs: &[(Subject, Cost)]) -> Vec<Self> {
        let target = target(costs);
        let figure = |&(subject, cost): &(Subject, Cost)| {
            let value = seconds_per_million(cost);
            let target = target.filter(|_| subject == Subject::Kmodtrail);
            let ok = target.map(|target| value <= target);
            let title = "its own CPU seconds, for a million records";
            Self { name: "cpu_per_million_records", title, subject, value, unit: "CPU seconds", target, ok }
        };
        costs.iter().map(figure).collect()
    }

    /// One of ours that nobody else has.
    pub(super) fn of_ours(
        name: &'static str,
        title: &'static str,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
    ) -> Self {
        Self { name, title, subject: Subject::Kmodtrail, value, unit, target, ok: target.map(|target| value <= target) }
    }

    /// As a person reads it, alone.
    pub(super) fn shown(&self) -> String {
        let target = self.target.map_or(String::new(), |target| format!("; at most {target:.2} is the target"));
        format!("{}: {:.2} {}{target}", self.title, self.value, self.unit)
    }
}

/// The least of what others allow; none where no other was measured.
pub(super) fn target(costs: &[(Subject, Cost)]) -> Option<f64> {
    let limits = costs.iter().filter_map(|(subject, cost)| {
        let (_, factor) = LIMITS.iter().find(|(known, _)| known == subject)?;
        Some(seconds_per_million(*cost) * factor)
    });
    limits.min_by(f64::total_cmp)
}

fn seconds_per_million(cost: Cost) -> f64 {
    cost.per_record() * 1e6
}

fn name<S: serde::Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(subject.name())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ours_has_the_strictest_target() {
        let cost = |seconds| Cost { records: 500_000, cpu: Duration::from_secs_f64(seconds) };
        let costs = [
            (Subject::Kmodtrail, cost(3.0)),
            (Subject::Librdkafka, cost(2.1)),  // 4.2 a million: 6.0 for ours
            (Subject::RsyslogDisk, cost(9.0)), // 18.0 a million: 9.0 for ours
        ];
        let figures = Figure::all(&costs);
        let ours = figures[0].target.expect("there are others");
        assert!((ours - 6.0).abs() < 1e-9, "{ours}");
        assert_eq!(figures[0].ok, Some(true));
        assert_eq!(figures[1].target, None);
    }
}
