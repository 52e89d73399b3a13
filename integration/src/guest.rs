//! Guests: virtual machines with Debian's kernels, under software emulation.

pub(crate) mod fast;
mod initramfs;
mod machine;
mod outcome;
pub(crate) mod systemd;

use std::net::Ipv4Addr;

pub(crate) use self::outcome::{Action, Outcome};

/// This machine's 127.0.0.1, as a guest with a network sees it.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
