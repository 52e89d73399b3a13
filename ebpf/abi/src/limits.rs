//! How much of everything a record may hold. The sum is asserted to fit, so that no name that an attacker chooses can push
//! another part out of the record.

use crate::{FileFacts, Head, Identity};

/// Ancestors in a record.
pub const ANCESTORS: usize = 8;
/// Longest path component (NAME_MAX) with its length byte.
pub const COMPONENT: usize = 256;
/// Components that a path walk takes before it gives up.
pub const PATH_STEPS: usize = 40;
/// Levels that a control group walk takes.
pub const CGROUP_STEPS: usize = 16;
/// Hierarchies of control groups: one for each of the kernel's controllers, and those that have only a name.
pub const HIERARCHIES: u64 = 16;
/// No further component is added to a control group path once it is this long.
pub const CGROUP_BUDGET: usize = 1024;
/// The same for executable and working directory.
pub const PATH_BUDGET: usize = 2048;
/// The same for the module file: PATH_MAX.
pub const FILE_BUDGET: usize = 4096;
/// Bytes of arguments.
pub const ARGV_BYTES: usize = 2048;
/// Bytes of module parameters.
pub const PARAMETER_BYTES: usize = 2048;
/// Bytes of an appended signature: an RSA-4096 one without certificates has 681.
pub const SIGNATURE_BYTES: usize = 4095;
/// Bytes of `struct module_signature`, include/linux/module_signature.h.
pub const SIGNATURE_INFO_BYTES: usize = 12;
/// Bytes of names, aliases and versions, NUL included. MODULE_NAME_LEN is 64 - sizeof(unsigned long).
pub const NAME_BYTES: usize = 64;
/// Bytes of the helper's path (KMOD_PATH_LEN) and of one argument.
pub const HELPER_BYTES: usize = 256;
/// Arguments of a helper.
pub const HELPER_ARGS: usize = 6;
/// Settings whose writers are told.
pub const WATCHED_SETTINGS: usize = 8;
/// A section's header.
pub const SECTION_HEADER: usize = 8;

/// Where a piece of a record may begin at the most. One less than a power of two: the verifier learns the bound from a mask.
pub const POSITION_MASK: u32 = 0x3fff;
/// The longest single piece.
pub const PIECE: usize = 4096;
/// Size of the scratch space, per CPU, in which a record is made.
pub const SCRATCH: usize = POSITION_MASK as usize + 1 + PIECE;

/// A path's worst case: one component more than its budget, the header, the padding.
const fn path(budget: usize) -> usize {
    SECTION_HEADER + budget + COMPONENT + 7
}
/// The same for a plain string.
const fn bytes(n: usize) -> usize {
    SECTION_HEADER + n + 7
}

/// Head, identity and the sections that say who.
const WHO: usize =
    size_of::<Head>() + size_of::<Identity>() + path(CGROUP_BUDGET) + 2 * path(PATH_BUDGET) + bytes(ARGV_BYTES);
/// The longest of the parts that follow: the file of finit_module. The others are name, version and srcversion; name and
/// parameters; the helper's path and arguments; the signature; a setting's name, owner and value.
const WHAT: usize = path(size_of::<FileFacts>() + FILE_BUDGET);
/// The longest record that there can be.
pub const RECORD_MAX: usize = WHO + WHAT;

const _: () = {
    assert!(RECORD_MAX <= POSITION_MASK as usize);
    assert!(3 * bytes(NAME_BYTES) <= WHAT && bytes(NAME_BYTES) + bytes(PARAMETER_BYTES) <= WHAT);
    assert!(bytes(HELPER_BYTES) + bytes(HELPER_BYTES * HELPER_ARGS) <= WHAT);
    assert!(2 * bytes(NAME_BYTES) + bytes(HELPER_BYTES) <= WHAT);
    assert!(bytes(SIGNATURE_INFO_BYTES + SIGNATURE_BYTES) <= WHAT && SIGNATURE_BYTES <= PIECE);
    assert!(ARGV_BYTES <= PIECE && PARAMETER_BYTES <= PIECE && COMPONENT <= PIECE);
    // PCPU_MIN_UNIT_SIZE (include/linux/percpu.h, 5.8 to 7.x): the kernel refuses larger per-CPU values.
    assert!(SCRATCH <= 32 << 10);
};
