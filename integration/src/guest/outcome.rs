//! What came out of a guest.

use std::{collections::BTreeMap, fmt::Write as _, io::Read as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;

use super::machine::Ended;
use crate::records::Records;

/// The file of /out with the script's exit status, written by the guest's init.
const STATUS: &str = ".status";
/// The file of /out with the kernel's log, written by the guest's init.
const DMESG: &str = ".dmesg";
/// Where `act` of the guests' scripts puts what the actor reports.
const ACTIONS: &str = "actions.jsonl";
/// Where scenarios let the daemon write its records.
const RECORDS: &str = "records.jsonl";
/// How much of a long file is worth reading when something went wrong.
const LINES_SHOWN: usize = 200;

/// What a guest did and said.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Everything on the console.
    pub(crate) console: String,
    /// How the script ended; none when the guest ended before it did.
    pub(crate) exit_status: Option<i32>,
    /// The files that were in /out, by their path below it.
    pub(crate) out: BTreeMap<String, Vec<u8>>,
    /// How long the guest ran, from QEMU's start to its end.
    pub(crate) elapsed: Duration,
}

/// One operation of the actor in a guest (src/bin/actor).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Action {
    /// The actor's command line: `finit /fixtures/dummy.ko`.
    pub(crate) command: String,
    /// The process that acted.
    pub(crate) pid: i32,
    /// The thread that acted.
    pub(crate) tid: i32,
    /// What the system call returned: -1 for an error.
    pub(crate) result: i64,
    /// The error's number, else 0.
    pub(crate) errno: i32,
    /// The error's name (`ENOEXEC`), else empty.
    pub(crate) error: String,
    /// CLOCK_BOOTTIME before the call, in nanoseconds.
    pub(crate) boottime_before_ns: u64,
    /// CLOCK_BOOTTIME after the call, in nanoseconds.
    pub(crate) boottime_after_ns: u64,
    /// CLOCK_MONOTONIC before the call, in nanoseconds.
    pub(crate) monotonic_before_ns: u64,
    /// CLOCK_MONOTONIC after the call, in nanoseconds.
    pub(crate) monotonic_after_ns: u64,
    /// CLOCK_REALTIME before the call, in nanoseconds since 1970.
    pub(crate) realtime_ns: u64,
    /// What else the operation tells, by name.
    #[serde(flatten)]
    pub(crate) more: BTreeMap<String, serde_json::Value>,
}

impl Outcome {
    /// Takes apart what QEMU left: `archive` is the compressed tar that the guest's init sent.
    pub(super) fn new(kernel: &str, ended: Ended, archive: &[u8]) -> Result<Self> {
        let Ended { console, elapsed, killed } = ended;
        let out = match unpack(archive) {
            Ok(out) => out,
            // A guest that was killed or panicked sends nothing or a part; then the console tells more.
            Err(_) if killed.is_some() || archive.is_empty() => BTreeMap::new(),
            Err(error) => {
                return Err(error.context(format!("the guest's output is damaged\n--- its console\n{console}")));
            }
        };
        let status = out.get(STATUS).map(|text| String::from_utf8_lossy(text).trim().parse());
        let exit_status = status.transpose().context("the guest's init wrote no number as the exit status")?;
        let outcome = Self { kernel: kernel.to_owned(), console, exit_status, out, elapsed };
        if let Some(why) = killed {
            bail!("kernel {kernel}: {why}\n{}", outcome.evidence());
        }
        ensure!(
            exit_status.is_some(),
            "kernel {kernel}: the guest ended before its script did\n{}",
            outcome.evidence()
        );
        Ok(outcome)
    }

    /// A file of /out, as text.
    ///
    /// # Errors
    /// When the script left no such file.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let there = || self.out.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let bytes =
            self.out.get(name).with_context(|| format!("the guest left no /out/{name}; there are: {}", there()))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The kernel's log at the end.
    pub(crate) fn dmesg(&self) -> String {
        self.text(DMESG).unwrap_or_default()
    }

    /// The records that the daemon wrote to /out/records.jsonl.
    ///
    /// # Errors
    /// When there is no such file or it is not what kmodtrail writes.
    pub(crate) fn records(&self) -> Result<Records> {
        Records::parse(&self.text(RECORDS)?)
    }

