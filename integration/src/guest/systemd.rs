//! A guest with systemd: Debian bookworm from a disk, or another [`Root`], with the modules of its kernel.
//!
//! Ten to fifteen seconds. The same paths as in a fast guest: /actor, /fixtures/*.ko, /kmodtrail if asked for, /out. The
//! disk `/dev/disk/by-id/virtio-xfs` has an xfs, so that mounting it makes the kernel load a module by itself.

mod disks;

use std::{
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use self::disks::Boot;
pub(crate) use self::disks::{Root, prepare_kernel, prepare_root};
use super::{
    Outcome,
    initramfs::{Content, libraries},
    machine::{self, Ended, Machine},
};
use crate::{evidence::Evidence, fixtures, kernels::Kernel, testbed::Testbed};

const PRELUDE: &str = include_str!("prelude.sh");

/// The guest's own address and the host's, in QEMU's user network. There is no DHCP client in the guest.
const NETWORK: &str = "
udevadm wait --timeout=60 /sys/class/net/eth0
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
";

/// A guest to be run.
pub(crate) struct Guest<'a> {
    testbed: &'a Testbed,
    kernel: &'a Kernel,
    root: Root,
    evidence: Evidence,
    processors: u32,
    memory: u32,
    limit: Duration,
    kept: bool,
    network: bool,
    command_line: String,
    qemu: Vec<String>,
    programs: Vec<(String, PathBuf)>,
    files: Vec<(String, Content)>,
    script: String,
    on_line: Box<dyn FnMut(&str) + 'a>,
}

impl<'a> Guest<'a> {
    /// One with one processor and nothing to do: two guests at a time have one of this machine's each.
    pub(crate) fn new(testbed: &'a Testbed, kernel: &'a Kernel) -> Self {
        Self {
            testbed,
            kernel,
            root: Root::default(),
            evidence: Evidence::default(),
            processors: 1,
            memory: kernel.line().memory + 512,
            limit: Duration::from_secs(300),
            kept: false,
            network: false,
            command_line: String::new(),
            qemu: Vec::new(),
            programs: Vec::new(),
            files: Vec::new(),
            script: String::new(),
            on_line: Box::new(|_| ()),
        }
    }

    /// Keeps the outcome for the report of a scenario that fails.
    pub(crate) fn evidence(mut self, evidence: &Evidence) -> Self {
        self.evidence = evidence.clone();
        self
    }

