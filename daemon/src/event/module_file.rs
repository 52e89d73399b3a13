//! What a module's file says.

use super::Text;

/// A file that a module was loaded from, as it was read by user space: the very one, unchanged since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// SHA-256 of the module, in hexadecimal: of the file where it is not compressed, else of what it becomes; `None` where it could not be
    /// decompressed.
    pub sha256: Option<String>,
    /// SHA-256 of the file as it is.
    pub file_sha256: String,
    /// "gzip", "xz" or "zstd".
    pub compression: Option<&'static str>,
    /// When its content was changed last, as it says itself; nanoseconds since the epoch of Unix.
    pub modified: u64,
    /// What modinfo would show.
    pub info: Modinfo,
    /// Whose it is; `None` for a file of which no package manager of this host knows anything: in a container, or there is none.
    pub package: Option<Package>,
    /// Why there is not more to say: it is no module, or could not be decompressed.
    pub error: Option<String>,
}

/// What a module says of itself: include/linux/moduleinfo.h. Nobody has checked that it is true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modinfo {
    /// The name that it gives itself.
    pub name: Option<Text>,
    /// MODULE_LICENSE.
    pub license: Option<Text>,
    /// The first MODULE_AUTHOR.
    pub author: Option<Text>,
    /// The kernel that it was built for.
    pub vermagic: Option<Text>,
    /// MODULE_VERSION.
    pub version: Option<Text>,
    /// Checksum of its sources.
    pub srcversion: Option<Text>,
    /// Modules that it needs.
    pub depends: Vec<Text>,
    /// It says that it is of the kernel's own tree.
    pub intree: bool,
    /// How many aliases it has.
    pub aliases: u32,
    /// The linker's build id, hexadecimal.
    pub build_id: Option<String>,
}

/// What the package managers of this host say of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Package {
    /// One of their packages has it.
    Owned {
        /// "dpkg", "rpm" or "dkms".
        manager: &'static str,
        /// Its name.
        name: Text,
        /// Its version, where it is known.
        version: Option<Text>,
    },
    /// None of their packages has it.
    NotOwned,
    /// There is a package manager, and why it can't say.
    Unknown(String),
}
