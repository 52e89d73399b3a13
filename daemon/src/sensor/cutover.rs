//! Where one generation of programs ends and the next one begins.
//!
//! For a moment both are attached, and see the same. There is a time from which on the new one tells what happens: what began before is
//! told by the old one to its end, however long it takes. A call that begins just then has two records of its beginning with two times,
//! which may lie on both sides: [`Border`] sees to it that one of the two tells it. So the records of both have to be looked at in the order
//! of their times.

use std::collections::HashSet;

use kmodtrail_abi::Kind;

use super::fact::Fact;

/// For so long there may be somebody whose beginning the new generation has not seen, nanoseconds. After it what comes without a beginning
/// is told as what it is: something whose beginning was lost.
pub(super) const LONGEST: u64 = 60_000_000_000;
/// So far from that time the two records of one beginning are, at most, nanoseconds: a processor of a guest may stand still between them.
pub(super) const NEAR: u64 = 1_000_000_000;

/// What a generation tells, by the time at which it began; CLOCK_BOOTTIME, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cutover {
    /// From here on. 0: there was no generation before it.
    pub(super) since: u64,
    /// Before this.
    pub(super) until: u64,
}

impl Cutover {
    /// Everything.
    pub(super) const NONE: Self = Self { since: 0, until: u64::MAX };
}

/// What is to be done with a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// It is told.
    Ours,
    /// Another generation tells it: it is followed, so that what comes next is understood, and not told.
    Theirs,
    /// It says nothing.
    Nobodys,
}

/// What generations know of each other.
#[derive(Debug, Default)]
pub(super) struct Border {
    /// Threads whose beginning the new one has seen, before the time at which they change, and the old one has not seen yet. Of the two
    /// programs at one function the kernel runs the one first that was attached last (register_aggr_kprobe, kernel/kprobes.c).
    begun: HashSet<u32>,
    /// Threads that are in the middle of something that an old one tells.
    busy: HashSet<u32>,
}

impl Border {
    /// Threads that are in the middle of something that an old generation tells.
    pub(super) fn set_busy(&mut self, threads: impl Iterator<Item = u32>) {
        self.busy.clear();
        self.busy.extend(threads);
    }
}

/// What a thread, that was in the middle of nothing, begins with.
const fn begins(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::FinitModule
            | Kind::InitModule
            | Kind::DeleteModule
            | Kind::ModuleRequest
            | Kind::HelperExec
            | Kind::AddTaint
            | Kind::SettingWrite
    )
}

impl Cutover {
    /// A fact of a thread that is in the middle of nothing. Of two with the same time the new generation's comes first.
    pub(super) fn whose(self, fact: &Fact<'_>, border: &mut Border) -> Whose {
        let (time, thread) = (fact.head.time, fact.head.tid);
        if self == Self::NONE || fact.kind == Kind::HelperTask {
            return Whose::Ours;
        }
        let begins = begins(fact.kind);
        if self.since != 0 {
            if time < self.since {
                if !begins {
                    return Whose::Nobodys;
                }
                if self.since - time < NEAR {
                    border.begun.insert(thread);
                }
                return Whose::Theirs;
            }
            if border.busy.contains(&thread) || !begins && time - self.since < LONGEST {
                return Whose::Nobodys;
            }
        }
        let seen_by_both = begins && border.begun.remove(&thread);
        let straddles = seen_by_both && time >= self.until && time - self.until < NEAR;
        if time < self.until || straddles { Whose::Ours } else { Whose::Nobodys }
    }
}
