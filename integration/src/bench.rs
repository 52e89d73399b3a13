//! `cargo xtask bench`: what kmodtrail costs, beside what people use instead of it.

mod delivery;
mod kernel;
mod routes;
mod unpacked;

use anyhow::Result;
use clap::Subcommand;

use crate::{kernels::Freshness, testbed::Testbed};

/// What to measure.
#[derive(Subcommand, Debug)]
pub(crate) enum Benchmark {
    /// What watching costs, in instructions and memory, beside auditd and bpftrace
    Kernel(kernel::KernelArguments),
    /// What delivering to Kafka costs, in CPU time, beside a bare librdkafka, rsyslog and the OpenTelemetry Collector
    Delivery(delivery::DeliveryArguments),
    /// What a hundred routes cost, beside one
    Routes(routes::RoutesArguments),
}

/// Measures it.
///
/// # Errors
/// When something can't be measured, or a figure of kmodtrail misses its target.
pub(crate) fn run(benchmark: &Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Kernel(arguments) => kernel::run(arguments),
        Benchmark::Delivery(arguments) => delivery::run(arguments),
        Benchmark::Routes(arguments) => routes::run(arguments, &Testbed::open(Freshness::Cached)?),
    }
}
