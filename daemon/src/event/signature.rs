//! What a module's signature means.

use super::Severity;

/// `linux.kernel_module.signature.state`.
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
    /// This kernel checks no signatures.
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
