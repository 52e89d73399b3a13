//! The daemon's messages, to a collector by OTLP/gRPC, beside where they go anyway: `[telemetry.otlp] logs = true`.
//!
//! They are for whoever looks at many hosts. What can't be delivered is dropped: the journal has it.

use std::sync::OnceLock;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    Resource,
    logs::{LogExporter, SdkLogger, SdkLoggerProvider},
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, Registry, filter::Targets, reload};

type Bridge = Option<OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>>;

/// Where messages begin to be delivered: when the configuration is known they are written already.
static PLACE: OnceLock<reload::Handle<Bridge, Registry>> = OnceLock::new();

/// Delivers nothing until [`start`].
pub(super) fn layer(level: LevelFilter) -> impl Layer<Registry> {
    let (layer, handle) = reload::Layer::new(None);
    // the second call has no subscriber either
    let _ = PLACE.set(handle);
    // what delivers them has messages of its own
    layer.with_filter(Targets::new().with_target(env!("CARGO_PKG_NAME"), level))
}

/// From now on they are delivered.
pub(super) fn start(exporter: impl LogExporter + 'static, resource: Resource) -> SdkLoggerProvider {
    let provider = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
    set(Some(OpenTelemetryTracingBridge::new(&provider)));
    provider
}

/// From now on they are not.
pub(super) fn stop() {
    set(None);
}

fn set(bridge: Bridge) {
    if let Some(Err(error)) = PLACE.get().map(|place| place.reload(bridge)) {
        tracing::error!("the daemon's messages can't be delivered: {error}");
    }
}
