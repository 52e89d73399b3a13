//! The kernel lines that are tested, and where Debian has them.

use anyhow::{Context as _, Result};

/// A line of kernel releases.
#[derive(Debug)]
pub(crate) struct Line {
    /// What the user types: `6.12`, `7-rt`.
    pub(crate) name: &'static str,
    /// The regular expression of its package names.
    pub(super) pattern: &'static str,
    /// Asked in this order; the first that has a kernel of the line wins.
    pub(crate) sources: &'static [Source],
    /// Megabytes of memory that a fast guest needs.
    pub(crate) memory: u32,
}

/// Suites that have a line, and what builds modules for its kernels.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) suites: &'static [&'static str],
    /// The distribution that mmdebstrap makes a module builder of.
    pub(crate) base: &'static str,
    /// The compiler that the line's headers ask for.
    pub(crate) compiler: &'static str,
}

impl Source {
    /// A name for the cache.
    pub(crate) fn name(&self) -> String {
        self.suites.join("+")
    }
}

const BULLSEYE: &[Source] =
    &[Source { suites: &["bullseye", "bullseye-security"], base: "bullseye", compiler: "gcc-10" }];
const BOOKWORM: &[Source] =
    &[Source { suites: &["bookworm", "bookworm-updates", "bookworm-security"], base: "bookworm", compiler: "gcc-12" }];
const BOOKWORM_BACKPORTS: &[Source] = &[Source {
    suites: &["bookworm", "bookworm-backports", "bookworm-security"],
    base: "bookworm",
    compiler: "gcc-12",
}];
const NEWEST: &[Source] = &[
    Source { suites: &["trixie", "trixie-backports"], base: "trixie", compiler: "gcc-14" },
    Source { suites: &["sid"], base: "sid", compiler: "gcc" },
];

const LINES: &[Line] = &[
    Line { name: "5.10", pattern: r"^linux-image-5\.10\..*-cloud-amd64$", sources: BULLSEYE, memory: 256 },
    Line { name: "6.1", pattern: r"^linux-image-6\.1\..*-cloud-amd64$", sources: BOOKWORM, memory: 256 },
    Line { name: "6.12", pattern: r"^linux-image-6\.12\..*-cloud-amd64$", sources: BOOKWORM_BACKPORTS, memory: 256 },
    Line { name: "7", pattern: r"^linux-image-7\..*-cloud-amd64$", sources: NEWEST, memory: 256 },
    Line { name: "6.1-full", pattern: r"^linux-image-6\.1\.[0-9.]+-[0-9]+-amd64$", sources: BOOKWORM, memory: 512 },
    Line { name: "7-full", pattern: r"^linux-image-7\.[0-9.]+\+deb[0-9.]+-amd64$", sources: NEWEST, memory: 512 },
    Line { name: "6.1-rt", pattern: r"^linux-image-6\.1\..*-rt-amd64$", sources: BOOKWORM, memory: 512 },
    Line { name: "6.12-rt", pattern: r"^linux-image-6\.12\..*-rt-amd64$", sources: BOOKWORM_BACKPORTS, memory: 512 },
    Line { name: "7-rt", pattern: r"^linux-image-7\..*-rt-amd64$", sources: NEWEST, memory: 512 },
];

/// The lines that every run covers.
pub(crate) const DEFAULT_LINES: usize = 4;

/// All lines, those that every run covers first.
pub(crate) fn lines() -> &'static [Line] {
    LINES
}

/// The line of that name.
///
/// # Errors
/// When there is none; the text lists them.
pub(crate) fn line(name: &str) -> Result<&'static Line> {
    let names = || LINES.iter().map(|line| line.name).collect::<Vec<_>>().join(", ");
    LINES.iter().find(|line| line.name == name).with_context(|| format!("no kernel {name}: there are {}", names()))
}
