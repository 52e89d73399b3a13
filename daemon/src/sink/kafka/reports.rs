//! What librdkafka says: delivery reports, errors of connections, log lines.
//!
//! All of it comes on the producer's polling thread.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{DeliveryResult, NoCustomPartitioner, ProducerContext},
};
use tokio::{sync::Notify, time::timeout};

use super::words;
use crate::{
    config::Secret,
    sink::{Health, Trouble, Verdict},
};

/// The reports of one batch after the other.
pub(super) struct Reports {
    state: Mutex<State>,
    /// The last report that was expected has come.
    complete: Notify,
    health: Health,
    token: Option<Secret>,
}

#[derive(Default)]
struct State {
    /// By the record's place in the batch.
    outcomes: Vec<Option<Outcome>>,
    /// Reports that are still to come.
    expected: usize,
    /// Reports that have come, since the beginning of time.
    arrived: u64,
    /// What is known of connections that do not work, since something worked the last time.
    connection: Option<Connection>,
}

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Delivered,
    Failed(Code),
    /// It failed, alone, by something that will not change.
    Condemned(Code),
}

/// Why a connection does not work.
#[derive(Clone, PartialEq, Eq)]
struct Connection {
    why: Arc<str>,
    weight: Weight,
}

/// How much is known of it. The first words of a weight stay: with several brokers they would change all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Something to go by where nothing else is told.
    Hint,
    /// librdkafka calls it an error.
    Error,
    /// Somebody must change a secret or certificate, which only a new producer reads.
    Security,
}

/// Without a report for so long something is wrong that librdkafka has told.
const STALLED: Duration = Duration::from_millis(1500);
/// Without a report for so long something is wrong that nobody has told.
const SILENT: Duration = Duration::from_secs(10);
/// How often a token is read: librdkafka asks for the next one when four fifths of its life are over.
const TOKEN_LIFE: Duration = Duration::from_secs(75);

impl Reports {
    pub(super) fn new(health: Health, token: Option<Secret>) -> Self {
        Self { state: Mutex::default(), complete: Notify::new(), health, token }
    }

    /// A batch of so many records begins.
    pub(super) fn begin(&self, records: usize) {
        let mut state = self.state();
        state.outcomes.clear();
        state.outcomes.resize(records, None);
        state.expected = 0;
    }

    /// So many messages are about to be sent.
    pub(super) fn expect(&self, messages: usize) {
        self.state().expected += messages;
    }

    /// So many of them are not sent now.
    pub(super) fn expect_not(&self, messages: usize) {
        self.state().expected -= messages;
    }

    /// The message of a record could not be sent.
    pub(super) fn fail(&self, index: usize, code: Code) {
        self.state().outcomes[index] = Some(Outcome::Failed(code));
    }

    /// What became of the message of a record.
    pub(super) fn report(&self, index: usize, result: Result<(), Code>) {
        let mut state = self.state();
        let outcome = match result {
            Ok(()) => Outcome::Delivered,
            Err(code) => Outcome::Failed(code),
        };
        if outcome == Outcome::Delivered {
            state.connection = None;
        }
        if let Some(known) = state.outcomes.get_mut(index) {
            *known = Some(outcome);
        }
        state.arrived += 1;
        state.expected = state.expected.saturating_sub(1);
        if state.expected == 0 {
            drop(state);
            self.complete.notify_one();
        }
    }

    /// Waits for all reports that are expected. Where they don't come it says so in `health`, and waits on.
    ///
    /// # Errors
    /// Why none can come any more from this producer.
    pub(super) async fn complete(&self, health: &Health) -> Result<(), Arc<str>> {
        let mut arrived = 0;
        let mut since = Instant::now();
        let mut told: Option<Arc<str>> = None;
        loop {
            let stalled = {
                let state = self.state();
                if state.expected == 0 {
                    return Ok(());
                }
                if state.arrived != arrived {
                    (arrived, since, told) = (state.arrived, Instant::now(), None);
                }
                match &state.connection {
                    Some(connection) if since.elapsed() >= STALLED => Some(connection.clone()),
                    None if since.elapsed() >= SILENT => {
                        Some(Connection { why: words::silence(SILENT), weight: Weight::Hint })
                    }
                    _ => None,
                }
            };
            if let Some(Connection { why, weight }) = stalled {
                if weight == Weight::Security {
                    return Err(why);
                }
                if told.as_ref() != Some(&why) {
                    health.trouble(&why);
                    told = Some(why);
                }
            }
            // either way the state is looked at again
            let _complete = timeout(STALLED / 5, self.complete.notified()).await;
        }
    }