    /// Another root.
    pub(crate) fn root(mut self, root: Root) -> Self {
        self.root = root;
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

    /// More for the kernel's command line.
    pub(crate) fn command_line(mut self, more: &str) -> Self {
        self.command_line.push(' ');
        self.command_line.push_str(more);
        self
    }

    /// More arguments for QEMU.
    pub(crate) fn qemu<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.qemu.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A network: this machine's 127.0.0.1 is 10.0.2.2 in the guest.
    pub(crate) fn network(mut self) -> Self {
        self.network = true;
        self.qemu(["-netdev", "user,id=network", "-device", "virtio-net-pci,netdev=network"])
    }

    /// After the script a root shell on the user's terminal, until the user leaves it.
    pub(crate) fn kept(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Is called with each line of the console as it arrives; what the script prints is there at once.
    pub(crate) fn on_line(mut self, call: impl FnMut(&str) + 'a) -> Self {
        self.on_line = Box::new(call);
        self
    }

    /// Adds a file, executable.
    pub(crate) fn file(mut self, path: &str, content: impl Into<Content>) -> Self {
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Adds a program of the host, with those of its shared libraries that the guest lacks.
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

    /// The script to run as root, for bash. It starts with the boot still going on: wait for
    /// `systemctl is-system-running --wait` where that matters.
    pub(crate) fn script(mut self, text: &str) -> Self {
        self.script = text.to_owned();
        self
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    /// When the guest hangs or does not come to the script's end. That the script fails is no error here.
    pub(crate) fn run(mut self) -> Result<Rc<Outcome>> {
        let cache = self.testbed.cache();
        let (root, boot) = (prepare_root(cache, self.root)?, prepare_kernel(cache, self.kernel)?);
        let work = tempfile::tempdir().context("making a temporary folder for the guest")?;
        let (input, output) = (work.path().join("in.tar"), work.path().join("out.tar.gz"));
        self.write_input(&input)?;
        let ended = machine::to_its_init(self.kernel, || self.boot(&root, &boot, &input, &output))?;
        let archive = fs::read(&output).with_context(|| format!("reading {}", output.display()))?;
        let outcome = Rc::new(Outcome::new(self.kernel.release(), ended, &archive)?);
        let kept = Rc::clone(&outcome);
        self.evidence.keep(move || kept.evidence());
        Ok(outcome)
    }

    fn boot(&mut self, root: &Path, boot: &Boot, input: &Path, output: &Path) -> Result<Ended> {
        let mut machine = Machine::new(self.memory, 256, self.processors, self.limit);
        machine.console(self.kept);
        machine.arguments(["-kernel".as_ref(), self.kernel.vmlinux().as_os_str()]);
        machine.arguments(["-initrd".as_ref(), boot.initrd.as_os_str()]);
        let command_line = "console=ttyS0 panic=-1 quiet net.ifnames=0 mitigations=off audit=0 systemd.show_status=0";
        machine.arguments(["-append", &format!("{command_line}{}", self.command_line)]);
        // In the order of /dev/vda to /dev/vdd: disks.rs counts on it.
        drive(&mut machine, "root", root, "snapshot=on");
        drive(&mut machine, "modules", &boot.modules, "readonly=on");
        drive(&mut machine, "input", input, "readonly=on");
        drive(&mut machine, "xfs", &fixtures::xfs_image(self.testbed.cache())?, "snapshot=on");
        // Without a source of randomness systemd waits for the emulated processor's jitter.
        machine.arguments(["-object", "rng-random,id=random,filename=/dev/urandom"]);
        machine.arguments(["-device", "virtio-rng-pci,rng=random", "-device", "virtio-serial-pci"]);
        machine.arguments(["-chardev", &format!("file,id=out,path={}", output.display())]);
        machine.arguments(["-device", "virtserialport,chardev=out,name=out"]).arguments(&self.qemu);
        machine.run(&mut self.on_line)
    }

    /// Writes the tar that the guest's initramfs unpacks into the root.
    fn write_input(&self, path: &Path) -> Result<()> {
        let file = fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut archive = tar::Builder::new(file);
        let mut add = |path: &str, content: &Content| add(&mut archive, path, content);
        let network = if self.network { NETWORK } else { "" };
        add("/do.sh", &format!("{PRELUDE}{network}{}", self.script).into())?;
        if self.kept {
            add("/keep", &"".into())?;
        }
        add("/actor", &self.testbed.actor()?.into())?;
        for (name, fixture) in self.testbed.fixtures(self.kernel)?.files()? {
            add(&format!("/fixtures/{name}"), &fixture.into())?;
        }
        for (path, host) in &self.programs {
            add(path, &host.as_path().into())?;
            for library in libraries(host)? {
                add(&format!("/host-libraries{}", library.display()), &library.as_path().into())?;
            }
        }
        for (path, content) in &self.files {
            add(path, content)?;
        }
        archive.finish().with_context(|| format!("writing {}", path.display()))
    }
}

fn add(archive: &mut tar::Builder<fs::File>, path: &str, content: &Content) -> Result<()> {
    let bytes = content.bytes()?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(bytes.len() as u64);
    let inside = path.trim_start_matches('/');
    archive
        .append_data(&mut header, inside, bytes.as_slice())
        .with_context(|| format!("adding {path} to the guest's files"))
}

fn drive(machine: &mut Machine, serial: &str, image: &Path, option: &str) {
    let drive = format!("file={},format=raw,if=none,id={serial},{option}", image.display());
    machine.arguments(["-drive", &drive, "-device", &format!("virtio-blk-pci,drive={serial},serial={serial}")]);
}
