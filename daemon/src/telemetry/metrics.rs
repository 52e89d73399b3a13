//! The daemon's own metrics.
//!
//! | metric | unit | says |
//! |---|---|---|
//! | `kmodtrail.kernel_records` | `{record}` | records that the kernel's side made |
//! | `kmodtrail.kernel_records.lost` | `{record}` | those that did not fit into a ring buffer |
//! | `kmodtrail.events` | `{event}` | events since the start, the daemon's own among them |
//! | `kmodtrail.enrichment.missing` | `{attribute}` | attributes that were not to be had, by `kmodtrail.enrichment.attribute` |
//! | `kmodtrail.sink.records` | `{record}` | what became of the records, by `kmodtrail.sink.name` and `kmodtrail.sink.outcome` (delivered, routed_nowhere, dropped: then also `kmodtrail.dropped.reason`, `.route` and `.event`) |
//! | `kmodtrail.sink.pending` | `{record}` | records that wait, by `kmodtrail.sink.name` |
//! | `kmodtrail.sink.failures` | `{attempt}` | what was tried in vain, by `kmodtrail.sink.name` |
//! | `kmodtrail.sink.works` | `1` | 0 where it is in trouble, by `kmodtrail.sink.name` |
//! | `kmodtrail.spool.size`, `kmodtrail.spool.limit` | `By` | the spool's files, and what they may have |
//! | `kmodtrail.spool.damaged` | `{record}` | records that were damaged on the disk |
//! | `kmodtrail.dead_letters.size` | `By` | refused records |

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{KeyValue, metrics::Meter};

use crate::{event::names, status::Status};

const ATTRIBUTE: &str = "kmodtrail.enrichment.attribute";
const SINK: &str = "kmodtrail.sink.name";
const OUTCOME: &str = "kmodtrail.sink.outcome";

/// How the daemon is, as it was told last.
pub(super) type Latest = Arc<Mutex<Option<Status>>>;

/// Takes a value with its attributes.
type Observe<'a> = &'a mut dyn FnMut(u64, &[KeyValue]);

/// Each looks at what was told last.
pub(super) fn instruments(meter: &Meter, latest: &Latest) {
    let counter = |name, unit, description, of: fn(&Status, Observe<'_>)| {
        let latest = Arc::clone(latest);
        let counter = meter.u64_observable_counter(name).with_unit(unit).with_description(description);
        counter
            .with_callback(move |observer| look(&latest, of, &mut |value, with| observer.observe(value, with)))
            .build();
    };
    let gauge = |name, unit, description, of: fn(&Status, Observe<'_>)| {
        let latest = Arc::clone(latest);
        let gauge = meter.u64_observable_gauge(name).with_unit(unit).with_description(description);
        gauge
            .with_callback(move |observer| look(&latest, of, &mut |value, with| observer.observe(value, with)))
            .build();
    };
    counter("kmodtrail.kernel_records", "{record}", "Records that the kernel's side made", |status, observe| {
        observe(status.totals.kernel_records, &[]);
    });
    counter(
        "kmodtrail.kernel_records.lost",
        "{record}",
        "Those that did not fit into a ring buffer",
        |status, observe| {
            observe(status.totals.lost, &[]);
        },
    );
    counter("kmodtrail.events", "{event}", "Events since the start", |status, observe| {
        observe(status.pipeline.events, &[]);
    });
    counter(names::MISSING, "{attribute}", "Attributes that were not to be had", |status, observe| {
        for (attribute, &count) in &status.pipeline.missing {
            observe(count, &[KeyValue::new(ATTRIBUTE, attribute.clone())]);
        }
    });
    counter("kmodtrail.sink.records", "{record}", "What became of the records", outcomes);
    counter("kmodtrail.sink.failures", "{attempt}", "What was tried in vain", |status, observe| {
        each_sink(status, |sink, name| observe(sink.health.failures, &[name]));
    });
    gauge("kmodtrail.sink.pending", "{record}", "Records that wait", |status, observe| {
        each_sink(status, |sink, name| observe(sink.ledger.as_ref().map_or(0, |ledger| ledger.pending), &[name]));
    });
    gauge("kmodtrail.sink.works", "1", "0 where the sink is in trouble", |status, observe| {
        each_sink(status, |sink, name| observe(sink.health.trouble.is_none().into(), &[name]));
    });
    gauge("kmodtrail.spool.size", "By", "The spool's files", |status, observe| {
        observe(status.pipeline.spool.bytes, &[]);
    });
    gauge("kmodtrail.spool.limit", "By", "What the spool's files may have", |status, observe| {
        observe(status.pipeline.spool.max_bytes, &[]);
    });
    counter("kmodtrail.spool.damaged", "{record}", "Records that were damaged on the disk", |status, observe| {
        observe(status.pipeline.spool.damaged_entries, &[]);
    });
    gauge("kmodtrail.dead_letters.size", "By", "Refused records", |status, observe| {
        observe(status.pipeline.dead_letters.bytes, &[]);
    });
}

fn look(latest: &Latest, of: fn(&Status, Observe<'_>), observe: Observe<'_>) {
    if let Some(status) = &*latest.lock().unwrap_or_else(PoisonError::into_inner) {
        of(status, observe);
    }
}

fn each_sink(status: &Status, mut look: impl FnMut(&crate::status::Sink, KeyValue)) {
    status.pipeline.sinks.iter().for_each(|sink| look(sink, KeyValue::new(SINK, sink.name.clone())));
}

fn outcomes(status: &Status, observe: Observe<'_>) {
    each_sink(status, |sink, name| {
        let Some(ledger) = &sink.ledger else { return };
        let outcome = |outcome| [name.clone(), KeyValue::new(OUTCOME, outcome)];
        observe(ledger.delivered, &outcome("delivered"));
        observe(ledger.routed_nowhere, &outcome("routed_nowhere"));
        for dropped in &ledger.dropped {
            let [name, outcome] = outcome("dropped");
            let text = |name: &'static str, value: &str| KeyValue::new(name, value.to_owned());
            let key = &dropped.key;
            let reason = text(names::DROPPED_REASON, key.reason.name());
            let (route, event) = (text(names::DROPPED_ROUTE, &key.route), text(names::DROPPED_EVENT, &key.event));
            observe(dropped.count, &[name, outcome, reason, route, event]);
        }
    });
}
