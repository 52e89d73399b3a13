//! The OpenTelemetry Collector, from OTLP to Kafka, with its queue on disk.

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;

use super::{Cost, Work};
use crate::services::{
    collector::{Collector, Pipeline},
    otlp::{Protocol, client},
    runtime,
};

/// `batch` records in each request, and so in each message.
pub(super) fn measure(work: &Work<'_>, batch: usize) -> Result<Cost> {
    let pipeline = Pipeline::otlp().export_kafka(work.brokers(), work.topic);
    let collector = Collector::start(work.testbed.cache(), work.pki, &[pipeline])?;
    let endpoint = collector.endpoint(0, Protocol::Grpc);
    let records: Vec<_> = work.records.take(work.number).collect();
    let requests = records.chunks(batch);
    let messages = requests.len();
    let before = collector.cpu_time()?;
    let sent = runtime().block_on(async {
        let mut client = LogsServiceClient::connect(endpoint).await?;
        for request in requests {
            client.export(client::request(request)).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    let delivered = sent.and_then(|()| work.wait_for_messages(messages)).and_then(|()| collector.cpu_time());
    let cpu = delivered.with_context(|| collector.log().evidence())? - before;
    Ok(Cost { records: work.number, cpu })
}
