//! Exporters that say it once where they can't deliver, and where they can again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};

use crate::sink::otlp::LastTrouble;

/// See the module.
#[derive(Debug)]
pub(super) struct Telling<E> {
    pub(super) exporter: E,
    /// What it delivers, and what becomes of what it can't.
    pub(super) what: (&'static str, &'static str),
    pub(super) to: String,
    /// Why there was no connection.
    pub(super) trouble: LastTrouble,
    told: Mutex<Option<String>>,
}

impl<E> Telling<E> {
    pub(super) fn new(exporter: E, what: (&'static str, &'static str), to: String, trouble: LastTrouble) -> Self {
        Self { exporter, what, to, trouble, told: Mutex::default() }
    }

    fn tell(&self, result: OTelSdkResult) -> OTelSdkResult {
        let why = result.as_ref().err().map(|error| self.trouble.take().unwrap_or_else(|| error.to_string()));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != why {
            let (Self { to, .. }, (what, then)) = (self, self.what);
            match &why {
                Some(why) => tracing::error!("the daemon's {what} can't be delivered to {to}: {why}; {then}"),
                None => tracing::info!("the daemon's {what} are delivered to {to} again"),
            }
            *told = why;
        }
        result
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Telling<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.tell(self.exporter.export(metrics).await)
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

impl<E: LogExporter> LogExporter for Telling<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.tell(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
