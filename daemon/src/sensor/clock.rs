//! Two clocks: the kernel's records have CLOCK_BOOTTIME, log records want CLOCK_REALTIME.

use nix::time::{ClockId, clock_gettime};

use crate::event::Timestamps;

/// The offset between the two, measured. It is measured anew for each batch, so that a clock step or a suspend between two
/// batches changes nothing: BOOTTIME counts suspend, and a step moves the offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME, nanoseconds.
    offset: i64,
    /// CLOCK_BOOTTIME when it was measured.
    boot: u64,
}

fn now(clock: ClockId) -> i64 {
    // can't fail: both clocks exist on every kernel with eBPF ring buffers
    clock_gettime(clock).map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}

impl Clock {
    pub(super) fn measure() -> Self {
        // the middle of two readings: half of the time that the three calls take is the error
        let before = now(ClockId::CLOCK_BOOTTIME);
        let wall = now(ClockId::CLOCK_REALTIME);
        let after = now(ClockId::CLOCK_BOOTTIME);
        Self { offset: wall - (before + (after - before) / 2), boot: after.cast_unsigned() }
    }

    /// One that stands still, and has no offset.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) const fn standing_at(boot: u64) -> Self {
        Self { offset: 0, boot }
    }

    /// CLOCK_BOOTTIME at the measurement.
    pub(super) fn boot(self) -> u64 {
        self.boot
    }

    /// CLOCK_REALTIME at a time of CLOCK_BOOTTIME.
    pub(super) fn wall(self, boot: u64) -> u64 {
        boot.saturating_add_signed(self.offset)
    }

    pub(super) fn timestamps(self, boot: u64) -> Timestamps {
        Timestamps { wall: self.wall(boot), boot, observed: self.wall(self.boot) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_of_now_is_now() {
        let clock = Clock::measure();
        let (before, ours, after) = (now(ClockId::CLOCK_REALTIME), Clock::measure(), now(ClockId::CLOCK_REALTIME));
        let wall = ours.wall(ours.boot()).cast_signed();
        // half of three clock readings: far below a tenth of a second even on a machine that is stopped in between
        assert!(wall + 100_000_000 > before && wall < after + 100_000_000, "{before} {wall} {after}");
        assert_eq!(clock.wall(clock.boot() - 5) + 5, clock.wall(clock.boot()));
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_later_records_only_by_the_step() {
        let before = Clock { offset: 1_000_000, boot: 10 };
        let after = Clock { offset: 1_000_000 - 3_600, boot: 20 };
        assert_eq!(before.wall(10) - after.wall(10), 3_600);
        assert_eq!(after.timestamps(15).boot, 15, "the boot clock is not touched");
    }
}
