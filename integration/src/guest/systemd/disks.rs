//! The disks of guests with systemd: a root, others for those that need container runtimes or a newer systemd, and per kernel its modules
//! and an initramfs that finds the disks.

use std::{
    fs::{self, File},
    io::BufWriter,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    apt::Suites,
    cache::{self, Cache},
    command, fixtures,
    guest::initramfs::Initramfs,
    kernels::Kernel,
    progress::say,
};

const INIT: &str = include_str!("init.sh");
const SCENARIO: &str = include_str!("scenario.sh");
const SERVICE: &str = include_str!("scenario.service");

/// Which root a guest has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Root {
    /// A small system.
    #[default]
    Plain,
    /// With all the container runtimes that Debian has, none of them started.
    Containers,
    /// As small a system of the next Debian: systemd 257 in the place of 252.
    Newer,
    /// The small system with rpm beside dpkg.
    Rpm,
    /// The small system with what else processes come from: sshd and sudo, cron, users of systemd-userdbd. None of them started.
    Logins,
}

/// What every root has beside the essential packages.
const PACKAGES: &str = "dbus,iproute2,kmod,libpam-systemd,mount,procps,systemd-sysv,udev,xfsprogs";

/// What [`Root::Containers`] has beside that.
const RUNTIMES: &str = ",conmon,containerd,crun,docker.io,podman,runc,systemd-container";

/// What those would start at boot.
const RUNTIME_UNITS: &[&str] = &[
    "containerd.service",
    "docker.service",
    "docker.socket",
    "machines.target",
    "podman-auto-update.service",
    "podman-auto-update.timer",
    "podman-restart.service",
    "podman.service",
    "podman.socket",
];

/// What [`Root::Logins`] has beside the small system.
const DOORS: &str = ",cron,openssh-client,openssh-server,passwd,sudo,systemd-userdbd";

/// What those would start at boot.
const DOOR_UNITS: &[&str] =
    &["cron.service", "ssh.service", "ssh.socket", "systemd-userdbd.service", "systemd-userdbd.socket"];

impl Root {
    /// Its name in the cache.
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "systemd-root",
            Self::Containers => "systemd-root-containers",
            Self::Newer => "systemd-root-newer",
            Self::Rpm => "systemd-root-rpm",
            Self::Logins => "systemd-root-logins",
        }
    }

    /// The release of Debian that it is made of, and that one's suites.
    const fn distribution(self) -> (&'static str, [&'static str; 3]) {
        match self {
            Self::Plain | Self::Containers | Self::Rpm | Self::Logins => {
                ("bookworm", ["bookworm", "bookworm-updates", "bookworm-security"])
            }
            Self::Newer => ("trixie", ["trixie", "trixie-updates", "trixie-security"]),
        }
    }

    fn packages(self) -> String {
        match self {
            Self::Plain | Self::Newer => PACKAGES.to_owned(),
            Self::Containers => format!("{PACKAGES}{RUNTIMES}"),
            Self::Rpm => format!("{PACKAGES},rpm"),
            Self::Logins => format!("{PACKAGES}{DOORS}"),
        }
    }

    /// Its size for mke2fs: the packages take half of it.
    const fn size(self) -> &'static str {
        match self {
            Self::Plain | Self::Newer => "500M",
            Self::Rpm | Self::Logins => "700M",
            Self::Containers => "2G",
        }
    }

    /// Units that its packages would have started at boot, and that no guest needs before its script says so.
    const fn idle_units(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Newer | Self::Rpm => &[],
            Self::Containers => RUNTIME_UNITS,
            Self::Logins => DOOR_UNITS,
        }
    }
}

/// What needs the time of a boot and is of no use in a guest.
const MASKED_UNITS: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty@tty1.service",
    "ldconfig.service",
    "serial-getty@ttyS0.service",
    "systemd-hwdb-update.service",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "systemd-update-utmp.service",
];

/// What the initramfs loads to reach the disks and the port that the output leaves by.
const BOOT_MODULES: &[&str] = &["virtio_pci", "virtio_blk", "virtio_console", "ext4"];

/// The per-kernel half of a guest.
pub(crate) struct Boot {
    /// An ext4 image of /lib/modules.
    pub(super) modules: PathBuf,
    /// The initramfs.
    pub(super) initrd: PathBuf,
}

