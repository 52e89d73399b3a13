//! The daemon itself on this machine: a recording is in the place of the kernel, everything behind that is as it ships.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Log, process::Process, wait_for};
use crate::{cache, command, records::Records, testbed::Testbed};

/// A configuration, and what a daemon with it leaves on the disk; it may run or not.
#[derive(Debug)]
pub(crate) struct Daemon {
    // Before the folder, so that it ends before the folder goes.
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    recording: PathBuf,
    log: Arc<Log>,
}

/// How the recording is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Play {
    /// Kernel records per second, or as fast as the daemon takes them.
    pub(crate) rate: Option<u64>,
    /// How often it is played; the daemon ends then.
    pub(crate) times: u64,
}

impl Play {
    /// For longer than any test takes.
    pub(crate) const fn for_ever(rate: u64) -> Self {
        Self { rate: Some(rate), times: u64::MAX >> 20 }
    }

    /// So slowly that between two records there is time to look at everything.
    pub(crate) const QUIETLY: Self = Self::for_ever(1);
}

/// What its status says of a sink.
#[derive(Clone, Debug)]
pub(crate) struct Sink(Value);

impl Sink {
    /// One of the ledger's sums: `seen`, `delivered`, `pending`, `routed_nowhere`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0["ledger"][name].as_u64().unwrap_or(0)
    }

    /// Records that were dropped, for whatever reason.
    pub(crate) fn dropped(&self) -> u64 {
        let reasons = self.0["ledger"]["dropped"].as_array();
        reasons.into_iter().flatten().filter_map(|dropped| dropped["count"].as_u64()).sum()
    }

    /// Those of them that became dead letters.
    pub(crate) fn refused(&self) -> u64 {
        let reasons = self.0["ledger"]["dropped"].as_array().into_iter().flatten();
        reasons.filter(|dropped| dropped["reason"] == "refused").filter_map(|dropped| dropped["count"].as_u64()).sum()
    }

    /// Why they were: `refused`.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0["ledger"]["dropped"].as_array().into_iter().flatten().filter_map(|dropped| dropped["reason"].as_str())
    }

    /// What is wrong with its far side, in the words of the one who knows; empty where nothing is.
    pub(crate) fn trouble(&self) -> &str {
        self.0["trouble"].as_str().unwrap_or_default()
    }

    /// Everything that was seen is somewhere.
    pub(crate) fn is_balanced(&self) -> bool {
        let places = ["delivered", "pending", "routed_nowhere"].map(|name| self.count(name)).iter().sum::<u64>();
        self.count("seen") == places + self.dropped()
    }
}

impl Daemon {
    /// One that was never started. `sinks` is the configuration but for what says where the daemon's own files are; FOLDER in it is
    /// the folder of [`Self::path`]. More about the spool is said first: `spool.max_size = ...`.
    ///
    /// # Errors
    /// When the daemon does not build, or nothing can be recorded.
    pub(crate) fn new(testbed: &Testbed, sinks: &str) -> Result<Self> {
        let daemon = Self {
            process: None,
            folder: tempfile::tempdir().context("making a folder for the daemon")?,
            program: testbed.daemon()?,
            recording: testbed.recording()?,
            log: Log::new("kmodtrail"),
        };
        fs::create_dir(daemon.path("credentials"))?;
        daemon.configure(sinks)?;
        Ok(daemon)
    }

