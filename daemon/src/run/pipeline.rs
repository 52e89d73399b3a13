//! From events to sinks.

use std::sync::Arc;

use super::Print;
use crate::{
    config::Config,
    encode::Encoder,
    enrich::Enrich,
    event::Event,
    record::{self, Record},
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
    writer: record::Writer,
    resource: Arc<[u8]>,
    sinks: Vec<(Sink, Encoder)>,
    print: Option<Print>,
    events: u64,
    scratch: Scratch,
}

/// Memory that is used again for every event.
#[derive(Debug, Default)]
struct Scratch {
    deliveries: Vec<Delivery>,
    record: Vec<u8>,
    encoded: Vec<u8>,
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
            writer: record::Writer::default(),
            resource: record::resource(&resource).into(),
            sinks: config.sinks.iter().map(|s| Ok((Sink::open(s)?, s.encoding.into()))).collect::<Result<_, _>>()?,
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
            let Scratch { deliveries, record, encoded } = &mut self.scratch;
            self.routes.route(event, deliveries);
            record.clear();
            self.writer.write(event, record);
            let mut record = Record::parse(record).expect("we have just written it");
            for Delivery { sink, severity } in &*deliveries {
                let (sink, encoder) = &mut self.sinks[sink.0];
                record.severity = *severity as u8;
                record.severity_text = severity.text();
                encoded.clear();
                encoder.encode(&self.resource, &record, encoded);
                encoded.push(b'\n');
                sink.push(encoded);
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
        for (sink, _) in &mut self.sinks {
            sink.deliver();
        }
    }

    /// A sink can't take what it has: nothing more may be taken.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.sinks.iter().any(|(s, _)| s.is_stuck())
    }

    /// Opens again what may have been rotated away.
    pub fn reopen(&mut self) {
        for (sink, _) in &mut self.sinks {
            sink.reopen();
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            events: self.events,
            delivered: self.sinks.iter().map(|(s, _)| s.delivered()).sum(),
            waiting: self.sinks.iter().map(|(s, _)| s.waiting()).sum(),
        }
    }

    /// Names of the sinks for which records wait, and how many.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sinks.iter().map(|(s, _)| (s.name(), s.waiting())).filter(|&(_, waiting)| waiting > 0)
    }
}
