//! Does in a guest what a scenario needs done, one operation at a time, and says exactly what happened and when.
//!
//! It is linked statically, as the fast guests have no libraries. Every operation on a module prints one line of JSON
//! (see `report.rs`) and exits with 0 if the kernel obliged, with 1 if it refused, with 2 if the actor itself failed.
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

mod deep;
mod disguise;
mod ia32;
mod identity;
mod module;
mod notified;
mod process;
mod report;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Acts in a guest and reports each operation as one line of JSON")]
enum Operation {
    /// finit_module(2) of a file
    Finit {
        file: PathBuf,
        #[arg(long, default_value = "")]
        params: OsString,
        #[arg(long, default_value_t = 0)]
        flags: i32,
    },
    /// init_module(2) with a file's bytes
    Init {
        file: PathBuf,
        #[arg(long, default_value = "")]
        params: OsString,
        /// What it says the length is
        #[arg(long)]
        length: Option<u64>,
    },
    /// finit_module(2) of a memfd with a file's bytes
    Memfd {
        file: PathBuf,
        #[arg(long, default_value = "")]
        params: OsString,
    },
    /// finit_module(2) by the 32-bit system call table
    Ia32Finit { file: PathBuf },
    /// finit_module(2), then at once another program in the same process
    ExecAfter {
        file: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// finit_module(2) of a file that is removed once it is open
    Deleted { file: PathBuf },
    /// finit_module(2) by a process whose own executable is removed
    Gone { file: PathBuf },
    /// finit_module(2) by a process that has written another command line over its own, and another name
    Disguised { file: PathBuf },
    /// finit_module(2) by a thread that is not its process's first
    Thread { file: PathBuf },
    /// finit_module(2) by a grandchild whose parent has ended, so that init is its parent
    Orphan { file: PathBuf },
    /// N times finit_module(2), reported once with the last error
    Attempts { number: u32, file: PathBuf },
    /// Becomes another program, ./actor, in a folder of LEVELS folders with the longest names, where FILE is ./module.ko
    Deep {
        levels: u32,
        /// As many control groups inside each other
        #[arg(long, default_value_t = 0)]
        cgroups: u32,
        file: PathBuf,
        #[arg(last = true, required = true)]
        arguments: Vec<OsString>,
    },
    /// delete_module(2)
    Delete {
        name: OsString,
        /// The call's flags; 0x800 (O_NONBLOCK) alone by default
        #[arg(long, default_value_t = libc::O_NONBLOCK)]
        flags: i32,
    },
    /// N times finit_module(2) and delete_module(2), reported once
    Pairs { number: u32, file: PathBuf, name: OsString },
    /// N times socket(FAMILY, SOCK_DGRAM, 0), each of which asks for the module net-pf-FAMILY; reported once
    Request { number: u32, family: i32 },
    /// N times fork, exec and wait; reported once
    Exec {
        number: u32,
        path: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Waits until COUNT lines of a file have a text; fails after SECONDS
    WaitFor { file: PathBuf, text: String, count: usize, seconds: u64 },
    /// Makes a socket for NOTIFY_SOCKET and writes to FILE what services say there, until it is killed
    Notified { socket: PathBuf, file: PathBuf },
    /// Prints how many lines of a file have all of the texts
    Count {
        file: PathBuf,
        #[arg(required = true, allow_hyphen_values = true)]
        texts: Vec<String>,
    },
    /// Becomes another program without one capability, of this number
    Without {
        capability: u32,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Becomes another program as user 65534 without any capability
    DropCapsRun {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match act(Operation::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("actor: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn act(operation: Operation) -> Result<ExitCode> {
    match operation {
        Operation::Finit { file, params, flags } => module::finit(&file, params, flags),
        Operation::Init { file, params, length } => module::init(&file, params, length),
        Operation::Memfd { file, params } => module::memfd(&file, params),
        Operation::Ia32Finit { file } => ia32::finit(&file),
        Operation::ExecAfter { file, command } => {
            module::finit(&file, OsString::new(), 0)?;
            process::become_command(&command)
        }
        Operation::Deleted { file } => module::deleted(&file),
        Operation::Gone { file } => {
            let executable = std::env::current_exe().context("finding the actor")?;
            std::fs::remove_file(&executable).with_context(|| format!("removing {}", executable.display()))?;
            module::finit(&file, OsString::new(), 0)
        }
        Operation::Disguised { file } => {
            disguise::as_a_kernel_thread()?;
            module::finit(&file, OsString::new(), 0)
        }
        Operation::Thread { file } => process::in_a_thread(move || module::finit(&file, OsString::new(), 0)),
        Operation::Orphan { file } => process::as_an_orphan(|| module::finit(&file, OsString::new(), 0)),
        Operation::Attempts { number, file } => module::attempts(number, &file),
        Operation::Deep { levels, cgroups, file, arguments } => deep::run(levels, cgroups, &file, &arguments),
        Operation::Delete { name, flags } => module::delete(name, flags),
        Operation::Pairs { number, file, name } => module::pairs(number, &file, name),
        Operation::Request { number, family } => process::request(number, family),
        Operation::Exec { number, path, arguments } => process::exec(number, &path, &arguments),
        Operation::WaitFor { file, text, count, seconds } => watch::wait_for(&file, &text, count, seconds),
        Operation::Notified { socket, file } => notified::listen(&socket, &file),
        Operation::Count { file, texts } => watch::count(&file, &texts),
        Operation::Without { capability, command } => process::run_without(capability, &command),
        Operation::DropCapsRun { command } => process::drop_capabilities_and_run(&command),
    }
}