    /// Of these records those that a broker refused by what may be to blame on another one in their batch.
    pub(super) fn suspects(&self, wave: &[usize]) -> Vec<usize> {
        let state = self.state();
        let is = |outcome| matches!(outcome, Some(Outcome::Failed(code)) if words::condemns(code));
        wave.iter().copied().filter(|&i| is(state.outcomes[i])).collect()
    }

    /// This record is to blame.
    pub(super) fn condemn(&self, index: usize) {
        if let Some(Some(outcome)) = self.state().outcomes.get_mut(index)
            && let Outcome::Failed(code) = *outcome
        {
            *outcome = Outcome::Condemned(code);
        }
    }

    /// What became of the batch; `given_up`: why it is not known of the rest. `topic` gives a record's topic.
    pub(super) fn verdicts(&self, given_up: Option<Arc<str>>, topic: impl Fn(usize) -> String) -> Vec<Verdict> {
        let state = self.state();
        let unknown = Trouble { why: given_up.unwrap_or_else(|| words::UNKNOWN.into()), after: None };
        // many records fail alike
        let mut said: Vec<(Code, String, Arc<str>)> = Vec::new();
        let verdict = |(index, outcome): (usize, &Option<Outcome>)| match *outcome {
            Some(Outcome::Delivered) => Verdict::Delivered,
            None => Verdict::Retry(unknown.clone()),
            Some(Outcome::Failed(code) | Outcome::Condemned(code)) => {
                let topic = topic(index);
                let known = said.iter().find(|(c, t, _)| *c == code && *t == topic).map(|(.., why)| Arc::clone(why));
                let why = known.unwrap_or_else(|| {
                    let connection = state.connection.as_ref().map(|c| &*c.why);
                    let why: Arc<str> = words::of_message(code, &topic, connection).into();
                    said.push((code, topic, Arc::clone(&why)));
                    why
                });
                if matches!(outcome, Some(Outcome::Condemned(_))) {
                    Verdict::Refused(why)
                } else {
                    Verdict::Retry(Trouble { why, after: None })
                }
            }
        };
        state.outcomes.iter().enumerate().map(verdict).collect()
    }

    /// A connection does not work. Where that will not change by itself nobody has to wait for the news.
    fn learn(&self, code: Code, reason: &str, weight: Weight) {
        let weight = if words::is_about_security(code, reason) { Weight::Security } else { weight };
        let mut state = self.state();
        if state.connection.as_ref().is_some_and(|known| known.weight >= weight) {
            return;
        }
        let why: Arc<str> = words::of_connection(code, reason).into();
        state.connection = Some(Connection { why: Arc::clone(&why), weight });
        let waiting = state.expected > 0;
        drop(state);
        if weight == Weight::Security && waiting {
            self.health.trouble(&why);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let code = |error: &KafkaError| error.rdkafka_error_code().unwrap_or(Code::Unknown);
        self.report(index, result.as_ref().map(drop).map_err(|(error, _)| code(error)));
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
        // some failures are only logged
        if facility == "FAIL" {
            self.learn(Code::BrokerTransportFailure, words::without_thread(message), Weight::Hint);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        // that all brokers are down says less than why one of them is
        self.learn(code, reason, if code == Code::AllBrokersDown { Weight::Hint } else { Weight::Error });
    }

    fn stats_raw(&self, statistics: &[u8]) {
        tracing::debug!(target: "librdkafka", "{}", String::from_utf8_lossy(statistics));
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = self.token.as_ref().ok_or("no token is configured")?.reveal()?;
        let ends = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? + TOKEN_LIFE;
        let lifetime_ms = ends.as_millis().try_into()?;
        // the token says who it is; the name is for librdkafka's own log
        Ok(OAuthToken { token: token.expose().to_owned(), principal_name: "kmodtrail".to_owned(), lifetime_ms })
    }
}
