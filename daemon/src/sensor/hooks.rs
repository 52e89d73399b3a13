//! The one table of hooks: where each is attached, on which kernels, what it gives, and what stands in where it can't be had.

/// What a hook's absence means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Otherwise {
    /// Another hook of the table gives the same, or enough of it.
    Fallback {
        /// That hook.
        by: &'static str,
        /// What is still missing then.
        costs: &'static str,
    },
    /// This is missing.
    Costs(&'static str),
    /// Nothing is missing: this kernel does not have what the hook watches.
    NotNeeded(&'static str),
}

/// A kprobe or kretprobe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    /// Name in the coverage record and in `sensor.disabled_hooks`.
    pub(super) name: &'static str,
    /// Name in the eBPF object.
    pub(super) program: &'static str,
    /// Kernel functions: the first that can be probed is taken.
    pub(super) symbols: &'static [&'static str],
    /// Kernels of the test matrix that have it as a function of its own.
    pub(super) kernels: &'static str,
    /// What it tells.
    pub(super) gives: &'static str,
    /// Where it can't be had.
    pub(super) otherwise: Otherwise,
}

/// Prefix of a native and of a 32-bit system call's wrapper: arch/*/include/asm/syscall_wrapper.h.
macro_rules! syscall {
    ($name:literal) => {
        if cfg!(target_arch = "aarch64") { &[concat!("__arm64_sys_", $name)] } else { &[concat!("__x64_sys_", $name)] }
    };
    (compat $name:literal) => {
        if cfg!(target_arch = "aarch64") {
            // arm64 has one wrapper for both
            &[]
        } else {
            &[concat!("__ia32_sys_", $name)]
        }
    };
}

const ALL: &str = "5.10 to 7.x";

macro_rules! hook {
    ($name:literal, $program:literal, $symbols:expr, $kernels:expr, $gives:literal, $otherwise:expr) => {
        Hook {
            name: $name,
            program: $program,
            symbols: $symbols,
            kernels: $kernels,
            gives: $gives,
            otherwise: $otherwise,
        }
    };
}

use Otherwise::{Costs, Fallback, NotNeeded};

const NO_COMPAT: Otherwise = NotNeeded("this kernel has no 32-bit system calls of this name");

