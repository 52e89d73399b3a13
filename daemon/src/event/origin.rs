//! When it was, where it comes from, and the ids made of that.

use std::{fmt, sync::Arc};

use uuid::Uuid;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId<'a> {
    origin: &'a Origin,
    event_name: &'a str,
}

/// OpenTelemetry SpanId: names one record within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// OpenTelemetry TraceId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(Uuid);

impl Origin {
    /// The id of the log record about `event_name` that comes from here. One kernel record can give several events of different
    /// names, never two of one name.
    #[must_use]
    pub const fn record_id<'a>(&'a self, event_name: &'a str) -> RecordId<'a> {
        RecordId { origin: self, event_name }
    }

    /// A number for that id, as good as unique within a generation of programs.
    #[must_use]
    pub fn key(&self, event_name: &str) -> u64 {
        let name = purpose(event_name).bytes().fold(0, |name, byte| name << 8 ^ u64::from(byte) ^ name >> 56);
        mixed(mixed(u64::from(self.cpu) << 48 ^ self.sequence) ^ self.epoch ^ name)
    }

    /// The trace that begins here: the boot's id, which is random, with the place mixed in.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        let (boot, place) = self.boot_and_place();
        TraceId(Uuid::from_u64_pair(boot ^ self.epoch, place))
    }

    /// The span of the record about `event_name` that comes from here.
    #[must_use]
    pub fn span_id(&self, event_name: &str) -> SpanId {
        let name = purpose(event_name).bytes().fold(0, |name, byte| name << 8 | u64::from(byte));
        let (boot, place) = self.boot_and_place();
        // 0 is no SpanId
        SpanId(mixed(place ^ boot.rotate_left(32) ^ self.epoch ^ name).max(1).to_be_bytes())
    }

    /// The first half of the boot's id, and the second with the place mixed in.
    fn boot_and_place(&self) -> (u64, u64) {
        let boot = Uuid::parse_str(&self.boot_id).unwrap_or_default().as_u64_pair();
        (boot.0, mixed(boot.1 ^ (u64::from(self.cpu) << 48 ^ self.sequence)))
    }
}

/// A bijection (the finalizer of SplitMix64), so that different places give different ids, and no bit of one is constant.
fn mixed(mut word: u64) -> u64 {
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
        word = (word ^ word >> shift).wrapping_mul(factor);
    }
    word ^ word >> 31
}

/// The last part of an event's name.
fn purpose(event_name: &str) -> &str {
    event_name.rsplit('.').next().unwrap_or(event_name)
}

impl fmt::Display for RecordId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { boot_id, epoch, cpu, sequence } = self.origin;
        write!(f, "{boot_id}:{epoch:x}:{cpu:x}:{sequence:x}:{}", purpose(self.event_name))
    }
}

impl TraceId {
    /// As OTLP has it.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TraceId {
    /// 32 hexadecimal digits, as OTLP/JSON wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl SpanId {
    /// As OTLP has it.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SpanId {
    /// 16 hexadecimal digits, as OTLP/JSON wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_place_has_a_trace_a_record_id_and_spans_of_its_own() {
        let place = |boot: &str, epoch, cpu, sequence| {
            let origin = Origin { boot_id: boot.into(), epoch, cpu, sequence };
            let spans = super::super::What::NAMES.map(|name| origin.span_id(name));
            (origin.trace_id(), origin.record_id("linux.kernel_module.load").to_string(), spans)
        };
        let boots = ["5d8b4ed3-4a4c-4b25-93ac-0b3c5dd3a3c1", "0f2f7b9e-2f58-4f0e-8b11-6c7d4f6a9b20"];
        let mut traces = HashSet::new();
        let mut records = HashSet::new();
        let mut all_spans = HashSet::new();
        for boot in boots {
            for epoch in [1_700_000_000_000_000_000, 1_700_000_000_000_000_001] {
                for cpu in [0, 1, 255, u32::MAX] {
                    for sequence in 1..200 {
                        let (trace, record, spans) = place(boot, epoch, cpu, sequence);
                        assert!(traces.insert(trace) && records.insert(record), "{boot} {epoch} {cpu} {sequence}");
                        assert!(spans.into_iter().all(|s| all_spans.insert(s)), "{boot} {epoch} {cpu} {sequence}");
                    }
                }
            }
        }
        assert_eq!(place(boots[0], 1, 2, 3), place(boots[0], 1, 2, 3), "the same on every try");
    }
}
