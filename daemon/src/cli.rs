//! The command line.

mod doctor;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    config::{self, Problems},
    run::{self, Print},
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
    /// SIGHUP opens files again after they were rotated away; SIGUSR1 logs a line with figures. A changed configuration needs a restart.
    Run(Run),
    /// Check the configuration, and tell everything that is wrong with it.
    Check(Check),
    /// Check whether this kernel can be watched: attach every hook for a moment, and tell what each gives.
    Doctor(Doctor),
}

#[derive(Debug, Args)]
struct Place {
    /// The configuration; conf.d/*.toml beside it are read after it, then variables KMODTRAIL__SECTION__KEY.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
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
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    place: Place,
    /// Tell it as JSON, for a machine.
    #[arg(long)]
    json: bool,
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
        Command::Run(arguments) => run(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Doctor(arguments) => doctor::main(arguments.json),
    }
}

fn run(arguments: &Run) -> ExitCode {
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
    let print = arguments.print.then(|| Print::new(arguments.color.wanted(io::stdout().is_terminal())));
    match run::run(&config, print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &Check) -> ExitCode {
    let file = &arguments.place.config;
    let result = config::load(file);
    let problems = match &result {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let said = if arguments.json {
        let json = serde_json::json!({ "ok": result.is_ok(), "file": file, "problems": problems.0 });
        say(&json.to_string())
    } else {
        complain(problems);
        match &result {
            Ok((config, _)) => say(&all_right(file, config)),
            Err(problems) => say(&format!("{}: not OK; problems: {}", file.display(), problems.0.len())),
        }
    };
    match (result, said) {
        (Err(_), _) => EXIT_CONFIG.into(),
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        (Ok(_), Err(_)) => ExitCode::FAILURE,
    }
}

fn all_right(file: &Path, config: &config::Config) -> String {
    format!("{}: OK; sinks: {}, routes: {}", file.display(), config.sinks.len(), config.routes.len())
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