    /// What `act` did, in order.
    ///
    /// # Errors
    /// When the script did not act, or a line is not the actor's.
    pub(crate) fn actions(&self) -> Result<Vec<Action>> {
        let text = self.text(ACTIONS)?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("in /out/{ACTIONS}: {line}")))
            .collect()
    }

    /// The one action with that command line (`finit /fixtures/dummy.ko`).
    ///
    /// # Errors
    /// When there is none or more than one.
    pub(crate) fn action(&self, command: &str) -> Result<Action> {
        let actions = self.actions()?;
        let mut found: Vec<_> = actions.iter().filter(|action| action.command == command).cloned().collect();
        let commands = || actions.iter().map(|action| action.command.as_str()).collect::<Vec<_>>().join("\n  ");
        ensure!(found.len() == 1, "{} actions are `{command}`, not 1, among\n  {}", found.len(), commands());
        found.pop().context("counted one")
    }

    /// The one action that `named LABEL` did.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub(crate) fn named(&self, label: &str) -> Result<Action> {
        let mut found = self.actions()?;
        found.retain(|action| action.more.get("label").is_some_and(|l| l == label));
        ensure!(found.len() == 1, "{} actions are named {label}, not 1", found.len());
        found.pop().context("counted one")
    }

    /// The records that the daemon wrote to this file of /out.
    ///
    /// # Errors
    /// When there is no such file or it is not what kmodtrail writes.
    pub(crate) fn records_in(&self, name: &str) -> Result<Records> {
        Records::parse(&self.text(name)?)
    }

    /// Fails unless the script ended with status 0.
    ///
    /// # Errors
    /// With the status.
    pub(crate) fn expect_success(&self) -> Result<()> {
        ensure!(self.exit_status == Some(0), "the guest's script ended with status {:?}, not 0", self.exit_status);
        Ok(())
    }

    /// Everything that helps to understand a failure without another run: the console, the kernel's log, all texts of /out.
    pub(crate) fn evidence(&self) -> String {
        let mut text = format!(
            "\n=== guest with {}, {:.1} s, exit status {:?}\n",
            self.kernel,
            self.elapsed.as_secs_f64(),
            self.exit_status
        );
        let mut part = |title: &str, content: &str| {
            let lines: Vec<_> = content.lines().collect();
            let skipped = lines.len().saturating_sub(LINES_SHOWN);
            _ = writeln!(
                text,
                "--- {title}{}",
                if skipped > 0 { format!(" (without the first {skipped} lines)") } else { String::new() }
            );
            lines[skipped..].iter().for_each(|line| _ = writeln!(text, "{line}"));
        };
        part("console", &self.console);
        for (name, bytes) in &self.out {
            match (name.as_str(), std::str::from_utf8(bytes)) {
                (STATUS, _) => {}
                (DMESG, Ok(content)) => part("dmesg", content),
                (RECORDS, Ok(content)) => match Records::parse(content) {
                    Ok(records) => part("records", &records.to_string()),
                    Err(error) => part(&format!("/out/{name}, which can't be read: {error:#}"), content),
                },
                (_, Ok(content)) => part(&format!("/out/{name}"), content),
                (_, Err(_)) => part(&format!("/out/{name}: {} bytes", bytes.len()), ""),
            }
        }
        text
    }
}

impl Action {
    /// Fails unless the operation succeeded.
    ///
    /// # Errors
    /// With the error it met.
    pub(crate) fn expect_success(&self) -> Result<()> {
        ensure!(self.result >= 0, "`actor {}` failed with {} ({})", self.command, self.error, self.errno);
        Ok(())
    }

    /// Fails unless the operation met this error (`ENOEXEC`).
    ///
    /// # Errors
    /// With what it met instead.
    pub(crate) fn expect_error(&self, name: &str) -> Result<()> {
        ensure!(
            self.error == name,
            "`actor {}` met {:?} (result {}), not {name}",
            self.command,
            self.error,
            self.result
        );
        Ok(())
    }
}

fn unpack(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for file in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut file = file?;
        if file.header().entry_type().is_file() {
            let path = file.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}
