//! From events to sinks.

use std::ops::Range;

use super::Print;
use crate::{
    config::{Config, Encoding},
    encode::Encoders,
    enrich::Enrich,
    event::{Event, Severity},
    resource::Resource,
    route::{Delivery, Routes},
    sink::{OpenError, Sink},
};

/// What was done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Events, the daemon's own among them.
    pub events: u64,
    /// Records delivered, over all sinks.
    pub delivered: u64,
    /// Records that wait for a sink, over all sinks.
    pub waiting: u64,
}

/// Everything after the sensor.
#[derive(Debug)]
pub struct Pipeline {
    enrich: Enrich,
    routes: Routes,
    encoders: Encoders,
    sinks: Vec<Sink>,
    print: Option<Print>,
    events: u64,
    scratch: Scratch,
}

/// Memory that is used again for every event.
#[derive(Debug, Default)]
struct Scratch {
    deliveries: Vec<Delivery>,
    encoded: Vec<u8>,
    done: Vec<(Encoding, Severity, Range<usize>)>,
}

impl Scratch {
    /// Where in `encoded` the event stands in this encoding; it is encoded once, however many sinks want it.
    fn encode(
        &mut self,
        encoders: &mut Encoders,
        encoding: Encoding,
        event: &Event,
        severity: Severity,
    ) -> Range<usize> {
        if let Some((.., range)) = self.done.iter().find(|(e, s, _)| (*e, *s) == (encoding, severity)) {
            return range.clone();
        }
        let begin = self.encoded.len();
        encoders.encode(encoding, event, severity, &mut self.encoded);
        let range = begin..self.encoded.len();
        self.done.push((encoding, severity, range.clone()));
        range
    }
}

impl Pipeline {
    /// Opens the sinks.
    ///
    /// # Errors
    /// Where one of them can't be opened.
    pub fn open(config: &Config, kernel_release: &str, print: Option<Print>) -> Result<Self, OpenError> {
        let mut resource = Resource::detect(kernel_release);
        for (name, value) in &config.resource.attributes {
            resource.set(name, value);
        }
        Ok(Self {
            enrich: Enrich::default(),
            routes: Routes::new(config),
            encoders: Encoders::new(&resource),
            sinks: config.sinks.iter().map(Sink::open).collect::<Result<_, _>>()?,
            print,
            events: 0,
            scratch: Scratch::default(),
        })
    }

    /// Enriches, routes and encodes the events, and tries to deliver them. `events` is empty afterwards.
    pub fn take(&mut self, events: &mut Vec<Event>) {
        self.enrich.enrich(events);
        for event in &*events {
            self.events += 1;
            let Scratch { deliveries, encoded, done } = &mut self.scratch;
            self.routes.route(event, deliveries);
            encoded.clear();
            done.clear();
            for i in 0..self.scratch.deliveries.len() {
                let Delivery { sink, severity } = self.scratch.deliveries[i];
                let sink = &mut self.sinks[sink.0];
                let range = self.scratch.encode(&mut self.encoders, sink.encoding(), event, severity);
                sink.push(&self.scratch.encoded[range]);
            }
            if let Some(print) = &mut self.print {
                print.push(event);
            }
        }
        events.clear();
        if let Some(print) = &mut self.print
            && !print.flush()
        {
            self.print = None;
        }
        self.deliver();
    }

    /// Tries to deliver what waits.
    pub fn deliver(&mut self) {
        for sink in &mut self.sinks {
            sink.deliver();
        }
    }

    /// A sink can't take what it has: nothing more may be taken.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.sinks.iter().any(Sink::is_stuck)
    }

    /// Opens again what may have been rotated away.
    pub fn reopen(&mut self) {
        for sink in &mut self.sinks {
            sink.reopen();
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            events: self.events,
            delivered: self.sinks.iter().map(Sink::delivered).sum(),
            waiting: self.sinks.iter().map(Sink::waiting).sum(),
        }
    }

    /// Names of the sinks for which records wait, and how many.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sinks.iter().map(|s| (s.name(), s.waiting())).filter(|&(_, waiting)| waiting > 0)
    }
}
