//! `cargo xtask demo`: a guest in which modules come and go, and what kmodtrail says about it.

use anyhow::{Result, bail};
use clap::Args;

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// The kernel line of the guest
    #[arg(long, value_name = "LINE", default_value = "6.12")]
    pub(crate) kernel: String,
    /// Leave the guest running, with a root shell on this terminal
    #[arg(long)]
    pub(crate) keep: bool,
    /// Watch this machine instead of a guest
    #[arg(long)]
    pub(crate) host: bool,
}

/// Shows it.
///
/// # Errors
/// When the guest can't be run.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    bail!("not built yet: {arguments:?}")
}
