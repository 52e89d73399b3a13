//! The container runtime interface: what the kubelet tells a runtime to do, and what the runtime says of it.
//!
//! The daemon's loop asks and goes on; the one who waits for a runtime is another thread. A record waits for an answer within a bound only,
//! and not at all while an earlier question is unanswered: a runtime that hangs costs the bound once until it is given up.

pub(super) mod api;
mod client;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use self::client::Client;
use super::{Found, Key};
use crate::{config, host::Host};

/// The desk where questions are handed in.
#[derive(Debug)]
pub(super) struct Cri {
    host: Host,
    sockets: Vec<PathBuf>,
    labels: Vec<String>,
    /// Begins with the first question: most hosts have no pods.
    thread: Option<Thread>,
    asked: HashSet<Key>,
    /// The runtime has answered everything that was asked before, and in time.
    prompt: bool,
}

#[derive(Debug)]
struct Thread {
    questions: tokio::sync::mpsc::Sender<Key>,
    answers: mpsc::Receiver<Answer>,
}

/// What is known of a container now, or why no more is.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) key: Key,
    pub(super) said: Result<Found, String>,
}

/// Questions that may wait.
const MOST: usize = 64;

impl Cri {
    pub(super) fn new(config: &config::Enrich, host: &Host) -> Option<Self> {
        let (host, sockets, labels) = (host.clone(), config.cri_sockets.clone(), config.pod_labels.clone());
        (!sockets.is_empty()).then(|| Self { host, sockets, labels, thread: None, asked: HashSet::new(), prompt: true })
    }

    /// Hands a question in, unless it is there already.
    pub(super) fn ask(&mut self, key: &Key) -> Result<(), &'static str> {
        if self.asked.contains(key) {
            return Ok(());
        }
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(
                start(Client::new(&self.host, &self.sockets, &self.labels)).map_err(|_| "no thread can be made")?,
            ),
        };
        thread.questions.try_send(key.clone()).map_err(|_| "too many questions wait for an answer")?;
        self.prompt = self.asked.is_empty();
        self.asked.insert(key.clone());
        Ok(())
    }

    /// Whether it is worth waiting for the answer to this question.
    pub(super) fn is_awaited(&self, key: &Key) -> bool {
        self.prompt && self.asked.contains(key)
    }

    /// Nobody was ever asked.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.thread.is_none()
    }

    /// An answer, if there is one.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.thread.as_ref()?.answers.try_recv().ok();
        self.heard(answer)
    }

    /// An answer, if one comes in time.
    pub(super) fn answer_until(&mut self, until: Instant) -> Option<Answer> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let answer = self.thread.as_ref()?.answers.recv_timeout(left).ok();
        self.prompt &= answer.is_some();
        self.heard(answer)
    }

    fn heard(&mut self, answer: Option<Answer>) -> Option<Answer> {
        if let Some(answer) = &answer {
            self.asked.remove(&answer.key);
        }
        answer
    }
}

fn start(client: Client) -> std::io::Result<Thread> {
    let (questions, asked) = tokio::sync::mpsc::channel(MOST);
    let (said, answers) = mpsc::channel();
    thread::Builder::new().name("cri".to_owned()).spawn(move || client.run(asked, &said))?;
    Ok(Thread { questions, answers })
}
