//! The demo on this machine's own kernel.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::keep;
use crate::{command, progress::say, testbed::Testbed};

/// How long the daemon may take to load its programs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the daemon here, loads and unloads `dummy` where this kernel has it, and stops the daemon.
///
/// # Errors
/// When this kernel can't be watched, with the daemon's own reason.
pub(super) fn run(testbed: &Testbed) -> Result<()> {
    let daemon = testbed.daemon()?;
    let work = tempfile::tempdir().context("making a temporary folder")?;
    let (config, events) = (work.path().join("kmodtrail.toml"), work.path().join("events.jsonl"));
    let text = format!(
        "[sinks.demo]\ntype = \"file\"\npath = {events:?}\n\n[[routes]]\nname = \"everything\"\nto = [\"demo\"]\n"
    );
    fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    say("starting kmodtrail on this machine");
    let mut child = Command::new(&daemon)
        .args(["run", "--print", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("running {}", daemon.display()))?;
    let watching = || fs::read_to_string(&events).is_ok_and(|text| text.contains("kmodtrail.coverage"));
    let begin = Instant::now();
    while !watching() {
        if let Some(status) = child.try_wait().context("waiting for kmodtrail")? {
            bail!("this machine's kernel can't be watched: kmodtrail ended with {status}; its reason stands above");
        }
        if begin.elapsed() > PATIENCE {
            _ = child.kill();
            bail!("kmodtrail was not ready after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    for step in [["modprobe", "dummy"], ["rmmod", "dummy"]] {
        println!("\n# {}", step.join(" "));
        if let Err(error) = command::run(Command::new(step[0]).arg(step[1])) {
            println!("{error:#}");
        }
    }
    stop(&mut child)?;
    let text = fs::read_to_string(&events).with_context(|| format!("reading {}", events.display()))?;
    println!("\nAll records, one OTLP/JSON log record per line: {}", keep("host", &text)?.display());
    Ok(())
}

fn stop(child: &mut Child) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("stopping kmodtrail")?;
    let status = child.wait().context("waiting for kmodtrail")?;
    if !status.success() {
        bail!("kmodtrail ended with {status}; its reason stands above");
    }
    Ok(())
}
