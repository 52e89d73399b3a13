//! `cargo xtask bench kernel`: what kmodtrail costs, in numbers that do not depend on the machine.
//!
//! In guests whose clocks count instructions (one nanosecond is one instruction), time, CPU accounting and BPF run times are numbers
//! of instructions, and repeat within about a percent whatever else runs on the host. The same work is done with nothing running, with
//! kmodtrail, and with what people use instead of it; each in a guest of its own.

mod figure;
mod measurement;
mod peers;
mod print;
mod quantity;
mod subject;

use std::{
    fs,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use self::{figure::Figure, measurement::Measurement, peers::Peers, quantity::QUANTITIES, subject::Subject};
use crate::{
    command,
    kernels::{self, Freshness, Kernel},
    prepare,
    progress::say,
    testbed::Testbed,
};

/// The lines that are measured where none is asked for: the oldest and the newest that Debian 12 runs on.
const DEFAULT_LINES: &[&str] = &["6.1", "6.12"];

/// Guests at once. That they share the host's processors does not change what they count.
const GUESTS_AT_ONCE: usize = 2;

/// Where to measure, and how to print it.
#[derive(Args, Debug)]
pub(crate) struct KernelArguments {
    /// Only this kernel line (5.10, 6.1, 6.12, 7, ...); may be given several times
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<String>,
    /// Only this subject (kmodtrail, auditd, bpftrace); may be given several times
    #[arg(long = "subject", value_name = "NAME", value_enum)]
    subjects: Vec<Subject>,
    /// A JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// Measures it.
///
/// # Errors
/// When a guest can't be run, or a figure of kmodtrail misses its target.
pub(super) fn run(arguments: &KernelArguments) -> Result<()> {
    let lines = if arguments.kernels.is_empty() {
        DEFAULT_LINES.iter().map(|name| kernels::line(name)).collect::<Result<Vec<_>>>()?
    } else {
        arguments.kernels.iter().map(|name| kernels::line(name)).collect::<Result<Vec<_>>>()?
    };
    let testbed = Testbed::open(Freshness::Cached)?;
    prepare::tools(&testbed)?;
    let peers = Peers::prepare(testbed.cache())?;
    let daemon = testbed.daemon()?;
    let kernels = prepare::guests(&testbed, &lines, &[])?;

    let subjects = if arguments.subjects.is_empty() { Subject::ALL.as_slice() } else { &arguments.subjects };
    let mut figures = measure_all(&testbed, &peers, &kernels, subjects)?;
    let size = fs::metadata(&daemon).with_context(|| format!("reading {}", daemon.display()))?.len();
    figures.push(Figure::of_program(size));
    if arguments.json {
        print::json(&figures)?;
    } else {
        print::table(&figures);
    }

    let missed: Vec<_> = figures.iter().filter(|figure| figure.ok == Some(false)).map(Figure::shown).collect();
    if !missed.is_empty() {
        bail!("{} figures miss their targets:\n  {}", missed.len(), missed.join("\n  "));
    }
    Ok(())
}

/// Every quantity of every subject with every kernel, in that order.
fn measure_all(testbed: &Testbed, peers: &Peers, kernels: &[Kernel], subjects: &[Subject]) -> Result<Vec<Figure>> {
    let all: Vec<_> =
        kernels.iter().flat_map(|kernel| subjects.iter().map(move |&subject| (kernel, subject))).collect();
    let waiting = Mutex::new(all.iter());
    let work = || {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(&(kernel, subject)) = next else { return Ok::<_, anyhow::Error>(done) };
            let measurement = Measurement::take(testbed, peers, kernel, subject)
                .with_context(|| format!("measuring {} with kernel {}", subject.name(), kernel.release()));
            match measurement {
                Ok(measurement) => done.push((kernel.name(), subject, measurement)),
                Err(error) if subject == Subject::Kmodtrail => return Err(error),
                // that another program does not work on this kernel says nothing about ours
                Err(error) => say(command::explained(&error)),
            }
            say(format_args!("kernel {}: done with {}", kernel.name(), subject.name()));
        }
    };
    let mut measured = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..GUESTS_AT_ONCE).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            measured.extend(thread.join().unwrap_or_else(|_| Err(anyhow!("measuring panicked")))?);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let mut figures = Vec::new();
    for &(kernel, subject) in &all {
        let found = measured.iter().find(|(name, s, _)| (*name, *s) == (kernel.name(), subject));
        let Some((.., measurement)) = found else { continue };
        for quantity in QUANTITIES {
            figures.extend(Figure::new(quantity, kernel.name(), subject, measurement));
        }
    }
    Ok(figures)
}
