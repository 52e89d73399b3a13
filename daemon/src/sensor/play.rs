//! A recording in the place of the kernel: what is behind it, decoding included, works as on the kernel's own records.

use std::{
    io,
    num::NonZeroU64,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kmodtrail_abi::Head;
use nix::sys::{
    eventfd::EventFd,
    timer::{Expiration, TimerSetTimeFlags},
    timerfd::{ClockId, TimerFd, TimerFlags},
};

use super::{NO_CPU, Totals, capture::Recording, clock::Clock, cutover::Border, read_line, stream::Stream};
use crate::event::{Coverage, Event, Origin, Text, Timestamps};

/// What to play, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// A file that `kmodtrail run --capture` wrote.
    pub file: PathBuf,
    /// Kernel records per second; `None`: as fast as they can be taken.
    pub rate: Option<NonZeroU64>,
    /// How often.
    pub times: NonZeroU64,
}

/// Why a recording can't be played.
#[derive(Debug, thiserror::Error)]
#[error("can't play {}: {source}; allowed: a recording made by `kmodtrail run --capture` of this version on such a machine", path.display())]
pub struct PlayError {
    path: PathBuf,
    source: io::Error,
}

/// Records are due in pieces: so often they are looked at.
const PERIOD: Duration = Duration::from_millis(2);
/// So many are taken at once.
const PIECE: u64 = 512;

/// Plays a recording. Each time it is played its records are others than before: they have sequence numbers and times of their own.
#[derive(Debug)]
pub struct Player {
    recording: Recording,
    stream: Stream,
    clock: Clock,
    began: u64,
    rate: Option<NonZeroU64>,
    played: u64,
    all: u64,
    /// Highest sequence number in the recording: the next time begins behind it.
    sequences: u64,
    boot_id: Arc<str>,
    epoch: u64,
    own_sequence: u64,
    scratch: Vec<u8>,
    timer: TimerFd,
    never: OwnedFd,
}

/// Offsets of what is written anew in [`Head`].
mod at {
    use std::{mem::offset_of, ops::Range};

    use super::Head;

    const fn word(begin: usize) -> Range<usize> {
        begin..begin + 8
    }
    pub(super) const EPOCH: Range<usize> = word(offset_of!(Head, epoch));
    pub(super) const SEQUENCE: Range<usize> = word(offset_of!(Head, sequence));
    pub(super) const TIME: Range<usize> = word(offset_of!(Head, time));
}

fn word(record: &[u8], at: std::ops::Range<usize>) -> u64 {
    record.get(at).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

impl Player {
    /// Reads the recording.
    ///
    /// # Errors
    /// Where it can't be read, or is none of this version and architecture.
    pub fn open(play: &Play) -> Result<Self, PlayError> {
        Self::new(play).map_err(|source| PlayError { path: play.file.clone(), source })
    }

    fn new(play: &Play) -> io::Result<Self> {
        let recording = Recording::read(Path::new(&play.file))?;
        let clock = Clock::measure();
        let boot_id: Arc<str> = read_line("/proc/sys/kernel/random/boot_id").into();
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(PERIOD.into()), TimerSetTimeFlags::empty())?;
        Ok(Self {
            stream: Stream::new(recording.source.context(Arc::clone(&boot_id)), clock),
            sequences: (0..recording.len()).map(|i| word(recording.record(i), at::SEQUENCE)).max().unwrap_or(0),
            all: (recording.len() as u64).saturating_mul(play.times.get()),
            recording,
            clock,
            began: clock.boot(),
            rate: play.rate,
            played: 0,
            boot_id,
            epoch: clock.wall(clock.boot()),
            own_sequence: 0,
            scratch: Vec::new(),
            timer,
            never: EventFd::new()?.into(),
        })
    }

    /// How many records should have been played by now.
    fn due(&self) -> u64 {
        let due = self.rate.map_or(u64::MAX, |rate| {
            let elapsed = u128::from(self.clock.boot().saturating_sub(self.began));
            (elapsed * u128::from(rate.get()) / 1_000_000_000).try_into().unwrap_or(u64::MAX)
        });
        due.min(self.all)
    }

    /// See [`super::Sensor::read`].
    pub fn read(&mut self, events: &mut Vec<Event>) -> bool {
        // it only wakes us up: what is due is told by the clock
        let _ = nix::unistd::read(&self.timer, &mut [0; 8]);
        self.clock = Clock::measure();
        let due = self.due();
        let end = due.min(self.played + PIECE);
        let length = self.recording.len() as u64;
        for number in self.played..end {
            self.scratch.clear();
            self.scratch.extend_from_slice(self.recording.record((number % length) as usize));
            if self.scratch.len() < size_of::<Head>() {
                continue;
            }
            let sequence = word(&self.scratch, at::SEQUENCE) + number / length * self.sequences;
            self.scratch[at::SEQUENCE].copy_from_slice(&sequence.to_ne_bytes());
            self.scratch[at::EPOCH].copy_from_slice(&self.epoch.to_ne_bytes());
            self.scratch[at::TIME].copy_from_slice(&self.clock.boot().to_ne_bytes());
            self.stream.push(&self.scratch);
        }
        self.played = end;
        self.stream.drain(u64::MAX, &mut Border::default(), self.clock, events);
        end < due
    }

    /// All of it has been played.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.played == self.all
    }

    /// See [`super::Sensor::finish`].
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.stream.end_all(self.clock, events);
    }

    /// No hook is attached.
    #[must_use]
    pub const fn coverage(&self) -> Coverage {
        Coverage { hooks: Vec::new() }
    }

    /// See [`super::Sensor::own_origin`].
    pub fn own_origin(&mut self) -> Origin {
        self.own_sequence += 1;
        Origin { boot_id: Arc::clone(&self.boot_id), epoch: self.epoch, cpu: NO_CPU, sequence: self.own_sequence }
    }

    /// See [`super::Sensor::now`].
    #[must_use]
    pub fn now(&self) -> Timestamps {
        let clock = Clock::measure();
        clock.timestamps(clock.boot())
    }

    /// Release of the kernel whose records these are.
    #[must_use]
    pub fn kernel_release(&self) -> Text {
        self.recording.source.kernel.as_str().into()
    }

    /// The first is readable when something may be due, the second never.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.timer.as_fd(), self.never.as_fd()]
    }

    /// Records played; none is ever lost.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        Totals { kernel_records: self.played, lost: 0 }
    }
}
