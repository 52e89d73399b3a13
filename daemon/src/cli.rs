//! The command line.

mod attach;
mod check;
mod detach;
mod doctor;
mod replay;
mod route;
mod status;

use std::{
    io::{self, IsTerminal as _, Write as _},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::{
    config::{self, Problems},
    run::{self, Print, Source},
    sensor::Play,
    telemetry,
};

/// EX_CONFIG of sysexits.h: systemd does not try again (RestartPreventExitStatus=).
const EXIT_CONFIG: u8 = 78;

/// Tells a SIEM who changes the Linux kernel.
#[derive(Debug, Parser)]
#[command(
    name = "kmodtrail",
    version,
    after_help = "Exit status:\n  0   done\n  1   it can't work here, or could not finish; the message says why\n  2   wrong arguments\n  \
                  78  the configuration is wrong; `kmodtrail check` says where"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the kernel and deliver records, until SIGTERM or SIGINT.
    ///
    /// SIGHUP reads the configuration again and opens files again after they were rotated away; SIGUSR1 logs a line with figures,
    /// SIGUSR2 is `kmodtrail detach`.
    Run(Run),
    /// Attach to the kernel, and leave that to systemd for `kmodtrail run`, which needs no root then: the unit's ExecStartPre=+.
    ///
    /// Does nothing where it is there already as the configuration wants it.
    Attach(Attach),
    /// Stop the running daemon, and take out of the kernel what it or systemd would keep attached. Nobody watches from then on.
    Detach(Place),
    /// Check the configuration, and tell everything that is wrong with it.
    Check(Check),
    /// Check whether this kernel can be watched: attach every hook for a moment, and tell what each gives.
    Doctor(Doctor),
    /// Explain where recorded events go: which route takes each of them to which sink, and why the others don't.
    Route(Route),
    /// Ask the running daemon how it is: what was delivered to each sink, what waits, what was dropped and why.
    Status(Status),
    /// Send dead letters again, each to its sink. What is refused again, or can't be delivered in time, stays a dead letter.
    Replay(Replay),
}

#[derive(Debug, Args)]
struct Place {
    /// The configuration; conf.d/*.toml beside it are read after it, then variables KMODTRAIL__SECTION__KEY.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Attach {
    #[command(flatten)]
    place: Place,
    /// Attach now, and keep it until another `kmodtrail attach` takes it over: kmodtrail-early.service, early in the boot.
    #[arg(long)]
    hold: bool,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    place: Place,
    /// Show events on standard output too, for a person.
    #[arg(long)]
    print: bool,
    /// Colors of what --print shows.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Write the kernel's records, as they come, also to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "play")]
    capture: Option<PathBuf>,
    /// Play such a file in the place of the kernel, and end when it is over.
    #[arg(long, value_name = "FILE")]
    play: Option<PathBuf>,
    /// So many kernel records per second; without it as fast as they can be taken.
    #[arg(long, value_name = "N", requires = "play")]
    rate: Option<NonZeroU64>,
    /// So often.
    #[arg(long, value_name = "N", requires = "play", default_value = "1")]
    times: NonZeroU64,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    place: Place,
    /// Run the configuration's [[tests]] of its routes, too.
    #[arg(long)]
    tests: bool,
    /// Tell it as JSON, for a machine.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Route {
    #[command(flatten)]
    place: Place,
    /// OTLP/JSON, a request per line, as the file sink writes it; - is standard input.
    #[arg(long, value_name = "FILE")]
    record: PathBuf,
    /// Tell it as JSON, a line for each record, for a machine.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    place: Place,
    /// Tell it as JSON, for a machine.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    place: Place,
    /// Only those of this sink.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// How long to try.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct Doctor {
    /// Tell it as JSON, for a machine.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// Where standard output is a terminal and NO_COLOR is not set.
    Auto,
    Always,
    Never,
}

impl Color {
    fn wanted(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }
}

/// Does what the arguments say.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Attach(arguments) => attach::main(&arguments.place.config, arguments.hold),
        Command::Detach(place) => detach::main(&place.config),
        Command::Check(arguments) => check::main(&arguments),
        Command::Doctor(arguments) => doctor::main(arguments.json),
        Command::Route(arguments) => route::main(&arguments),
        Command::Status(arguments) => status::main(&arguments.place.config, arguments.json),
        Command::Replay(arguments) => {
            replay::main(&arguments.place.config, arguments.sink.as_deref(), arguments.timeout)
        }
    }
}

fn run(arguments: Run) -> ExitCode {
    let (config, warnings) = match config::load(&arguments.place.config) {
        Ok(found) => found,
        Err(problems) => {
            complain(&problems);
            return EXIT_CONFIG.into();
        }
    };
    telemetry::start(config.log.level, arguments.color.wanted(telemetry::stderr_is_terminal()));
    for warning in &warnings.0 {
        tracing::warn!("configuration: {warning}");
    }
    ignore_file_size_signal();
    let print = arguments.print.then(|| Print::new(arguments.color.wanted(io::stdout().is_terminal())));
    let source = match arguments.play {
        Some(file) => Source::Recording(Play { file, rate: arguments.rate, times: arguments.times }),
        None => Source::Kernel(arguments.capture),
    };
    match run::run(arguments.place.config, config, source, print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A file that may not grow any more (RLIMIT_FSIZE) is an error of that write, and no reason to die.
fn ignore_file_size_signal() {
    // SAFETY: to ignore a signal installs no handler.
    if let Err(error) = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) } {
        tracing::warn!(%error, "SIGXFSZ can't be ignored");
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush())
}

fn complain(problems: &Problems) {
    for problem in &problems.0 {
        eprintln!("{problem}");
    }
}
