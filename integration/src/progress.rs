//! One line for each thing that takes time, stamped with the seconds since the command began.

use std::{fmt::Display, sync::LazyLock, time::Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock. Without it the first [`say`] would be second zero.
pub(crate) fn start() {
    LazyLock::force(&START);
}

/// Prints `[  12.3s] what` on standard error, so that standard output stays for results.
pub(crate) fn say(what: impl Display) {
    eprintln!("[{:6.1}s] {what}", START.elapsed().as_secs_f64());
}

/// Prints the heading of a step of `cargo xtask test`.
pub(crate) fn heading(what: impl Display) {
    eprintln!();
    say(format_args!("== {what}"));
}