/// Returns come first: they are attached before the entries, so that a call that begins meanwhile is seen to its end.
pub(super) const HOOKS: &[Hook] = &[
    hook!(
        "finit_module.return",
        "finit_module_return",
        syscall!("finit_module"),
        ALL,
        "outcome of finit_module(2)",
        Fallback { by: "load_module.return", costs: "outcome of attempts that end before load_module" }
    ),
    hook!(
        "init_module.return",
        "init_module_return",
        syscall!("init_module"),
        ALL,
        "outcome of init_module(2)",
        Fallback { by: "load_module.return", costs: "outcome of attempts that end before load_module" }
    ),
    hook!(
        "delete_module.return",
        "delete_module_return",
        syscall!("delete_module"),
        ALL,
        "outcome of delete_module(2)",
        Fallback { by: "free_module", costs: "errno of unloads that fail" }
    ),
    hook!(
        "finit_module.compat.return",
        "finit_module_return",
        syscall!(compat "finit_module"),
        ALL,
        "outcome of finit_module(2) by the 32-bit entry",
        NO_COMPAT
    ),
    hook!(
        "init_module.compat.return",
        "init_module_return",
        syscall!(compat "init_module"),
        ALL,
        "outcome of init_module(2) by the 32-bit entry",
        NO_COMPAT
    ),
    hook!(
        "delete_module.compat.return",
        "delete_module_return",
        syscall!(compat "delete_module"),
        ALL,
        "outcome of delete_module(2) by the 32-bit entry",
        NO_COMPAT
    ),
    hook!(
        "load_module.return",
        "load_module_return",
        &["load_module"],
        ALL,
        "outcome of loads where no system call is watched",
        NotNeeded("the system calls' returns say it")
    ),
    hook!(
        "module_request.return",
        "security_kernel_module_request_return",
        &["security_kernel_module_request"],
        ALL,
        "requests that a security module refused",
        Costs("refusals of requests")
    ),
    hook!(
        "helper.return",
        "call_usermodehelper_exec_return",
        &["call_usermodehelper_exec"],
        ALL,
        "exit status of the helper",
        Costs("exit status of the helper")
    ),
    hook!(
        "verify_signature",
        "mod_verify_sig_return",
        &["mod_verify_sig"],
        ALL,
        "what the kernel said of the signature, and why",
        Fallback { by: "do_init_module", costs: "why a signature was not accepted: only the module's flag is known" }
    ),
    hook!(
        "signature_check",
        "module_sig_check_return",
        &["module_sig_check"],
        "6.0 to 7.x; inlined before",
        "refusals by lockdown or by the signature policy",
        Fallback { by: "verify_signature", costs: "whether lockdown or a blacklist refused" }
    ),
    hook!(
        "module_live",
        "module_live_entry",
        &["mod_tree_remove_init", "module_arch_freeing_init"],
        ALL,
        "that a load succeeded, where its return was missed",
        Costs("outcome of loads whose return was missed")
    ),
    hook!(
        "do_init_module",
        "do_init_module_entry",
        &["do_init_module"],
        ALL,
        "name, taints, signature flag, version",
        Fallback { by: "module_live", costs: "the module of a load whose init function failed" }
    ),
    hook!("parse_args", "parse_args_entry", &["parse_args"], ALL, "parameters", Costs("parameters")),
    hook!(
        "post_read_file",
        "security_kernel_post_read_file_entry",
        &["security_kernel_post_read_file"],
        ALL,
        "bytes read",
        Costs("bytes read")
    ),
    hook!(
        "load_module",
        "load_module_entry",
        &["load_module"],
        ALL,
        "length of the image; loads that came by no known system call",
        Fallback { by: "finit_module", costs: "length of the image; loads that came by no system call that is known" }
    ),
    hook!(
        "load_data",
        "security_kernel_load_data_entry",
        &["security_kernel_load_data"],
        ALL,
        "reads from memory",
        Costs("read records of loads from memory")
    ),
    hook!(
        "read_file",
        "security_kernel_read_file_entry",
        &["security_kernel_read_file"],
        ALL,
        "the file that is read",
        Fallback { by: "finit_module", costs: "a file that was swapped while the call began" }
    ),
    hook!(
        "add_taint",
        "add_taint_entry",
        &["add_taint"],
        ALL,
        "what taints the kernel",
        Costs("taint records, and the kernel's taints before and after a load")
    ),
    hook!(
        "setting.text",
        "proc_dostring_entry",
        &["proc_dostring"],
        ALL,
        "who writes a setting that is a text, as kernel.modprobe",
        Costs("who changed kernel.modprobe")
    ),
    hook!(
        "setting.number",
        "proc_dointvec_minmax_entry",
        &["proc_dointvec_minmax"],
        ALL,
        "who writes a setting that is a number, as kernel.modules_disabled",
        Costs("who changed kernel.modules_disabled")
    ),
    hook!(
        "setting.parameter",
        "param_attr_store_entry",
        &["param_attr_store"],
        ALL,
        "who writes a parameter of a module, as module.sig_enforce",
        Costs("who changed a module's parameter")
    ),
    hook!(
        "setting.lockdown",
        "lockdown_write_entry",
        &["lockdown_write"],
        ALL,
        "who locks the kernel down",
        Costs("who locked the kernel down")
    ),
    hook!(
        "free_module",
        "free_module_entry",
        &["free_module"],
        ALL,
        "the module that goes",
        Fallback { by: "delete_module", costs: "taints of the module that goes" }
    ),
    hook!(
        "helper_task",
        "call_usermodehelper_exec_async_entry",
        &["call_usermodehelper_exec_async"],
        ALL,
        "which task becomes the helper",
        Costs("which process a helper is, and whose request its loads belong to")
    ),
    hook!(
        "helper",
        "call_usermodehelper_exec_entry",
        &["call_usermodehelper_exec"],
        ALL,
        "the program that the kernel starts",
        Costs("helper records")
    ),
    hook!(
        "module_request",
        "security_kernel_module_request_entry",
        &["security_kernel_module_request"],
        ALL,
        "what the kernel asks for, and for whom",
        Costs("request records")
    ),
    hook!(
        "delete_module",
        "delete_module_entry",
        syscall!("delete_module"),
        ALL,
        "who unloads",
        Fallback { by: "free_module", costs: "who unloads, and unloads that fail" }
    ),
    hook!(
        "init_module",
        "init_module_entry",
        syscall!("init_module"),
        ALL,
        "who loads from memory",
        Fallback { by: "load_module", costs: "attempts that end before load_module" }
    ),
    hook!(
        "finit_module",
        "finit_module_entry",
        syscall!("finit_module"),
        ALL,
        "who loads a file",
        Fallback { by: "load_module", costs: "attempts that end before load_module" }
    ),
    hook!(
        "delete_module.compat",
        "delete_module_entry",
        syscall!(compat "delete_module"),
        ALL,
        "who unloads by the 32-bit entry",
        NO_COMPAT
    ),
    hook!(
        "init_module.compat",
        "init_module_entry",
        syscall!(compat "init_module"),
        ALL,
        "who loads from memory by the 32-bit entry",
        NO_COMPAT
    ),
    hook!(
        "finit_module.compat",
        "finit_module_entry",
        syscall!(compat "finit_module"),
        ALL,
        "who loads a file by the 32-bit entry",
        NO_COMPAT
    ),
];

/// What the programs of the calls have in common: reached by a tail call, attached to nothing.
pub(super) const IDENTITY: &str = "identity";
/// load_module's return is attached only where one of these is missing: their records say the same.
pub(super) const INSTEAD_OF_LOAD_MODULE_RETURN: [&str; 4] =
    ["finit_module.return", "finit_module", "init_module.return", "init_module"];

/// Stands in for module_live's program where do_init_module is not attached.
pub(super) const LIVE_WITH_FACTS: &str = "module_live_facts";

/// One of each group must be attached, or the daemon would be blind.
pub(super) const ESSENTIAL: &[(&[&str], &str)] = &[
    (&["finit_module", "load_module"], "who loads a module"),
    (&["finit_module.return", "load_module.return", "module_live"], "what became of a load"),
    (&["do_init_module", "module_live"], "which module is loaded"),
    (&["delete_module", "free_module"], "which module is unloaded"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_references_exist() {
        let names: BTreeSet<_> = HOOKS.iter().map(|h| h.name).collect();
        assert_eq!(names.len(), HOOKS.len());
        for hook in HOOKS {
            if let Fallback { by, .. } = hook.otherwise {
                assert!(names.contains(by), "{}: {by}", hook.name);
            }
            assert!(!hook.gives.is_empty() && !hook.kernels.is_empty());
        }
        for (group, _) in ESSENTIAL {
            assert!(group.iter().all(|h| names.contains(h)), "{group:?}");
        }
    }
}
