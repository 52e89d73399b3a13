//! When it was, where it comes from, and the ids made of that.

use std::{fmt, sync::Arc};

use uuid::Uuid;

/// Namespace of the traces' ids. Any fixed UUID will do (RFC 9562, section 6.6); this one was drawn at random once.
const NAMESPACE: Uuid = Uuid::from_u128(0x9d3c_5f7e_21b6_4c0a_8e14_6a70_d2f9_b351);

/// Two clocks' view of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    /// CLOCK_REALTIME, nanoseconds since the epoch of Unix.
    pub wall: u64,
    /// CLOCK_BOOTTIME, nanoseconds: not touched by clock steps, counts suspend.
    pub boot: u64,
    /// CLOCK_REALTIME when user space saw it.
    pub observed: u64,
}

/// Which record of the kernel an event comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// /proc/sys/kernel/random/boot_id: makes the ids below unique among hosts and boots.
    pub boot_id: Arc<str>,
    /// One generation of programs.
    pub epoch: u64,
    /// CPU.
    pub cpu: u32,
    /// Per CPU.
    pub sequence: u64,
}

/// `log.record.uid`: boot, epoch, CPU, sequence and event, as they are. A hash of them would say less and cost more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId(String);

/// OpenTelemetry TraceId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(Uuid);

impl Origin {
    fn id(&self, purpose: &str) -> String {
        format!("{}:{:x}:{:x}:{:x}:{purpose}", self.boot_id, self.epoch, self.cpu, self.sequence)
    }

    /// The id of the log record about `event_name` that comes from here. One kernel record can give several events of different
    /// names, never two of one name.
    #[must_use]
    pub fn record_id(&self, event_name: &str) -> RecordId {
        RecordId(self.id(event_name.rsplit('.').next().unwrap_or(event_name)))
    }

    /// The trace that begins here.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        TraceId(Uuid::new_v5(&NAMESPACE, self.id("trace").as_bytes()))
    }

    /// `kmodtrail.epoch`.
    #[must_use]
    pub fn epoch_text(&self) -> String {
        format!("{:016x}", self.epoch)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TraceId {
    /// 32 hexadecimal digits, as OTLP/JSON wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}
