//! A server of OTLP that does what a real one can't be made to do, request by request.
//!
//! gRPC and HTTP come in by the same port. What the script does not say is accepted.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::Code;

use super::{Protocol, connection};
use crate::services::{runtime, wait_for};

/// What to answer to one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is accepted.
    Accept,
    /// It is accepted but for its first records, with this text (`partial_success`).
    AcceptBut {
        /// How many are not.
        rejected: usize,
        /// Why; where none are rejected it is a warning.
        message: &'static str,
    },
    /// Nothing of it is accepted.
    Refuse(Refusal),
    /// It is accepted, and told only after [`ScriptedServer::release`].
    AcceptLate,
    /// It is accepted, and the connection ends in the middle of the answer that says so.
    AcceptAndCut,
}

/// A refusal, as each of the protocols says it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// gRPC's word for it.
    pub(crate) code: Code,
    /// HTTP's number for it.
    pub(crate) status: u16,
    /// When to try again (RetryInfo, `Retry-After`).
    pub(crate) retry_after: Option<Duration>,
    /// The server's words.
    pub(crate) message: &'static str,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// When it came.
    pub(crate) at: Instant,
    /// How it came.
    pub(crate) protocol: Protocol,
    /// Its headers, or gRPC's metadata, by lower-case name.
    pub(crate) headers: Vec<(String, String)>,
    /// What it says.
    pub(crate) request: ExportLogsServiceRequest,
}

/// See the module. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ScriptedServer {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// What connections share.
#[derive(Debug, Default)]
pub(super) struct State {
    story: Mutex<Story>,
    released: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Story {
    script: VecDeque<Answer>,
    connections: usize,
    received: Vec<Received>,
    /// A record in each.
    accepted: Vec<ResourceLogs>,
}

/// What a connection has to tell its client.
pub(super) enum Verdict {
    Accepted { response: ExportLogsServiceResponse, cut: bool },
    Refused(Refusal),
}

impl Refusal {
    /// Too much at once (RESOURCE_EXHAUSTED, 429).
    pub(crate) const fn exhausted(retry_after: Option<Duration>) -> Self {
        Self { code: Code::ResourceExhausted, status: 429, retry_after, message: "too much at once" }
    }

    /// Not now (UNAVAILABLE, 503).
    pub(crate) const fn unavailable(retry_after: Option<Duration>) -> Self {
        Self { code: Code::Unavailable, status: 503, retry_after, message: "not now" }
    }

    /// Never (INVALID_ARGUMENT, 400).
    pub(crate) const fn invalid(message: &'static str) -> Self {
        Self { code: Code::InvalidArgument, status: 400, retry_after: None, message }
    }
}

impl Received {
    pub(super) fn now(protocol: Protocol, headers: Vec<(String, String)>, request: ExportLogsServiceRequest) -> Self {
        Self { at: Instant::now(), protocol, headers, request }
    }
}

impl ScriptedServer {
    /// Starts one that accepts everything.
    ///
    /// # Errors
    /// When there is no port.
    pub(crate) fn start() -> Result<Self> {
        Self::start_at(0)
    }

    /// As [`Self::start`], at a port that clients know already.
    ///
    /// # Errors
    /// When somebody has it.
    pub(crate) fn start_at(port: u16) -> Result<Self> {
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).context("listening")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let task = runtime().spawn(connection::accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, task })
    }

    /// Where it is: `http://127.0.0.1:4317`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds to the script: one answer for each request to come.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.story().script.extend(answers);
    }

    /// Gives the answers that are held back.
    pub(crate) fn release(&self) {
        self.state.released.send_modify(|times| *times += 1);
    }

    /// How often somebody has connected.
    pub(crate) fn connections(&self) -> usize {
        self.state.story().connections
    }

    /// All requests so far, refused ones too.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.story().received.clone()
    }

    /// All records that were accepted.
    pub(crate) fn accepted(&self) -> Vec<LogRecord> {
        let scopes = self.accepted_since(0).into_iter().flat_map(|resource| resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records).collect()
    }

    /// Those after the first ones, each with its resource and scope.
    pub(crate) fn accepted_since(&self, first: usize) -> Vec<ResourceLogs> {
        self.state.story().accepted[first..].to_vec()
    }

    /// Waits until at least this many requests came.
    ///
    /// # Errors
    /// When they don't.
    pub(crate) fn wait_for_requests(&self, number: usize) -> Result<Vec<Received>> {
        wait_for("requests of OTLP", || Ok(Some(self.received()).filter(|all| all.len() >= number)))
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
        self.release();
    }
}

impl State {
    /// Does with a request what the script says.
    pub(super) async fn take(&self, received: Received) -> Verdict {
        let mut released = self.released.subscribe();
        let answer = self.story().take(received);
        let accepted = |response, cut| Verdict::Accepted { response, cut };
        match answer {
            Answer::Accept => accepted(ExportLogsServiceResponse::default(), false),
            Answer::AcceptAndCut => accepted(ExportLogsServiceResponse::default(), true),
            Answer::AcceptLate => {
                _ = released.changed().await; // the sender is there as long as we are
                accepted(ExportLogsServiceResponse::default(), false)
            }
            Answer::AcceptBut { rejected, message } => {
                let rejected_log_records = rejected.try_into().unwrap_or(i64::MAX);
                let partial = ExportLogsPartialSuccess { rejected_log_records, error_message: message.to_owned() };
                accepted(ExportLogsServiceResponse { partial_success: Some(partial) }, false)
            }
            Answer::Refuse(refusal) => Verdict::Refused(refusal),
        }
    }

    pub(super) fn connected(&self) {
        self.story().connections += 1;
    }

    fn story(&self) -> std::sync::MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Story {
    fn take(&mut self, received: Received) -> Answer {
        let answer = self.script.pop_front().unwrap_or(Answer::Accept);
        let rejected = match &answer {
            Answer::AcceptBut { rejected, .. } => *rejected,
            Answer::Refuse(_) => usize::MAX,
            Answer::Accept | Answer::AcceptLate | Answer::AcceptAndCut => 0,
        };
        let resources = received.request.resource_logs.iter();
        let scopes = resources.flat_map(|resource| resource.scope_logs.iter().map(move |scope| (resource, scope)));
        let alone = scopes.flat_map(|(resource, scope)| {
            scope.log_records.iter().map(move |record| {
                let (schema_url, log_records) = (scope.schema_url.clone(), vec![record.clone()]);
                let scope = ScopeLogs { scope: scope.scope.clone(), log_records, schema_url };
                let schema_url = resource.schema_url.clone();
                ResourceLogs { resource: resource.resource.clone(), scope_logs: vec![scope], schema_url }
            })
        });
        self.accepted.extend(alone.skip(rejected));
        self.received.push(received);
        answer
    }
}
