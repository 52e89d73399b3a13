//! Kafka: one message per record.
//!
//! A record is delivered when a delivery report says so, at acks=all and by an idempotent producer. librdkafka keeps the order of the
//! messages of one key and tries again by itself, for ever: while brokers are away [`KafkaSink::deliver`] waits, and when they are back what
//! was on its way is in the topic once. What a broker refuses comes back as a verdict, and from then on a new producer is used: it reads
//! secrets and certificates again, and knows nothing of a topic that was missing or forbidden. Only then, and where the process ends, a
//! record can be in the topic twice, with the same log.record.uid.

mod message;
mod producer;
mod reports;
#[cfg(test)]
mod tests;
mod words;

use std::{sync::Arc, time::Duration};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::BaseRecord,
};
use tokio::time::sleep;

use self::{message::Messages, producer::Producer, reports::Reports};
use super::{Health, Limits, OpenError, Outgoing, Trouble, Verdict};
use crate::config::{self, Encoding};

/// A sink with `type = "kafka"`.
pub struct KafkaSink {
    name: String,
    config: config::KafkaSink,
    health: Health,
    messages: Messages,
    /// `None` after trouble: the next batch begins with a new one.
    producer: Option<Producer>,
    /// It has been said that requests are too long.
    warned: bool,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").field("config", &self.config).finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// Records of a batch. More would not make requests longer: those end at `batch_size`.
    const LIMITS: Limits = Limits { records: 10_000, bytes: 4 << 20 };
    /// What is around the messages of a request, at most: its head, with the names of client and topic.
    const REQUEST: usize = 1 << 10;
    /// How often it is tried to send where the queue is full and nothing is on its way.
    const FULL: u32 = 1000;

    /// Makes the producer. Brokers need not be there.
    ///
    /// # Errors
    /// Where librdkafka does not take the configuration, or a secret or certificate can't be read.
    pub fn open(name: &str, config: &config::KafkaSink, encoding: Encoding, health: Health) -> Result<Self, OpenError> {
        let messages = Messages::new(config, encoding);
        let name = name.to_owned();
        let mut sink = Self { name, config: config.clone(), health, messages, producer: None, warned: false };
        match sink.new_producer() {
            Ok(producer) => sink.producer = Some(producer),
            Err(why) => return Err(OpenError { sink: sink.name, why }),
        }
        Ok(sink)
    }

    /// How much is sent at once.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Self::LIMITS
    }

    /// Sends these records, and waits until it is known what became of each. While no broker can be reached that is never: whoever
    /// must stop drops the future, and the producer with it, which leaves it open what became of them.
    pub async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        let producer = match self.producer.take().map_or_else(|| self.new_producer(), Ok) {
            Ok(producer) => producer,
            Err(why) => return vec![Verdict::Retry(Trouble::new(why)); records.len()],
        };
        let reports = Arc::clone(producer.reports());
        reports.begin(records.len());
        // what is left after a wave follows in the next one, and so do the halves of what a broker refused as a whole
        let mut waves = vec![(0..records.len()).collect::<Vec<_>>()];
        let mut given_up = None;
        let mut halved = false;
        let mut full = 0;
        while let Some(mut wave) = waves.pop() {
            let sent = self.send(&producer, &reports, records, &wave);
            if sent == 0 && !wave.is_empty() && full < Self::FULL {
                // a report comes a moment before librdkafka has room again
                full += 1;
                sleep(Duration::from_millis(1)).await;
                waves.push(wave);
                continue;
            }
            full = 0;
            if sent < wave.len() {
                // a message for which there is no room although there is no other has its say, too
                waves.push(wave.split_off(sent.max(1)));
            }
            if let Err(why) = reports.complete(&self.health).await {
                given_up = Some(why);
                break;
            }
            // a broker judges whole batches: the message that is to blame is found by halves
            let mut suspects = reports.suspects(&wave);
            if let [index] = suspects[..] {
                reports.condemn(index);
            } else if !suspects.is_empty() {
                let second = suspects.split_off(suspects.len() / 2);
                waves.extend([second, suspects]);
                halved = true;
            }
        }
        let verdicts = reports.verdicts(given_up, |index| self.messages.topic(&records[index]));
        if halved && !self.warned && verdicts.iter().all(|v| *v == Verdict::Delivered) {
            self.warned = true;
            tracing::warn!(
                sink = self.name, batch_size = %self.config.batch_size,
                "a broker refused a request as too long and took its messages in shorter ones: set batch_size below max.message.bytes of \
                 the topic, then it need not"
            );
        }
        if !verdicts.iter().any(|v| matches!(v, Verdict::Retry(_))) {
            self.producer = Some(producer);
        }
        verdicts
    }

    /// Ends it. What is on its way is given up.
    pub async fn close(mut self) {
        if let Some(producer) = self.producer.take() {
            producer.end().await;
        }
    }

    /// Puts the messages of a wave into librdkafka's queue, as many as fit into one request. Gives how many those are.
    ///
    /// More would not be faster: of an idempotent producer librdkafka (2.12, rd_kafka_toppar_producer_serve) has one request per partition
    /// on its way, and while there is enough for another its thread does not sleep, however long the broker takes to answer.
    fn send(&mut self, producer: &Producer, reports: &Reports, records: &[Outgoing<'_>], wave: &[usize]) -> usize {
        let mut room = usize::try_from(self.config.batch_size.0).unwrap_or(usize::MAX).saturating_sub(Self::REQUEST);
        reports.expect(wave.len());
        for (position, &index) in wave.iter().enumerate() {
            let message = self.messages.make(&records[index]);
            match room.checked_sub(message.size()) {
                Some(left) => room = left,
                None if position == 0 => room = 0,
                None => {
                    reports.expect_not(wave.len() - position);
                    return position;
                }
            }
            let mut record = BaseRecord::with_opaque_to(message.topic, index).payload(message.payload);
            record.key = message.key;
            let Err((error, _)) = producer.send(record.headers(message.headers)) else { continue };
            match error {
                KafkaError::MessageProduction(code @ Code::QueueFull) => {
                    reports.expect_not(wave.len() - position);
                    reports.fail(index, code);
                    return position;
                }
                error => reports.report(index, Err(error.rdkafka_error_code().unwrap_or(Code::Unknown))),
            }
        }
        wave.len()
    }

    fn new_producer(&self) -> Result<Producer, String> {
        let native = self.config.native().map_err(|e| e.to_string())?;
        let token = match &self.config.sasl {
            Some(config::kafka::Sasl::OauthBearer { token }) => Some(token.clone()),
            _ => None,
        };
        Producer::new(&native, Reports::new(self.health.clone(), token)).map_err(|e| e.to_string())
    }
}
