//! A module's signature.

use std::sync::Arc;

use super::{Severity, Text};

/// `linux.kernel_module.signature.state`: what the kernel did with the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureState {
    /// The kernel verified it.
    Valid,
    /// There is none.
    Unsigned,
    /// Signed with a key that this kernel does not have: -ENOKEY.
    UntrustedKey,
    /// It does not match, or can't be read: -EKEYREJECTED, -EBADMSG.
    Bad,
    /// An algorithm or format that this kernel can't check: -ENOPKG.
    Unsupported,
    /// The kernel did not look at it: it checks no signatures, or the module was forced in (MODULE_INIT_IGNORE_MODVERSIONS,
    /// MODULE_INIT_IGNORE_VERMAGIC).
    NotChecked,
    /// Not seen.
    Unknown,
}

impl SignatureState {
    /// The value of the attribute.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unsigned => "unsigned",
            Self::UntrustedKey => "untrusted_key",
            Self::Bad => "bad",
            Self::Unsupported => "unsupported",
            Self::NotChecked => "not_checked",
            Self::Unknown => "unknown",
        }
    }

    /// From what mod_verify_sig returned (kernel/module/signing.c): 0 or a negative errno.
    #[must_use]
    pub fn from_verification(result: i64) -> Self {
        use nix::errno::Errno;
        match result {
            0 => Self::Valid,
            // include/uapi: the appended data is not there or too short for a signature
            e if e == -(Errno::ENODATA as i64) => Self::Unsigned,
            e if e == -(Errno::ENOKEY as i64) => Self::UntrustedKey,
            e if e == -(Errno::ENOPKG as i64) => Self::Unsupported,
            _ => Self::Bad,
        }
    }

    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Valid | Self::NotChecked => Severity::Info,
            _ => Severity::Warn,
        }
    }
}

/// What is known of a module's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What the kernel did with it.
    pub state: SignatureState,
    /// Whether this kernel refuses modules without a valid one; `None` where that could not be found out.
    pub enforced: Option<bool>,
    /// What stands at the end of the image.
    pub appended: Appended,
    /// The kernel's keyring with the key that it was valid for, where that can be told.
    pub keyring: Option<&'static str>,
}

/// What stands at the end of a module's image, where the kernel looks for a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The image was not seen.
    Unknown,
    /// No signature.
    Nothing,
    /// `struct module_signature` and the signature, as the kernel's record has them: not read yet.
    Raw(Arc<[u8]>),
    /// What it says.
    Block(Arc<SignatureBlock>),
    /// It can't be read, and why.
    Unreadable(&'static str),
}

/// What a signature says of itself. That it is true is another matter: [`SignatureState`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureBlock {
    /// Common name of the one whose key it is.
    pub signer: Option<Text>,
    /// Serial number of the certificate, or identifier of the key: hexadecimal, as `modinfo -F sig_key` without its colons.
    pub key_id: String,
    /// "sha256"; the object identifier of what has no name.
    pub hash_algorithm: String,
    /// When it was made, nanoseconds since the epoch of Unix, where it says so.
    pub time: Option<u64>,
}

impl Signature {
    /// Nothing was seen.
    pub const UNKNOWN: Self =
        Self { state: SignatureState::Unknown, enforced: None, appended: Appended::Unknown, keyring: None };
}

impl Appended {
    /// Whether there is one; `None` where the image was not seen.
    #[must_use]
    pub const fn is_there(&self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Nothing => Some(false),
            Self::Raw(_) | Self::Block(_) | Self::Unreadable(_) => Some(true),
        }
    }
}
