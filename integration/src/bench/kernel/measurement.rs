//! One run of the work, and what it tells.

use std::{str::FromStr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Peers, Subject};
use crate::{
    fixtures::replaced,
    guest::{Outcome, fast},
    kernels::Kernel,
    testbed::Testbed,
};

/// The work; the numbers below are its.
const WORK: &str = include_str!("work.sh");
/// When to give up on a guest that hangs; it takes two to four minutes.
const LIMIT: Duration = Duration::from_secs(1800);
const IDLE_SECONDS: u64 = 30;
const CPU_PAIRS: u64 = 100;
const BPF_PAIRS: u64 = 50;
const NEW_FILES: u64 = 10;
/// Modules that are loaded while it is measured what a look for those that hide costs.
const MANY: u32 = 100;
const CHECKS: u64 = 10;
/// Loads while the subject runs: to warm up, as their caller feels them, and the three above.
const LOADS: u64 = 5 + 5 * 20 + CPU_PAIRS + BPF_PAIRS + NEW_FILES;

/// What one guest tells about one subject. Costs are in instructions, memory in bytes.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    /// fork, exec and exit of a small program, with nothing running and with the subject.
    pub(super) exec: WithAndWithout,
    /// What a load and an unload cost their caller.
    pub(super) pair: WithAndWithout,
    /// What the programs in the kernel take of that, where there are any.
    pub(super) programs_per_pair: Option<u64>,
    /// The subject's own CPU time for a load and an unload.
    pub(super) user_space_per_pair: u64,
    /// And what a file that it has not seen yet adds, by its megabytes, where it reads files.
    pub(super) reading_per_megabyte: Option<f64>,
    /// The subject's own CPU time until it is ready, in the kernel too.
    pub(super) start: u64,
    /// The subject's own CPU time in a second in which nothing happens.
    pub(super) idle_second: u64,
    /// And what one look for modules that hide adds where a hundred more are loaded, where it looks for them.
    pub(super) hidden_check: Option<u64>,
    /// Resident memory after the idle seconds.
    pub(super) resident: u64,
    /// Resident memory after the flood of requests.
    pub(super) resident_after_flood: u64,
    /// Memory of BPF maps, where there are any.
    pub(super) maps: Option<u64>,
    /// The subject's own CPU time for one request of the flood.
    pub(super) user_space_per_request: u64,
    /// How many requests of the flood it told about.
    pub(super) requests_seen: u64,
}

/// The same without and with the subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct WithAndWithout {
    pub(super) without: f64,
    pub(super) with: f64,
}

/// A line of the actor (src/bin/actor/report.rs).
#[derive(Deserialize)]
struct Report {
    command: String,
    result: i64,
    monotonic_before_ns: u64,
    monotonic_after_ns: u64,
    cpu_ns: Option<u64>,
}

impl Measurement {
    /// Boots a guest, lets it do the work, and reads what came out.
    ///
    /// # Errors
    /// When the guest fails, with all it said.
    pub(super) fn take(testbed: &Testbed, peers: &Peers, kernel: &Kernel, subject: Subject) -> Result<Self> {
        let mut guest = fast::Guest::new(testbed, kernel).counted().audit().memory(subject.memory());
        if subject == Subject::Kmodtrail {
            guest = guest.daemon()?;
            let module = testbed.fixtures(kernel)?.bytes("nosig.ko")?;
            for number in 0..MANY {
                let name = format!("d{number:04}");
                let copy = replaced(&module, b"dummy", name.as_bytes()).context("nosig.ko is called otherwise")?;
                guest = guest.file(&format!("/many/{name}.ko"), copy);
            }
        }
        for (path, host) in peers.files(subject)? {
            guest = guest.file(&path, host);
        }
        let outcome = guest.limit(LIMIT).script(&format!("{}\n{WORK}", subject.script())).run()?;
        Self::read(&outcome, subject).with_context(|| outcome.evidence())
    }

