//! A server that runs beside us: what it says, what a test does to it, and an end that is certain.

use std::{
    fs, io,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        signal::{self, Signal},
        wait::{self, WaitPidFlag},
    },
    unistd::{Pid, SysconfVar, sysconf},
};

use super::wait_for;
use crate::command;

/// When to give up on a server that hangs as it starts or stops. No expectation: a slow machine must not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How much of a long log is worth reading when something went wrong.
const LINES_SHOWN: usize = 200;

/// A server that is running. It is killed when this is dropped, and by the kernel when we are gone.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: Arc<Log>,
}

/// The lines that a server wrote, over all the times that it was started.
#[derive(Debug)]
pub(crate) struct Log {
    title: String,
    lines: Mutex<Vec<String>>,
}

impl Process {
    /// Starts a server and waits for the line on its standard output or error that says that it is ready.
    ///
    /// # Errors
    /// When it can't be started, or ends before it is ready; the text has what it wrote.
    pub(crate) fn start(command: Command, log: &Arc<Log>, ready: &'static str) -> Result<Self> {
        let (tell, told) = mpsc::channel();
        let process = Self::launch(command, log, move |line| {
            if line.contains(ready) {
                _ = tell.send(()); // nobody listens after the first one
            }
        })?;
        let title = &log.title;
        match told.recv_timeout(PATIENCE) {
            Ok(()) => Ok(process),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("{title} ended before it was ready\n{}", log.evidence()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("{title} is not ready after {} s\n{}", PATIENCE.as_secs(), log.evidence())
            }
        }
    }

    /// Starts a server that says nothing.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start_silent(command: Command, log: &Arc<Log>) -> Result<Self> {
        Self::launch(command, log, |_| ())
    }

    fn launch(mut command: Command, log: &Arc<Log>, on_line: impl Fn(&str) + Send + 'static) -> Result<Self> {
        let shown = command::shown(&command);
        let (output, input) = io::pipe().context("making a pipe")?;
        command.stdin(Stdio::null()).stdout(input.try_clone().context("copying a pipe")?).stderr(input);
        // SAFETY: prctl(2) is async-signal-safe and touches nothing of the parent's memory.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        log.add(format!("$ {shown}"));
        let child = spawn(command).with_context(|| format!("starting `{shown}`"))?;
        let process = Self { child, log: Arc::clone(log) };
        let log = Arc::clone(log);
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                on_line(&line);
                log.add(line);
            }
        });
        Ok(process)
    }

    /// SIGKILL, and its end.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.end()
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it had ended already, or does not end.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?; // one that is paused would never see the first
        self.wait_for_end()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn wait_for_end(&mut self) -> Result<()> {
        let what = format!("the end of {}", self.log.title);
        wait_for(&what, || Ok((!self.is_running()?).then_some(())))
    }

    /// Waits until it ends by itself, and returns the CPU time that it took.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn cpu_time_at_end(&mut self) -> Result<Duration> {
        // not reaped yet, it still has its times
        let pid = wait::Id::Pid(Pid::from_raw(self.child.id().cast_signed()));
        wait::waitid(pid, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("waiting for a process")?;
        let time = self.cpu_time()?;
        self.wait_for_end()?;
        Ok(time)
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Its number in /proc.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended by itself.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().with_context(|| format!("asking for {}", self.log.title))?.is_none())
    }

    /// The CPU time that all of its threads took so far, in user space and in the kernel.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
        let ticks = ticks(&stat).with_context(|| format!("no CPU time in {path}: {stat}"))?;
        Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
    }

    /// Any signal.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        signal::kill(pid, signal).with_context(|| format!("sending {signal} to {}", self.log.title))
    }

    fn end(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.log.title))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.log.title)).map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.end(); // it may have ended by itself
    }
}

impl Log {
    /// An empty one of a server that a reader knows by this name.
    pub(crate) fn new(title: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { title: title.into(), lines: Mutex::default() })
    }

    /// What it said last, to be read.
    pub(crate) fn evidence(&self) -> String {
        let lines = self.lines();
        let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        let text: String = last.iter().flat_map(|line| [line, "\n"]).collect();
        format!("--- the log of {}\n{text}", self.title)
    }

    /// The first line of all that has this text in it.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        self.lines().iter().find(|line| line.contains(text)).cloned()
    }

    /// All lines that have this text in them.
    pub(crate) fn find_all(&self, text: &str) -> Vec<String> {
        self.lines().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    fn add(&self, line: String) {
        self.lines().push(line);
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fields utime and stime of /proc/PID/stat (proc_pid_stat(5)), after the name, which may have any character.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// A child gets its parent-death signal when the thread that started it ends (prctl(2)), and the threads of tests come and go:
/// so one thread that never ends starts them all.
fn spawn(command: Command) -> Result<Child> {
    type Request = (Command, mpsc::SyncSender<io::Result<Child>>);
    static STARTER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
        let (send, receive) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in receive {
                _ = answer.send(command.spawn());
            }
        });
        send
    });
    let (answer, answered) = mpsc::sync_channel(1);
    STARTER.send((command, answer)).context("nobody starts processes")?;
    Ok(answered.recv().context("nobody starts processes")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, ready: &'static str) -> Result<Process> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, &Log::new("a shell"), ready)
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_says_why() {
        let error = shell("echo cannot bind >&2; exit 1", "ready").expect_err("not ready");
        assert!(error.to_string().contains("cannot bind"), "{error}");
    }

    #[test]
    fn a_server_outlives_the_thread_that_asked_for_it() {
        let asked = thread::spawn(|| shell("echo ready; exec sleep 1000", "ready").expect("ready"));
        let mut server = asked.join().expect("no panic");
        // The signal would come as the thread ends, before join returns or very soon after.
        thread::sleep(Duration::from_millis(50));
        assert!(server.is_running().expect("asked"));
        server.kill().expect("killed");
    }

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        assert_eq!(ticks("1 (a) b) S 2 3 4 5 6 7 8 9 10 11 30 12 0 0"), Some(42));
    }
}