/// Makes the root image if need be and returns it.
///
/// # Errors
/// When this is not root, or when mmdebstrap fails.
pub(crate) fn prepare_root(cache: &Cache, kind: Root) -> Result<PathBuf> {
    let (name, packages, size) = (kind.name(), kind.packages(), kind.size());
    let (distribution, suites) = kind.distribution();
    let parts = (distribution, &packages, size, MASKED_UNITS, SCENARIO, SERVICE);
    let version = match kind.idle_units() {
        [] => cache::fingerprint(parts),
        idle => cache::fingerprint((parts, idle)),
    };
    let folder = cache.entry(name, &version, |place| {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "making the guests' root needs root: run `cargo xtask prepare` as root once"
        );
        let sources = Suites::open(cache, &suites)?.sources();
        say(format_args!("making the {name} of guests from {distribution} (a minute)"));
        let root = place.join("root");
        let mut debootstrap = Command::new("mmdebstrap");
        debootstrap.args(["--quiet", "--mode=root", "--variant=essential", &format!("--include={packages}")]);
        debootstrap.args(["--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Check-Valid-Until false"]);
        for folder in ["doc", "man", "locale", "info"] {
            debootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
        }
        debootstrap.arg(distribution).arg(&root).arg(sources);
        command::run(debootstrap.env("LC_ALL", "C"))?;
        furnish(&root, kind).with_context(|| format!("furnishing {}", root.display()))?;
        disk(&root, &place.join("root.ext4"), size)?;
        fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))
    })?;
    cache.keep_only(name, &version)?;
    Ok(folder.join("root.ext4"))
}

fn furnish(root: &Path, kind: Root) -> Result<()> {
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::write(units.join("scenario.service"), SERVICE)?;
    symlink("../scenario.service", units.join("multi-user.target.wants/scenario.service"))?;
    for unit in MASKED_UNITS {
        let place = units.join(unit);
        _ = fs::remove_file(&place); // an alias may be there
        symlink("/dev/null", place)?;
    }
    for target in ["multi-user", "sockets", "timers", "default", "machines"] {
        for unit in kind.idle_units() {
            _ = fs::remove_file(units.join(format!("{target}.target.wants/{unit}"))); // most are wanted by one of them
        }
    }
    fs::write(root.join("scenario.sh"), SCENARIO)?;
    fs::create_dir_all(root.join("out"))?;
    fs::create_dir_all(root.join("usr/lib/modules"))?;
    fs::write(root.join("etc/machine-id"), "")?;
    fs::write(root.join("etc/hostname"), "guest\n")?;
    // mmdebstrap leaves the host's own
    _ = fs::remove_file(root.join("etc/resolv.conf"));
    fs::write(root.join("etc/resolv.conf"), "")?;
    for folder in ["var/cache/apt", "var/lib/apt/lists", "etc/apt/sources.list.d"] {
        _ = fs::remove_dir_all(root.join(folder));
    }
    _ = fs::remove_file(root.join("etc/apt/sources.list"));
    Ok(())
}

/// Makes the module disk and the initramfs of a kernel if need be.
///
/// # Errors
/// When the kernel lacks a module that a guest needs.
pub(crate) fn prepare_kernel(cache: &Cache, kernel: &Kernel) -> Result<Boot> {
    let name = format!("systemd-boot/{}", kernel.name());
    let version = format!("{}-{}", kernel.release(), cache::fingerprint((INIT, BOOT_MODULES)));
    let folder = cache.entry(&name, &version, |place| {
        say(format_args!("kernel {}: making the module disk", kernel.name()));
        let measured = command::text(Command::new("du").arg("-sm").arg(kernel.modules()))?;
        let megabytes: u64 =
            measured.split_whitespace().next().unwrap_or_default().parse().with_context(|| measured.clone())?;
        disk(&kernel.base().join("lib/modules"), &place.join("modules.ext4"), &format!("{}M", megabytes * 5 / 4 + 24))?;
        write_initramfs(kernel, &place.join("initrd"))
    })?;
    cache.keep_only(&name, &version)?;
    Ok(Boot { modules: folder.join("modules.ext4"), initrd: folder.join("initrd") })
}

fn write_initramfs(kernel: &Kernel, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut initramfs = Initramfs::new(BufWriter::new(file), INIT)?;
    let mut order: Vec<String> = Vec::new();
    for module in BOOT_MODULES {
        let mut depends = Command::new("modprobe");
        depends.arg("-d").arg(kernel.base()).args(["-S", kernel.release(), "--show-depends", module]);
        // `insmod PATH` or `builtin NAME`, dependencies first
        for path in command::text(&mut depends)?.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let file = Path::new(path.trim()).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((name, _)) = file.split_once(".ko") else { continue };
            if !order.iter().any(|known| known == name) {
                initramfs.file(format!("modules/{name}"), &fixtures::module(kernel, name)?.into())?;
                order.push(name.to_owned());
            }
        }
    }
    initramfs.file("modules/order", &format!("{}\n", order.join("\n")).into())?;
    initramfs.finish()
}

fn disk(content: &Path, image: &Path, size: &str) -> Result<()> {
    let mut mke2fs = Command::new("mke2fs");
    // No journal: the disk is thrown away. Without sbin in PATH, as on a user's shell, mke2fs is not found.
    mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]).arg(content).arg(image).arg(size);
    command::run(&mut mke2fs)
}
