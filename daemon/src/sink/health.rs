//! Whether a sink works: for its log messages, `kmodtrail status` and the metrics.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::Serialize;

/// A handle that the sink, its worker and whoever shows it share.
#[derive(Debug, Clone)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sink: String,
    state: Mutex<State>,
}

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct State {
    /// Why it does not work now; `None`: it does, or has not been tried.
    pub trouble: Option<String>,
    /// Since when.
    #[serde(serialize_with = "serialize_time", skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
    /// How often something was tried in vain.
    pub failures: u64,
}

impl Health {
    /// Of the sink of that name.
    #[must_use]
    pub fn new(sink: &str) -> Self {
        Self(Arc::new(Shared { sink: sink.to_owned(), state: Mutex::default() }))
    }

    /// Something did not work. `why` ends with what to do. It is logged when trouble begins and when it becomes another one.
    pub fn trouble(&self, why: &str) {
        let mut state = self.lock();
        state.failures += 1;
        if state.trouble.as_deref() == Some(why) {
            return;
        }
        state.since.get_or_insert_with(SystemTime::now);
        state.trouble = Some(why.to_owned());
        drop(state);
        tracing::error!(sink = self.0.sink, "sink does not work: {why}; its records are kept and tried again");
    }

    /// Something was delivered. It is logged where that ends trouble.
    pub fn works(&self) {
        let mut state = self.lock();
        if state.trouble.take().is_some() {
            state.since = None;
            drop(state);
            tracing::info!(sink = self.0.sink, "sink works again");
        }
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // it is whole at every moment
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serialize_time<S: serde::Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_lasts_until_something_works_and_its_beginning_is_kept() {
        let health = Health::new("siem");
        assert_eq!(health.state(), State::default());
        health.trouble("nobody there");
        let first = health.state();
        health.trouble("nobody there");
        health.trouble("wrong password");
        let state = health.state();
        assert_eq!((state.trouble.as_deref(), state.since, state.failures), (Some("wrong password"), first.since, 3));
        assert!(first.since.is_some());
        health.works();
        assert_eq!(health.state(), State { trouble: None, since: None, failures: 3 });
    }
}
