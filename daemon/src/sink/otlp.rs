//! Delivers to an OpenTelemetry collector, or whatever else takes OTLP logs.
//!
//! A record is `Delivered` when an OTLP server has said that it has it. It is `Refused` when the server has refused a request with this record
//! alone, for what is in it or for its length, and the fault is shown to be the record's: the same server takes other records in the same call, or
//! answers a request without any records in another way. In all other cases it is tried again: a server that is not there, that does not know us,
//! or that does not speak OTLP at all, can be repaired. A server that is broken (500, INTERNAL, UNKNOWN) is tried for ever too, though the
//! specification says not to. Where a connection breaks before the answer is there, the server may have the records; they are sent again, with the
//! same ids.
//!
//! `partial_success` tells how many records of a request were rejected, not which, and forbids to send the request again. Where all of them
//! were, all are refused. Where some were, all are refused too, with words that say so: each is then either with the server or in the
//! dead letters, or both, and nothing has been sent twice. So that it happens once, the next `SINGLY` records go one by one, where
//! "one of one" names the record.

mod answer;
mod channel;
mod connect;
mod connection;
mod grpc;
mod http;
mod secrets;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use hyper::body::Bytes;
use tokio::time::timeout;

pub(crate) use self::channel::{LastTrouble, channel};
pub use self::tls::ClientError;
use self::{
    answer::{Answer, Reason, Refusal},
    connection::Connection,
};
use super::{Limits, Outgoing, Trouble, Verdict};
use crate::{
    config::{self, SecretError, otlp::Protocol},
    encode::{otlp_json::OtlpJson, otlp_proto},
};

/// So many records go one by one after a server has rejected some records of a request.
const SINGLY: usize = 1000;
/// No server finds a request of so many bytes too long.
const SHORT: usize = 64 << 10;

/// Why a sink can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A secret can't be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Certificates or keys can't be read.
    #[error(transparent)]
    Certificates(#[from] ClientError),
}

/// See the module.
pub struct OtlpSink {
    name: String,
    config: config::OtlpSink,
    json: OtlpJson,
    /// It has answered before.
    connection: Option<Connection>,
    /// Most bytes of records in a request: what the configuration says, or less where the server takes less.
    most_bytes: usize,
    /// So many records are still to go one by one.
    singly: usize,
    /// What the server said of records that it took.
    warning: String,
}

impl std::fmt::Debug for OtlpSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpSink").field("name", &self.name).field("config", &self.config).finish_non_exhaustive()
    }
}

