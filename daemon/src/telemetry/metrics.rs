//! The daemon's own metrics, to a collector by OTLP/gRPC: `[telemetry.otlp]`.
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

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Meter, MeterProvider as _},
};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use tokio::sync::oneshot;

use crate::{
    config::{Telemetry, otlp::Compression},
    event::names,
    resource::Resource,
    sink::otlp,
    status::Status,
};

/// So long the last metrics may take when the daemon ends.
const END: Duration = Duration::from_secs(2);
const ATTRIBUTE: &str = "kmodtrail.enrichment.attribute";
const SINK: &str = "kmodtrail.sink.name";
const OUTCOME: &str = "kmodtrail.sink.outcome";

/// How the daemon is, as it was told last.
type Latest = Arc<Mutex<Option<Status>>>;

/// What delivers them: a thread of its own, which nothing waits for.
#[derive(Debug)]
pub struct Metrics {
    latest: Latest,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Metrics {
    /// Starts the thread. The collector need not be there.
    ///
    /// # Errors
    /// Where there can't be another thread.
    pub fn start(config: Telemetry, resource: &Resource) -> io::Result<Self> {
        let latest = Latest::default();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (told, resource) = (Arc::clone(&latest), of(resource));
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            runtime.block_on(async {
                let provider = match provider(&config, resource, &told) {
                    Ok(provider) => provider,
                    Err(error) => return tracing::error!("the daemon's metrics can't be delivered: {error}"),
                };
                // whoever would stop it may be gone without a word
                let _ = stopped.await;
                // the last export needs this thread: the runtime is its connection's
                let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(END)).await;
                if let Ok(Err(error)) = ended {
                    tracing::debug!(%error, "the last metrics were not delivered");
                }
            });
        })?;
        Ok(Self { latest, stop, thread })
    }

    /// What is told from now on.
    pub fn update(&self, status: Status) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Delivers what was told last, and ends.
    pub fn stop(self) {
        let Self { stop, thread, .. } = self;
        // it may have ended already
        let _ = stop.send(());
        let _ = thread.join();
    }
}

fn of(resource: &Resource) -> opentelemetry_sdk::Resource {
    let attributes = resource.attributes().map(|(name, value)| KeyValue::new(name.to_owned(), value.to_owned()));
    opentelemetry_sdk::Resource::builder_empty().with_attributes(attributes).build()
}

fn provider(
    config: &Telemetry,
    resource: opentelemetry_sdk::Resource,
    latest: &Latest,
) -> Result<SdkMeterProvider, opentelemetry_otlp::ExporterBuildError> {
    let channel = otlp::channel(&config.otlp);
    let mut exporter = MetricExporter::builder()
        .with_tonic()
        .with_channel(channel.channel)
        .with_interceptor(channel.headers)
        .with_timeout(config.otlp.timeout);
    exporter = match config.otlp.compression {
        Compression::None => exporter,
        Compression::Gzip => exporter.with_compression(opentelemetry_otlp::Compression::Gzip),
        Compression::Zstd => exporter.with_compression(opentelemetry_otlp::Compression::Zstd),
    };
    let exporter = exporter.build()?;
    let exporter =
        Telling { exporter, trouble: channel.trouble, to: config.otlp.endpoint.to_string(), told: Mutex::default() };
    let reader = PeriodicReader::builder(exporter).with_interval(config.interval).build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
    instruments(&provider.meter("kmodtrail"), latest);
    Ok(provider)
}

/// Says it once where they can't be delivered, and where they can again.
#[derive(Debug)]
struct Telling {
    exporter: MetricExporter,
    /// Why there was no connection.
    trouble: otlp::LastTrouble,
    to: String,
    told: Mutex<Option<String>>,
}

impl PushMetricExporter for Telling {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        let why = result.as_ref().err().map(|error| self.trouble.take().unwrap_or_else(|| error.to_string()));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != why {
            match &why {
                Some(why) => tracing::error!(
                    "the daemon's metrics can't be delivered to {}: {why}; the next ones are tried again",
                    self.to
                ),
                None => tracing::info!("the daemon's metrics are delivered to {} again", self.to),
            }
            *told = why;
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Takes a value with its attributes.
type Observe<'a> = &'a mut dyn FnMut(u64, &[KeyValue]);

fn instruments(meter: &Meter, latest: &Latest) {
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
