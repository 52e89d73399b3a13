//! A guest without systemd: the kernel and one initramfs with busybox, the programs under test and the fixtures.
//!
//! Three seconds from QEMU's start to its end. What is in it:
//! /actor (src/bin/actor), /fixtures/*.ko (src/fixtures.rs), /kmodtrail if asked for, busybox, and an empty /out whose
//! files are in the [`Outcome`].

use std::{
    fs,
    io::BufWriter,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    Outcome,
    initramfs::{Content, Initramfs},
    machine::{self, Ended, Machine},
};
use crate::{evidence::Evidence, kernels::Kernel, testbed::Testbed};

const INIT: &str = include_str!("fast-init.sh");
const PRELUDE: &str = include_str!("prelude.sh");

/// A guest to be run.
pub(crate) struct Guest<'a> {
    testbed: &'a Testbed,
    kernel: &'a Kernel,
    evidence: Evidence,
    processors: u32,
    memory: u32,
    limit: Duration,
    counted: bool,
    audit: bool,
    sleeps: bool,
    command_line: String,
    programs: Vec<(String, PathBuf)>,
    files: Vec<(String, Content)>,
    script: String,
}

impl<'a> Guest<'a> {
    /// One with one processor and nothing to do.
    pub(crate) fn new(testbed: &'a Testbed, kernel: &'a Kernel) -> Self {
        Self {
            testbed,
            kernel,
            evidence: Evidence::default(),
            processors: 1,
            memory: kernel.line().memory,
            limit: Duration::from_secs(120),
            counted: false,
            audit: false,
            sleeps: false,
            command_line: String::new(),
            programs: Vec::new(),
            files: Vec::new(),
            script: String::new(),
        }
    }

    /// Keeps the outcome for the report of a scenario that fails.
    pub(crate) fn evidence(mut self, evidence: &Evidence) -> Self {
        self.evidence = evidence.clone();
        self
    }

    /// The number of processors.
    pub(crate) fn processors(mut self, number: u32) -> Self {
        self.processors = number;
        self
    }

    /// Memory in megabytes.
    pub(crate) fn memory(mut self, megabytes: u32) -> Self {
        self.memory = megabytes;
        self
    }

    /// When to give up on a guest that hangs. No expectation: a slow machine must not fail a scenario.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// One nanosecond of the guest's clocks is one instruction that it executed. For one processor only.
    pub(crate) fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// Leaves the kernel's audit to be switched on by whoever wants it, as on an installed system.
    pub(crate) fn audit(mut self) -> Self {
        self.audit = true;
        self
    }

    /// Can wake from ACPI's S3. QEMU resets the machine then, which would load an ELF image anew over the sleeping kernel.
    pub(crate) fn sleeps(mut self) -> Self {
        self.sleeps = true;
        self
    }

    /// More for the kernel's command line (`module.sig_enforce=1`).
    pub(crate) fn command_line(mut self, more: &str) -> Self {
        self.command_line.push(' ');
        self.command_line.push_str(more);
        self
    }

    /// Adds a file, executable.
    pub(crate) fn file(mut self, path: &str, content: impl Into<Content>) -> Self {
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Adds a program of the host with its shared libraries.
    pub(crate) fn program(mut self, path: &str, host: impl Into<PathBuf>) -> Self {
        self.programs.push((path.to_owned(), host.into()));
        self
    }

    /// Adds the daemon as /kmodtrail.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn daemon(self) -> Result<Self> {
        let daemon = self.testbed.daemon()?;
        Ok(self.program("/kmodtrail", daemon))
    }

    /// The script to run, for busybox's sh. `act` in it is the actor, whose reports are in [`Outcome::actions`].
    pub(crate) fn script(mut self, text: &str) -> Self {
        self.script = text.to_owned();
        self
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    /// When the guest hangs or does not come to the script's end. That the script fails is no error here.
    pub(crate) fn run(self) -> Result<Rc<Outcome>> {
        let work = tempfile::tempdir().context("making a temporary folder for the guest")?;
        let (initrd, archive) = (work.path().join("initrd"), work.path().join("out.tar.gz"));
        self.write_initramfs(&initrd)?;
        let ended = machine::to_its_init(self.kernel, || self.boot(&initrd, &archive))?;
        let archive = fs::read(&archive).with_context(|| format!("reading {}", archive.display()))?;
        let outcome = Rc::new(Outcome::new(self.kernel.release(), ended, &archive)?);
        let kept = Rc::clone(&outcome);
        self.evidence.keep(move || kept.evidence());
        Ok(outcome)
    }

    fn boot(&self, initrd: &Path, archive: &Path) -> Result<Ended> {
        let mut machine = Machine::new(self.memory, 64, self.processors, self.limit);
        machine.console(false);
        if self.counted {
            machine.counted();
        }
        // The cloud kernels have a serial driver built in, but neither 9p nor virtio.
        machine.arguments(["-serial", &format!("file:{}", archive.display())]);
        let image = if self.sleeps { self.kernel.vmlinuz() } else { self.kernel.vmlinux() };
        machine.arguments(["-kernel".as_ref(), image.as_os_str(), "-initrd".as_ref(), initrd.as_os_str()]);
        let audit = if self.audit { "" } else { " audit=0" };
        let command_line = format!("console=ttyS0 quiet panic=-1 mitigations=off{audit}{}", self.command_line);
        machine.arguments(["-append", &command_line]);
        machine.run(&mut |_| ())
    }

    fn write_initramfs(&self, path: &Path) -> Result<()> {
        let file = fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut initramfs = Initramfs::new(BufWriter::new(file), INIT)?;
        initramfs.file("do.sh", &format!("{PRELUDE}{}", self.script).into())?;
        initramfs.program("actor", &self.testbed.actor()?)?;
        for (name, fixture) in self.testbed.fixtures(self.kernel)?.files()? {
            initramfs.file(format!("fixtures/{name}"), &fixture.into())?;
        }
        for (path, host) in &self.programs {
            initramfs.program(path, host)?;
        }
        for (path, content) in &self.files {
            initramfs.file(path, content)?;
        }
        initramfs.finish()
    }
}
