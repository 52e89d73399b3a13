//! What the daemon says of itself, to a collector by OTLP/gRPC: `[telemetry.otlp]`. A thread of its own delivers it, and nothing waits for it.

use std::{
    io,
    sync::{Arc, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    logs::SdkLoggerProvider,
    metrics::{PeriodicReader, SdkMeterProvider},
};
use tokio::sync::oneshot;

use super::{
    logs,
    metrics::{self, Latest},
    telling::Telling,
};
use crate::{
    config::{Telemetry, otlp::Compression},
    resource::Resource,
    sink,
    status::Status,
};

/// So long the last metrics may take when the daemon ends, and so long the last messages.
const END: Duration = Duration::from_secs(2);
const METRICS: (&str, &str) = ("metrics", "the next ones are tried again");
const MESSAGES: (&str, &str) = ("messages", "the next ones are tried again, these are only where they go anyway");

/// See the module.
#[derive(Debug)]
pub struct Export {
    latest: Latest,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Export {
    /// Starts the thread. The collector need not be there.
    ///
    /// # Errors
    /// Where there can't be another thread.
    pub fn start(config: Telemetry, resource: &Resource) -> io::Result<Self> {
        let latest = Latest::default();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (told, resource) = (Arc::clone(&latest), of(resource));
        let thread = thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            runtime.block_on(async {
                let (metrics, logs) = match providers(&config, resource, &told) {
                    Ok(providers) => providers,
                    Err(error) => {
                        return tracing::error!("the daemon's metrics and messages can't be delivered: {error}");
                    }
                };
                // whoever would stop it may be gone without a word
                let _ = stopped.await;
                logs::stop();
                // the last export needs this thread: the runtime is its connections'
                let ended = tokio::task::spawn_blocking(move || {
                    let logs = logs.map_or(Ok(()), |logs| logs.shutdown_with_timeout(END));
                    metrics.shutdown_with_timeout(END).and(logs)
                });
                if let Ok(Err(error)) = ended.await {
                    tracing::debug!(%error, "the last metrics or messages were not delivered");
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

/// Of the metrics, and of the messages where that is wanted.
fn providers(
    config: &Telemetry,
    resource: opentelemetry_sdk::Resource,
    latest: &Latest,
) -> Result<(SdkMeterProvider, Option<SdkLoggerProvider>), ExporterBuildError> {
    let exporter = telling(MetricExporter::builder().with_tonic(), config, METRICS, |builder| builder.build())?;
    let reader = PeriodicReader::builder(exporter).with_interval(config.interval).build();
    let metrics = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build();
    metrics::instruments(&metrics.meter("kmodtrail"), latest);
    let exporter = || telling(LogExporter::builder().with_tonic(), config, MESSAGES, |builder| builder.build());
    let logs = config.logs.then(exporter).transpose()?.map(|exporter| logs::start(exporter, resource));
    Ok((metrics, logs))
}

/// An exporter that gets to the collector as a sink does.
fn telling<B: WithExportConfig + WithTonicConfig, E>(
    builder: B,
    config: &Telemetry,
    what: (&'static str, &'static str),
    build: impl FnOnce(B) -> Result<E, ExporterBuildError>,
) -> Result<Telling<E>, ExporterBuildError> {
    let otlp = &config.otlp;
    let way = sink::otlp::channel(otlp);
    let builder = builder.with_channel(way.channel).with_interceptor(way.headers).with_timeout(otlp.timeout);
    let builder = match otlp.compression {
        Compression::None => builder,
        Compression::Gzip => builder.with_compression(opentelemetry_otlp::Compression::Gzip),
        Compression::Zstd => builder.with_compression(opentelemetry_otlp::Compression::Zstd),
    };
    Ok(Telling::new(build(builder)?, what, otlp.endpoint.to_string(), way.trouble))
}