    /// Writes another configuration; [`Self::signal`] with SIGHUP lets a running daemon read it.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn configure(&self, sinks: &str) -> Result<()> {
        let text = format!(
            "spool.path = \"FOLDER/spool\"\nstatus.socket = \"FOLDER/status.sock\"\n\
             dead_letters.path = \"FOLDER/dead-letters.jsonl\"\n{sinks}"
        );
        let text = text.replace("FOLDER", &self.folder.path().display().to_string());
        cache::write_atomically(&self.path("kmodtrail.toml"), &text)
    }

    /// Gives it a secret as systemd would.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn credential(&self, name: &str, secret: &str) -> Result<()> {
        cache::write_atomically(&self.path("credentials").join(name), secret)
    }

    /// Something in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it says, for the report of a failure.
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Starts it; it can be asked when this returns.
    ///
    /// # Errors
    /// When it ends at once, with its log.
    pub(crate) fn start(&mut self, play: Play) -> Result<()> {
        self.launch(play)?;
        wait_for("the daemon's answer", || {
            ensure!(self.running()?.is_running()?, "the daemon ended\n{}", self.log.evidence());
            Ok(self.status().ok().map(drop))
        })
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn launch(&mut self, play: Play) -> Result<()> {
        let mut command = self.command("run");
        command.arg("--play").arg(&self.recording).args(["--times", &play.times.to_string()]);
        if let Some(rate) = play.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        _ = fs::remove_file(self.path("status.sock")); // a daemon that was killed leaves it
        self.process = Some(Process::start_silent(command, &self.log)?);
        Ok(())
    }

    /// Starts it and lets it come to the end of its recording, and so to its own. Gives the CPU time that this took.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn play(&mut self, times: u64) -> Result<Duration> {
        self.launch(Play { rate: None, times })?;
        let cpu = self.running()?.cpu_time_at_end()?;
        self.process = None;
        Ok(cpu)
    }

    /// Runs another of the program's commands (`replay`) with its configuration, and returns what that prints.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn ask(&self, subcommand: &str, arguments: &[&str]) -> Result<String> {
        command::text(self.command(subcommand).args(arguments))
    }

    /// What `kmodtrail status --json` prints.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub(crate) fn status(&self) -> Result<Value> {
        serde_json::from_str(&self.said(&["--json"])?).context("its status is no JSON")
    }

    /// What `kmodtrail status` prints. Its exit status only says whether a sink has trouble.
    fn said(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command("status").args(arguments).output().context("starting kmodtrail status")?;
        let (said, error) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        ensure!(!said.is_empty(), "kmodtrail status ends with {} and says: {error}", output.status);
        Ok(said)
    }

    /// What it says of one sink.
    ///
    /// # Errors
    /// When the daemon does not answer, or has no such sink.
    pub(crate) fn sink(&self, name: &str) -> Result<Sink> {
        self.sinks()?.remove(name).with_context(|| format!("there is no sink {name}"))
    }

    /// What it says of all sinks at one moment, by their names.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub(crate) fn sinks(&self) -> Result<BTreeMap<String, Sink>> {
        let status = self.status()?;
        let sinks = status["sinks"].as_array().context("its status has no sinks")?;
        Ok(sinks
            .iter()
            .map(|sink| (sink["name"].as_str().unwrap_or_default().to_owned(), Sink(sink.clone())))
            .collect())
    }

    /// Waits until a sink's state is as wanted, and returns it.
    ///
    /// # Errors
    /// When it never is, with what it is instead.
    pub(crate) fn wait_for_sink(&self, name: &str, what: &str, wanted: impl Fn(&Sink) -> bool) -> Result<Sink> {
        let mut last = None;
        let found = wait_for(what, || {
            let sink = self.sink(name)?;
            if wanted(&sink) {
                return Ok(Some(sink));
            }
            last = Some(sink);
            Ok(None)
        });
        found.with_context(|| format!("of the sink {name}, which was: {last:?}"))
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.take().context("the daemon does not run")?.kill()
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().context("the daemon does not run")?.stop()
    }

    /// Ends the load, and waits until nothing waits for any sink. Gives what the ledger says of each then, by their names; all of it
    /// must be balanced. The daemon does not run afterwards.
    ///
    /// # Errors
    /// When something waits for ever, or is not accounted for.
    pub(crate) fn settle(&mut self) -> Result<BTreeMap<String, Sink>> {
        if self.process.is_some() {
            self.stop()?;
        }
        self.start(Play::QUIETLY)?;
        let sinks = wait_for("sinks that have everything", || {
            let sinks = self.sinks()?;
            Ok(sinks.values().all(|sink| sink.count("pending") == 0).then_some(sinks))
        })
        .with_context(|| format!("{:?}", self.sinks()))?;
        self.stop()?;
        for (name, sink) in &sinks {
            ensure!(sink.is_balanced() && sink.count("delivered") > 0, "the ledger of {name} is wrong: {sink:?}");
        }
        Ok(sinks)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        self.running()?.signal(signal)
    }

    /// Its process.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the daemon does not run")
    }

    /// The records in a file in its folder.
    ///
    /// # Errors
    /// When there is none, or it is not what a file sink writes.
    pub(crate) fn records(&self, name: &str) -> Result<Records> {
        let path = self.path(name);
        Records::parse(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
    }

    /// Looks for secrets where they must not be: in what the daemon says, its status, its command line and environment, and the files in
    /// its folder but for the credentials.
    ///
    /// # Errors
    /// With the place where one is, and when the daemon does not run.
    pub(crate) fn expect_no_secret(&mut self, secrets: &[&str]) -> Result<()> {
        let process = format!("/proc/{}", self.running()?.id());
        let mut places = vec![("its status".to_owned(), self.status()?.to_string().into_bytes())];
        places.push(("its status for people".to_owned(), self.said(&[])?.into_bytes()));
        places.push(("what is wrong with its configuration".to_owned(), self.ask("check", &[])?.into_bytes()));
        let files = fs::read_dir(self.folder.path())?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let files = files.into_iter().filter(|path| path.is_file());
        for file in files.chain(["cmdline", "environ"].map(|name| PathBuf::from(format!("{process}/{name}")))) {
            places.push((file.display().to_string(), fs::read(&file)?));
        }
        for secret in secrets {
            ensure!(self.log.find(secret).is_none(), "`{secret}` is in the log: {:?}", self.log.find(secret));
            for (place, content) in &places {
                let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                ensure!(!found, "`{secret}` is in {place}: {}", String::from_utf8_lossy(content));
            }
        }
        Ok(())
    }

    /// Adds a file of configuration beside the one of [`Self::configure`].
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn drop_in(&self, name: &str, text: &str) -> Result<()> {
        let folder = self.path("conf.d");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        cache::write_atomically(&folder.join(name), text)
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(subcommand).arg("--config").arg(self.path("kmodtrail.toml"));
        command.env("CREDENTIALS_DIRECTORY", self.path("credentials"));
        command
    }
}
