//! Guests: virtual machines with Debian's kernels, under software emulation.

pub(crate) mod fast;
mod initramfs;
mod machine;
mod outcome;
pub(crate) mod systemd;

pub(crate) use self::outcome::{Action, Outcome};
