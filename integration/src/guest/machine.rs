//! One run of QEMU: its console as it comes, and an end that is certain.

use std::{
    io::{self, Read, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{command, kernels::Kernel, progress::say};

/// The console line after which a guest that is kept belongs to the user's terminal.
pub(super) const HANDOVER: &str = "@@KEPT";

/// What the init of each guest says first.
const INIT_RUNS: &str = "init runs";

/// Boots a guest, and once more where its kernel did not come to its init.
///
/// What happens later is ours; before that, an emulated kernel with two processors was seen to hang without a word, and to run
/// into a breakpoint that it had just taken out of its code for the other one.
pub(super) fn to_its_init(kernel: &Kernel, mut boot: impl FnMut() -> Result<Ended>) -> Result<Ended> {
    let ended = boot()?;
    if ended.console.contains(INIT_RUNS) {
        return Ok(ended);
    }
    say(format_args!("the kernel {} did not come to its init: once more", kernel.release()));
    boot()
}

/// QEMU with what all guests share, not started.
pub(super) struct Machine {
    command: Command,
    limit: Option<Duration>,
    translated_code: u32,
    counted: bool,
}

/// What became of it.
pub(super) struct Ended {
    pub(super) console: String,
    pub(super) elapsed: Duration,
    /// Why it was ended from outside, if it was.
    pub(super) killed: Option<String>,
}

impl Machine {
    /// `limit` guards against guests that hang; it is no expectation about how long anything takes.
    ///
    /// `translated_code` is how many megabytes of translated code QEMU keeps: too few and it translates again, too many
    /// and each guest takes twice the memory of this machine.
    pub(super) fn new(memory: u32, translated_code: u32, processors: u32, limit: Duration) -> Self {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-machine", "q35"]);
        command.args(["-m", &memory.to_string(), "-smp", &processors.to_string()]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Self { command, limit: Some(limit), translated_code, counted: false }
    }

    /// Lets the guest's clocks count instructions: one nanosecond is one instruction, whatever the host does meanwhile, and
    /// waiting takes no time of the host. For one processor only.
    pub(super) fn counted(&mut self) {
        self.counted = true;
    }

    pub(super) fn arguments<S: AsRef<std::ffi::OsStr>>(&mut self, arguments: impl IntoIterator<Item = S>) -> &mut Self {
        self.command.args(arguments);
        self
    }

    /// Wires the first serial port, the console, to us; if `kept`, also to the user's terminal.
    pub(super) fn console(&mut self, kept: bool) -> &mut Self {
        if kept {
            self.command.stdin(Stdio::inherit());
            self.limit = None;
        }
        let signal = if kept { "off" } else { "on" };
        self.arguments(["-chardev", &format!("stdio,id=console,signal={signal}"), "-serial", "chardev:console"])
    }

    /// Runs the guest to its end; `on_line` gets each line of the console as it arrives.
    pub(super) fn run(mut self, on_line: &mut dyn FnMut(&str)) -> Result<Ended> {
        // Never KVM: what runs these tests is often a virtual machine itself.
        let (threads, clock): (_, &[_]) =
            if self.counted { ("single", &["-icount", "shift=0,sleep=off"]) } else { ("multi", &[]) };
        let accelerator = format!("tcg,thread={threads},tb-size={}", self.translated_code);
        // qemu64 instead of max saves half of the time, and udev finds no noise to load modules for. What is counted is what a processor of
        // x86-64-v2 executes: all that are less than fifteen years old have CRC-32C.
        let cpu = if self.counted { "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt" } else { "qemu64" };
        self.arguments(["-cpu", cpu, "-accel", &accelerator]).arguments(clock);
        // SAFETY: prctl(2) is async-signal-safe and touches nothing of the parent's memory.
        unsafe {
            // A guest whose xtask was killed would run on for ever.
            self.command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let begun = Instant::now();
        let mut child =
            self.command.spawn().context("starting qemu-system-x86_64: `cargo xtask prepare` installs it")?;
        let mut stdout = child.stdout.take().context("no pipe from qemu")?;
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut console = Console::new(on_line);
        let mut killed = None;
        loop {
            let left = self.limit.map_or(Duration::MAX, |limit| limit.saturating_sub(begun.elapsed()));
            match receive.recv_timeout(left) {
                Ok(bytes) => console.take(&bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) if killed.is_none() => {
                    killed = Some(format!("the guest hung and was killed after {} s", begun.elapsed().as_secs()));
                    child.kill().context("killing qemu")?;
                    self.limit = None; // its end closes the pipe
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
        let status = child.wait().context("waiting for qemu")?;
        let console = console.finish();
        if killed.is_none() && !status.success() {
            bail!("`{}` failed: {status}\n--- the guest's console\n{console}", command::shown(&self.command));
        }
        Ok(Ended { console, elapsed: begun.elapsed(), killed })
    }
}

/// Cuts what arrives into lines, and passes it on raw once the guest has been handed over to the user.
struct Console<'a> {
    on_line: &'a mut dyn FnMut(&str),
    text: String,
    line: Vec<u8>,
    handed_over: bool,
}

impl<'a> Console<'a> {
    fn new(on_line: &'a mut dyn FnMut(&str)) -> Self {
        Self { on_line, text: String::new(), line: Vec::new(), handed_over: false }
    }

    fn take(&mut self, bytes: &[u8]) {
        for (position, &byte) in bytes.iter().enumerate() {
            if self.handed_over {
                let mut terminal = io::stderr();
                _ = terminal.write_all(&bytes[position..]).and_then(|()| terminal.flush());
                return;
            }
            match byte {
                b'\n' => self.end_line(),
                _ => self.line.push(byte),
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
        self.line.clear();
        self.text.push_str(&line);
        self.text.push('\n');
        (self.on_line)(&line);
        self.handed_over |= line.contains(HANDOVER);
    }

    fn finish(mut self) -> String {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_lines_arrive_whole_whatever_the_chunks() {
        let mut lines = Vec::new();
        let mut take = |line: &str| lines.push(line.to_owned());
        let mut console = Console::new(&mut take);
        for chunk in ["on", "e\r\ntw", "o\nthree"] {
            console.take(chunk.as_bytes());
        }
        assert_eq!(console.finish(), "one\ntwo\nthree\n");
        assert_eq!(lines, ["one", "two", "three"]);
    }
}
