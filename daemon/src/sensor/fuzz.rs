//! What must hold of the kernel's records, whatever their bytes are: see [`crate::fuzz`].

use std::sync::Arc;

use super::{clock::Clock, frame::Context, setting::WatchedSettings, stream::Stream};
use crate::{event::Taints, fuzz::told};

/// No record that the kernel sends is longer.
const LONGEST: usize = 64 << 10;
/// So many records are taken from the ring at once.
const PIECE: usize = 4;
/// Settings whose writers are told: one of each kind.
const SETTINGS: [&str; 4] = [
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/modules_disabled",
    "/sys/module/module/parameters/sig_enforce",
    "/sys/kernel/security/lockdown",
];
/// Longer than an attempt may stay open, nanoseconds.
const LATER: u64 = 10_000_000_000;

/// Records as they come out of the rings: a byte that says what the sensor sees, then each behind its length (u32, little endian), as
/// `kmodtrail run --capture` writes them. What is shorter than its length says ends where the input does.
pub fn kernel_records(bytes: &[u8]) -> bool {
    let Some((&sees, mut rest)) = bytes.split_first() else { return false };
    let sees = |bit: u8| sees & 1 << bit != 0;
    let context = Context {
        sees_verification: sees(0),
        sees_parameters: sees(1),
        sees_signature_check: sees(2),
        checks_signatures: sees(3),
        taints: sees(4).then_some(Taints(0)),
        settings: Arc::new(WatchedSettings::new(&SETTINGS.map(Into::into))),
        ..Context::of_test()
    };
    let mut now = 0;
    let mut stream = Stream::new(context, Clock::standing_at(now));
    let (mut events, mut records) = (Vec::new(), 0);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = (u32::from_le_bytes(*length) as usize).min(LONGEST).min(behind.len());
        let (record, behind) = behind.split_at(length);
        rest = behind;
        records += 1;
        now = now.max(stream.push(record).unwrap_or(0));
        if records % PIECE == 0 {
            // what comes last waits for what the other ring may have
            let until = now.saturating_sub(1);
            if sees(5) {
                stream.without_bulk(until);
            }
            stream.drain(until, &mut super::cutover::Border::default(), Clock::standing_at(now), &mut events);
        }
    }
    stream.drain(u64::MAX, &mut super::cutover::Border::default(), Clock::standing_at(now), &mut events);
    assert!(stream.is_empty());
    // what waits for an end that never came is looked at twice
    for _ in 0..2 {
        now = now.saturating_add(LATER);
        stream.drain(u64::MAX, &mut super::cutover::Border::default(), Clock::standing_at(now), &mut events);
    }
    let late: u64 = stream.take_late().map(|(_, count)| count).sum();
    assert!(late <= records as u64);
    stream.end_all(Clock::standing_at(now), &mut events);
    assert!(events.len() <= 2 * records, "{records} records have made {} events", events.len());
    for event in &events {
        let length = told(event);
        assert!(length <= 32 * bytes.len() + (16 << 10), "{} bytes have made a record of {length}", bytes.len());
    }
    !events.is_empty()
}
