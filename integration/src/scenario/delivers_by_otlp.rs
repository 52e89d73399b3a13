//! The daemon and those who take OTLP.

use super::HostScenario;

pub(super) const SCENARIOS: &[HostScenario] = &[];
