//! The kernel's side: loads the programs, attaches them, reads what they say and makes events of it, in order.

use std::os::fd::BorrowedFd;

use crate::event::{Coverage, Event, Origin, Text, Timestamps};

/// What the configuration decides about the sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the ring buffer for what must never be displaced: loads, unloads, verifications, refusals. A power of two.
    pub critical_ring_bytes: u32,
    /// Bytes of the ring buffer for what can come in floods: requests, helpers, reads. A power of two.
    pub bulk_ring_bytes: u32,
    /// Hooks of the table not to attach.
    pub disabled_hooks: Vec<String>,
}

/// Why the sensor can't work. Every variant says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SensorError {}

/// Counts since the sensor was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Kernel records made, lost ones included.
    pub kernel_records: u64,
    /// Kernel records lost.
    pub lost: u64,
}

/// Attached probes and their ring buffers.
#[derive(Debug)]
pub struct Sensor {}

impl Sensor {
    /// Loads and attaches everything.
    ///
    /// # Errors
    /// Where an essential hook can't be attached, or something that all of them need is missing.
    pub fn open(_settings: &Settings) -> Result<Self, SensorError> {
        Ok(Self {})
    }
    /// What is attached.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage { hooks: vec![] }
    }
    /// An origin for what the daemon itself says; each call gives another one.
    pub fn own_origin(&mut self) -> Origin {
        Origin { boot_id: "".into(), epoch: 0, cpu: 0, sequence: 0 }
    }
    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamps {
        Timestamps { wall: 0, boot: 0, observed: 0 }
    }
    /// Release of the running kernel.
    #[must_use]
    pub fn kernel_release(&self) -> Text {
        Text::default()
    }
    /// The two ring buffers' descriptors, critical first: readable when there is something to read.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        todo!()
    }
    /// Reads all that is there now, without waiting, and appends the events it makes, in order of time. Must also be called
    /// about once a second when nothing is readable: what waits for an end that the kernel never told is finished then.
    pub fn read(&mut self, _events: &mut Vec<Event>) {}
    /// All events that `read` has given are safe: the kernel may forget their records.
    pub fn commit(&mut self) {}
    /// Stops watching; appends what was still open.
    pub fn finish(&mut self, _events: &mut Vec<Event>) {}
    /// Counts since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }
}