    fn read(outcome: &Outcome, subject: Subject) -> Result<Self> {
        let loads: u64 = number(&outcome.text("seen.loads")?)?;
        ensure!(loads >= LOADS, "{} told about {loads} of {LOADS} loads: what it costs means nothing", subject.name());
        let cpu = |name: &str| field(&outcome.text(&format!("cpu.{name}"))?, "usage_usec").map(|usec: u64| usec * 1000);
        let resident =
            |name: &str| field(&outcome.text(&format!("status.{name}"))?, "VmRSS:").map(|kib: u64| kib * 1024);
        let descriptors = |name: &str| outcome.text(&format!("fdinfo.{name}"));
        let run_time = |name: &str| Ok::<_, anyhow::Error>(sum(&descriptors(name)?, "run_time_ns:"));
        let programs = run_time("pairs-after")?.zip(run_time("pairs-before")?).map(|(after, before)| after - before);
        let user_space_per_pair = (cpu("pairs-after")? - cpu("pairs-before")?) / CPU_PAIRS;
        let of_new_file = (cpu("new-after")? - cpu("new-before")?) / NEW_FILES;
        let megabytes = number::<u64>(&outcome.text("size.hello")?)? as f64 / 1e6;
        let checks = |interval| {
            Ok::<u64, anyhow::Error>(
                cpu(&format!("checks-{interval}-after"))? - cpu(&format!("checks-{interval}-before"))?,
            )
        };
        let hidden_check = match subject {
            Subject::Kmodtrail => Some(checks("10s")?.saturating_sub(checks("1d")?) / CHECKS),
            Subject::Auditd | Subject::Bpftrace => None,
        };
        let reading = of_new_file.saturating_sub(user_space_per_pair) as f64 / megabytes;
        let requests = reports(outcome, "flood", "request")?.first().map_or(1, |report| report.result.unsigned_abs());
        Ok(Self {
            exec: WithAndWithout::read(outcome, "exec", |report| {
                report.monotonic_after_ns - report.monotonic_before_ns
            })?,
            pair: WithAndWithout::read(outcome, "pairs", |report| report.cpu_ns.unwrap_or_default())?,
            programs_per_pair: programs.map(|all| all / BPF_PAIRS),
            user_space_per_pair,
            reading_per_megabyte: (subject == Subject::Kmodtrail).then_some(reading),
            start: cpu("ready")?,
            idle_second: (cpu("idle-after")? - cpu("idle-before")?) / IDLE_SECONDS,
            hidden_check,
            resident: resident("idle")?,
            resident_after_flood: resident("flood")?,
            maps: sum(&descriptors("idle")?, "memlock:").filter(|_| programs.is_some()),
            user_space_per_request: (cpu("flood-after")? - cpu("flood-before")?) / requests,
            requests_seen: number(&outcome.text("seen.requests")?)?,
        })
    }
}

impl WithAndWithout {
    /// The median of the rounds: an interrupt in one of them is nobody's cost.
    fn read(outcome: &Outcome, operation: &str, cost: impl Fn(&Report) -> u64) -> Result<Self> {
        let median = |phase| {
            let reports = reports(outcome, phase, operation)?;
            let mut costs: Vec<_> = reports.iter().map(|report| cost(report) as f64 / report.result as f64).collect();
            costs.sort_by(f64::total_cmp);
            costs.get(costs.len() / 2).copied().with_context(|| format!("no `{operation}` in /out/{phase}.jsonl"))
        };
        Ok(Self { without: median("without")?, with: median("with")? })
    }

    /// How many times as much.
    pub(super) fn ratio(self) -> f64 {
        self.with / self.without
    }
}

/// What the actor said of one operation in one phase of the work.
fn reports(outcome: &Outcome, phase: &str, operation: &str) -> Result<Vec<Report>> {
    let file = format!("{phase}.jsonl");
    let text = outcome.text(&file)?;
    let all = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("in /out/{file}: {line}")));
    let all: Vec<Report> = all.collect::<Result<_>>()?;
    Ok(all.into_iter().filter(|report| report.command.starts_with(operation)).collect())
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<T> {
    text.trim().parse().with_context(|| format!("no number: {text:?}"))
}

/// The values of a file of lines `NAME VALUE`, in which a name may come several times.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(name)?.split_whitespace().next())
}

fn field<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str, name: &str) -> Result<T> {
    number(values(text, name).next().with_context(|| format!("no {name} in: {text}"))?)
}

/// All of them together; none where the name does not come.
fn sum(text: &str, name: &str) -> Option<u64> {
    values(text, name).map(|value| value.parse::<u64>().ok()).sum::<Option<u64>>().filter(|_| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name() {
        let status = "Name:\tkmodtrail\nVmRSS:\t    9472 kB\n";
        assert_eq!(field::<u64>(status, "VmRSS:").expect("there"), 9472);
        field::<u64>(status, "VmHWM:").expect_err("not there");
    }

    #[test]
    fn descriptors_are_added_up() {
        let fdinfo = "pos:\t0\nmemlock:\t4096\npos:\t0\nmemlock:\t8192\nrun_time_ns:\t7\n";
        assert_eq!(sum(fdinfo, "memlock:"), Some(12288));
        assert_eq!(sum(fdinfo, "run_cnt:"), None);
    }
}