impl OtlpSink {
    /// Reads secrets and certificates, so that one that is not there is told at the start. It connects when there is something to deliver.
    ///
    /// # Errors
    /// Where one of them can't be read.
    pub fn open(name: &str, config: &config::OtlpSink) -> Result<Self, OpenError> {
        secrets::headers(config)?;
        config.proxy.as_ref().map(secrets::proxy_authorization).transpose()?;
        if config.endpoint.is_https() {
            tls::client(&config.tls, tls::HTTP1)?;
        }
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            json: OtlpJson::default(),
            connection: None,
            most_bytes: usize::try_from(config.max_batch_size.0).unwrap_or(usize::MAX),
            singly: 0,
            warning: String::new(),
        })
    }

    /// The most that one request may have. It changes: look before each batch.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        let records = if self.singly > 0 { 1 } else { self.config.max_batch_records as usize };
        Limits { records, bytes: self.most_bytes }
    }

    /// Sends these records, and says what became of each, in their order.
    pub async fn deliver(&mut self, records: &[Outgoing<'_>]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(records.len());
        let mut too_long = None;
        // the next one is the last
        let mut parts: Vec<_> = records.chunks(self.limits().records).rev().collect();
        while let Some(part) = parts.pop() {
            match self.send(part).await {
                Answer::Taken { rejected, message } => {
                    let verdict = self.taken(part.len(), rejected, message);
                    verdicts.resize(verdicts.len() + part.len(), verdict);
                }
                Answer::Refused(Refusal { reason: Reason::Length, why }) if bytes(part) <= SHORT => {
                    verdicts.resize(records.len(), Verdict::Retry(quota(&why)));
                    break;
                }
                Answer::Refused(_) if part.len() > 1 => {
                    too_long = Some(bytes(part));
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                }
                Answer::Refused(refusal) => {
                    let others = verdicts.contains(&Verdict::Delivered);
                    if !others && let Some(trouble) = self.excuse(&refusal).await {
                        verdicts.resize(records.len(), Verdict::Retry(trouble));
                        break;
                    }
                    verdicts.push(Verdict::Refused(refusal.why.into()));
                }
                Answer::Trouble(trouble) => {
                    verdicts.resize(records.len(), Verdict::Retry(trouble));
                    break;
                }
            }
        }
        if let Some(bytes) = too_long
            && verdicts.iter().all(|v| *v == Verdict::Delivered)
        {
            self.send_less(bytes / 2);
        }
        verdicts
    }

    /// Ends the connection.
    pub async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }

    async fn send(&mut self, records: &[Outgoing<'_>]) -> Answer {
        let request = self.request(records);
        loop {
            let (mut connection, used) = match self.connection.take() {
                Some(connection) => (connection, true),
                None => match Connection::open(&self.config).await {
                    Ok(connection) => (connection, false),
                    Err(e) => return Answer::Trouble(Trouble::new(e)),
                },
            };
            match timeout(self.config.timeout, connection.send(request.clone())).await {
                // trouble ends the connection: another server behind the name may do better, and so may new secrets
                Ok(Ok(answer @ Answer::Trouble(_))) => return answer,
                Ok(Ok(answer)) => {
                    self.connection = Some(connection);
                    return answer;
                }
                // servers end connections that are idle
                Ok(Err(broken)) if used && broken.unanswered => {}
                Ok(Err(broken)) => return Answer::Trouble(Trouble::new(broken.why)),
                Err(_) => {
                    let within = humantime::format_duration(self.config.timeout);
                    let why =
                        format!("no answer within {within} (timeout); allowed: a server that is faster, or more time");
                    return Answer::Trouble(Trouble::new(why));
                }
            }
        }
    }

    fn request(&mut self, records: &[Outgoing<'_>]) -> Bytes {
        let mut out = Vec::with_capacity(bytes(records));
        match self.config.protocol {
            Protocol::Grpc | Protocol::HttpProtobuf => {
                for part in records.chunk_by(|a, b| Arc::ptr_eq(a.resource, b.resource)) {
                    otlp_proto::request(part[0].resource, part.iter().map(|o| o.record.bytes), &mut out);
                }
            }
            Protocol::HttpJson => self.json.request(records.iter().map(|o| (o.resource, o.record)), &mut out),
        }
        out.into()
    }

    /// What is at fault where a record was refused alone and it is not the record. A server that wants no request of us, whatever is in it, does
    /// not want one without records either; by the specification it should take that.
    async fn excuse(&mut self, refusal: &Refusal) -> Option<Trouble> {
        match self.send(&[]).await {
            Answer::Taken { .. } => None,
            Answer::Refused(other) => (other == *refusal).then(|| no_otlp(&refusal.why)),
            Answer::Trouble(trouble) => Some(trouble),
        }
    }

    /// What became of so many records that the server took.
    fn taken(&mut self, records: usize, rejected: u64, message: String) -> Verdict {
        if rejected == 0 {
            self.singly = self.singly.saturating_sub(records);
            if !message.is_empty() && self.warning != message {
                tracing::warn!(sink = self.name, "the server takes the records and says: {message}");
                self.warning = message;
            }
            return Verdict::Delivered;
        }
        if rejected >= records as u64 {
            return Verdict::Refused(format!("the server rejected it: {message}").into());
        }
        self.singly = SINGLY;
        let why = format!(
            "the server rejected {rejected} of the {records} records of this request and does not say which: {message}"
        );
        tracing::warn!(
            sink = self.name,
            "{why}; all of them become dead letters, those that the server has too, and the next {SINGLY} records are sent one by one"
        );
        Verdict::Refused(why.into())
    }

    fn send_less(&mut self, bytes: usize) {
        self.most_bytes = bytes.max(SHORT).min(self.most_bytes);
        tracing::warn!(
            sink = self.name,
            "the server takes only part of a batch at once: from now on requests have at most {} bytes; allowed: a smaller max_batch_size, or a \
             server that takes longer requests",
            self.most_bytes
        );
    }
}

fn bytes(records: &[Outgoing<'_>]) -> usize {
    records.iter().map(|o| o.record.bytes.len()).sum()
}

fn no_otlp(why: &str) -> Trouble {
    Trouble::new(format_args!(
        "{why}; it says so to a request without records too; allowed: scheme, host, port and path of an OTLP receiver in `endpoint`, and a `protocol` and a \
         `compression` that it knows"
    ))
}

fn quota(why: &str) -> Trouble {
    Trouble::new(format_args!(
        "{why}; the request was short, so that must be a quota or a server that is too busy; allowed: more of the one, or less for the other"
    ))
}
