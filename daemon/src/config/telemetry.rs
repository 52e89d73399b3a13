//! `[telemetry.otlp]`

use std::time::Duration;

use super::{OtlpSink, otlp::Protocol, sink, table::Table, values::Span};

/// `[telemetry.otlp]`: the daemon's own metrics, to a collector by OTLP/gRPC, and its messages where that is wanted. What the metrics are is in
/// the documentation of `telemetry::metrics`.
///
/// It has the keys of a sink with `type = "otlp"` that say where it is and how to get there; `protocol` is "grpc".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Where they go.
    pub otlp: OtlpSink,
    /// `interval`, default "60s", "1s" to "1h": how often.
    pub interval: Duration,
    /// `logs`, default false: the daemon's messages, too.
    pub logs: bool,
}

const DEFAULT: Duration = Duration::from_secs(60);
const INTERVALS: (Span, Span) = (Span(Duration::from_secs(1)), Span(Duration::from_secs(3600)));

pub(super) fn read(mut table: Table<'_>) -> Option<Telemetry> {
    let found = table.table("otlp").and_then(of_otlp);
    table.finish();
    found
}

fn of_otlp(mut table: Table<'_>) -> Option<Telemetry> {
    let interval = table.between("interval", INTERVALS).map_or(DEFAULT, |Span(interval)| interval);
    let logs = table.optional("logs").unwrap_or(false);
    let place = table.place("protocol");
    let otlp = sink::otlp::read(&mut table);
    if otlp.as_ref().is_some_and(|otlp| otlp.protocol != Protocol::Grpc) {
        table.wrong(&place, "protocol", "they go by gRPC", "\"grpc\", or no such key");
    }
    table.finish();
    Some(Telemetry { otlp: otlp?, interval, logs })
}
