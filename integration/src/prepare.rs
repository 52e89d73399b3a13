//! `cargo xtask prepare`: fetches and builds everything that the other commands need, and does nothing with it.

use std::thread;

use anyhow::{Result, anyhow};
use clap::Args;

use crate::{
    ebpf_tools::EbpfTools,
    fixtures,
    guest::systemd::{self, Root},
    kernels::{self, Freshness, Kernel, Line},
    prerequisites::{self, Stage},
    progress::say,
    services::{collector, kafka::Distribution},
    testbed::Testbed,
};

/// What to prepare.
#[derive(Args, Debug)]
pub(crate) struct PrepareArguments {
    /// Only this kernel line (5.10, 6.1, 6.12, 7, ...); may be given several times
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<String>,
    /// The full and real-time kernels, too
    #[arg(long)]
    all_kernels: bool,
}

/// Prepares everything.
///
/// # Errors
/// With the first part that can't be had.
pub(crate) fn run(arguments: &PrepareArguments) -> Result<()> {
    let testbed = Testbed::open(Freshness::Newest)?;
    tools(&testbed)?;
    let lines = if arguments.kernels.is_empty() {
        let number = if arguments.all_kernels { usize::MAX } else { kernels::DEFAULT_LINES };
        kernels::lines().iter().take(number).collect::<Vec<_>>()
    } else {
        arguments.kernels.iter().map(|name| kernels::line(name)).collect::<Result<_>>()?
    };
    services(&testbed)?;
    guests(&testbed, &lines, &[Root::Plain, Root::Containers, Root::Newer, Root::Rpm, Root::Logins])?;
    say(format_args!("everything is in {}", testbed.cache().root().display()));
    Ok(())
}

/// The Debian packages and what the probes are compiled with.
///
/// # Errors
/// When one can't be had.
pub(crate) fn tools(testbed: &Testbed) -> Result<()> {
    prerequisites::install(Stage::Guests)?;
    EbpfTools::prepare(testbed.cache()).map(drop)
}

/// The servers that tests start.
///
/// # Errors
/// When one can't be had.
pub(crate) fn services(testbed: &Testbed) -> Result<()> {
    prerequisites::install(Stage::Services)?;
    Distribution::prepare(testbed.cache())?;
    collector::program::prepare(testbed.cache()).map(drop)
}

/// What guests with these kernels are made of, and the kernels; with systemd only where there are roots for it. Two lines at a time: a
/// half of it is waiting for the network, the other half is one processor's work.
///
/// # Errors
/// When a part can't be had, naming the kernel.
pub(crate) fn guests(testbed: &Testbed, lines: &[&'static Line], roots: &[Root]) -> Result<Vec<Kernel>> {
    testbed.actor()?;
    let systemd = !roots.is_empty();
    for root in roots {
        systemd::prepare_root(testbed.cache(), *root)?;
    }
    if systemd {
        fixtures::xfs_image(testbed.cache())?;
    }
    let prepare = |line: &'static Line| {
        let kernel = testbed.kernel(line)?;
        testbed.fixtures(&kernel)?;
        if systemd {
            systemd::prepare_kernel(testbed.cache(), &kernel)?;
        }
        say(format_args!("kernel {}: {} is ready", line.name, kernel.release()));
        Ok(kernel)
    };
    let mut kernels = Vec::new();
    for pair in lines.chunks(2) {
        let prepared = thread::scope(|scope| {
            let threads: Vec<_> = pair.iter().map(|line| scope.spawn(|| prepare(line))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Result<Kernel>>| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("preparing a kernel panicked")))
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        for kernel in prepared {
            kernels.push(kernel?);
        }
    }
    Ok(kernels)
}
