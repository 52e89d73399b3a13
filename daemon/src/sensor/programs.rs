//! Loading the object and attaching its programs by the table of hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapError, ProgramArray},
    programs::{KProbe, ProbeKind, ProgramError},
    sys::SyscallError,
};

use super::{
    SensorError, Settings,
    hooks::{ESSENTIAL, HOOKS, Hook, IDENTITY, INSTEAD_OF_LOAD_MODULE_RETURN, LIVE_WITH_FACTS, Otherwise},
    layout::Layout,
    perf::Kprobes,
    policy::lockdown_is_confidentiality,
};
use crate::event::{Coverage, HookState, HookStatus};

/// The object that build.rs has made.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kmodtrail-probes"));

/// Everything of ours in the kernel: programs live by the hooks, and maps by the programs.
pub(super) struct Attached {
    pub(super) hooks: Vec<OwnedFd>,
    pub(super) calls: OwnedFd,
    pub(super) critical: OwnedFd,
    pub(super) bulk: OwnedFd,
    pub(super) counters: OwnedFd,
    pub(super) cpus: usize,
    /// By the name of the hook: the kernel's function.
    pub(super) symbols: BTreeMap<&'static str, String>,
    /// By the name of the hook: why it is not attached.
    pub(super) reasons: BTreeMap<&'static str, String>,
}

/// The bytes of a `#[repr(C)]` value without padding, as the object's constants take them.
fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: as long as the value and not longer; the two types it is called with consist of integers, and their sizes are the
    // sums of their members' (asserted below), so that no byte is uninitialized.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
const _: () = {
    use kmodtrail_abi::{Offsets, Settings};
    assert!(size_of::<Offsets>() == 4 * Offsets::PATHS.len());
    assert!(size_of::<Settings>() == 3 * 8 + 4 * 4 + 2 * 16 + 2 * 4 + 8 * kmodtrail_abi::WATCHED_SETTINGS);
};

/// Makes maps and constants; loads no program yet.
fn object(layout: &Layout, settings: &Settings, cpus: u32) -> Result<Ebpf, SensorError> {
    EbpfLoader::new()
        // the programs have no relocations against the kernel's types: sensor::layout has read what they need
        .btf(None)
        .override_global("OFFSETS", bytes_of(&layout.offsets), true)
        .override_global("SETTINGS", bytes_of(&layout.settings), true)
        .map_max_entries("COUNTERS", cpus)
        .map_max_entries("CRITICAL", settings.critical_ring_bytes)
        .map_max_entries("BULK", settings.bulk_ring_bytes)
        .load(OBJECT)
        .map_err(|error| match errno_of(&error) {
            Some(nix::libc::EPERM) => SensorError::NotPermitted { what: "make eBPF maps" },
            Some(nix::libc::EINVAL) if lockdown_is_confidentiality() => SensorError::Lockdown,
            _ => SensorError::Object { source: Box::new(error) },
        })
}

fn kprobe<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut KProbe, SensorError> {
    let program = object.program_mut(name).ok_or(SensorError::NoProgram { name })?;
    program.try_into().map_err(|_| SensorError::NoProgram { name })
}

/// Every program through the verifier, nothing attached. Gives (program, verified instructions) for each.
pub(super) fn verify(layout: &Layout, settings: &Settings) -> Result<Vec<(&'static str, u32)>, SensorError> {
    let mut object = object(layout, settings, 1)?;
    let names: BTreeSet<_> = HOOKS.iter().map(|h| h.program).chain([LIVE_WITH_FACTS, IDENTITY]).collect();
    names
        .into_iter()
        .map(|name| {
            let program = kprobe(&mut object, name)?;
            load(program, name)?;
            Ok((name, program.info().ok().and_then(|i| i.verified_instruction_count()).unwrap_or(0)))
        })
        .collect()
}

/// One program can have several hooks.
fn load(program: &mut KProbe, name: &'static str) -> Result<(), SensorError> {
    if program.fd().is_ok() {
        return Ok(());
    }
    program.load().map_err(|error| match error {
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(nix::libc::EPERM) => {
            SensorError::NotPermitted { what: "load eBPF programs" }
        }
        ProgramError::LoadError { .. } if lockdown_is_confidentiality() => SensorError::Lockdown,
        error => SensorError::Refused { name, source: Box::new(error) },
    })
}

/// Loads and attaches what can be.
pub(super) fn attach(layout: &Layout, settings: &Settings) -> Result<Attached, SensorError> {
    for name in &settings.disabled_hooks {
        if !HOOKS.iter().any(|h| h.name == name) {
            return Err(SensorError::NoSuchHook { name: name.clone() });
        }
    }
    let cpus = aya::util::nr_cpus().map_err(|(file, source)| SensorError::Cpus { file, source })?;
    let kprobes = Kprobes::find().map_err(|_| SensorError::NoKprobes)?;
    let mut object = object(layout, settings, cpus as u32)?;
    continue_with_identity(&mut object)?;
    let (mut hooks, mut reasons, mut symbols) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    // in the table's order, but what depends on other hooks after them
    let depends = |hook: &&Hook| matches!(hook.name, "module_live" | "load_module.return");
    for hook in HOOKS.iter().filter(|h| !depends(h)).chain(HOOKS.iter().filter(depends)) {
        let program = match hook.name {
            "module_live" if !symbols.contains_key("do_init_module") => LIVE_WITH_FACTS,
            "load_module.return" if INSTEAD_OF_LOAD_MODULE_RETURN.iter().all(|h| symbols.contains_key(h)) => {
                continue;
            }
            _ => hook.program,
        };
        match attach_hook(&mut object, &kprobes, hook, program, settings) {
            Ok((symbol, event)) => {
                symbols.insert(hook.name, symbol);
                hooks.push(event);
            }
            Err(Failure::Here(reason)) => drop(reasons.insert(hook.name, reason)),
            Err(Failure::Everywhere(error)) => return Err(error),
        }
    }
    for (group, what) in ESSENTIAL {
        if !group.iter().any(|name| symbols.contains_key(name)) {
            let hooks = group.iter().map(|name| format!("{name} ({})", reasons.get(name).map_or("", String::as_str)));
            return Err(SensorError::Essential { what, hooks: hooks.collect::<Vec<_>>().join(", ") });
        }
    }
    let map = |name| descriptor(&object, name);
    Ok(Attached {
        calls: map("CONTINUE")?,
        critical: map("CRITICAL")?,
        bulk: map("BULK")?,
        counters: map("COUNTERS")?,
        hooks,
        cpus,
        symbols,
        reasons,
    })
}

/// A map's descriptor, for keeping.
fn descriptor(object: &Ebpf, name: &'static str) -> Result<OwnedFd, SensorError> {
    let map = match object.map(name) {
        Some(Map::RingBuf(map) | Map::Array(map) | Map::ProgramArray(map)) => map,
        _ => return Err(SensorError::NoProgram { name }),
    };
    map.fd().as_fd().try_clone_to_owned().map_err(|source| SensorError::Ring { name, source })
}

/// Fills the table of tail calls.
fn continue_with_identity(object: &mut Ebpf) -> Result<(), SensorError> {
    let program = kprobe(object, IDENTITY)?;
    load(program, IDENTITY)?;
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| SensorError::TailCall { source };
    let fd = program.fd().and_then(|fd| fd.try_clone().map_err(ProgramError::IOError)).map_err(|e| broken(e.into()))?;
    let map = object.map_mut("CONTINUE").ok_or(SensorError::NoProgram { name: "CONTINUE" })?;
    let mut table = ProgramArray::try_from(map).map_err(|e| broken(e.into()))?;
    table.set(0, &fd, 0).map_err(|e| broken(e.into()))
}

/// Why a hook is not attached.
enum Failure {
    /// This hook can't be, on this kernel.
    Here(String),
    /// No hook can be.
    Everywhere(SensorError),
}

fn attach_hook(
    object: &mut Ebpf,
    kprobes: &Kprobes,
    hook: &Hook,
    program: &'static str,
    settings: &Settings,
) -> Result<(String, OwnedFd), Failure> {
    if settings.disabled_hooks.iter().any(|name| name == hook.name) {
        return Err(Failure::Here("disabled by sensor.disabled_hooks".to_owned()));
    }
    let probe = kprobe(object, program).map_err(Failure::Everywhere)?;
    if hook.symbols.is_empty() {
        return Err(Failure::Here("this architecture has no such function".to_owned()));
    }
    load(probe, program).map_err(Failure::Everywhere)?;
    let returns = matches!(probe.kind(), ProbeKind::Return);
    let fd = probe.fd().map_err(|_| Failure::Everywhere(SensorError::NoProgram { name: program }))?;
    let mut reasons = Vec::new();
    for symbol in hook.symbols {
        match kprobes.attach(symbol, returns, fd.as_fd()) {
            Ok(event) => return Ok(((*symbol).to_owned(), event)),
            Err(error) => reasons.push(why(symbol, &error)?),
        }
    }
    Err(Failure::Here(reasons.join("; ")))
}

/// perf_event_open's errors for a kprobe: kernel/trace/trace_kprobe.c, kernel/events/core.c.
fn why(symbol: &str, error: &io::Error) -> Result<String, Failure> {
    match error.raw_os_error() {
        Some(nix::libc::ENOENT) => Ok(format!("this kernel has no function {symbol} to probe (inlined or not built)")),
        // LOCKDOWN_KPROBES, security/security.c
        Some(nix::libc::EPERM) if lockdown_is_confidentiality() => Err(Failure::Everywhere(SensorError::Lockdown)),
        Some(nix::libc::EACCES | nix::libc::EPERM) => {
            Err(Failure::Everywhere(SensorError::MayNotAttach { paranoid: paranoid() }))
        }
        _ => Ok(format!("{symbol}: {error}")),
    }
}

/// What became of every hook of the table, by those that are attached and the reasons of those that are not.
pub(super) fn coverage(attached: &BTreeMap<String, String>, reasons: &BTreeMap<String, String>) -> Coverage {
    let state = |hook: &Hook| {
        if let Some(symbol) = attached.get(hook.name) {
            return HookState::Attached { symbol: symbol.clone() };
        }
        let reason = reasons.get(hook.name).cloned().unwrap_or_default();
        match hook.otherwise {
            Otherwise::Fallback { by, .. } if attached.contains_key(by) => HookState::Fallback { reason, by },
            Otherwise::Fallback { costs, .. } | Otherwise::Costs(costs) => HookState::Missing { reason, costs },
            Otherwise::NotNeeded(why) if reason.is_empty() => HookState::NotNeeded { reason: why.to_owned() },
            Otherwise::NotNeeded(why) => HookState::NotNeeded { reason: format!("{why}: {reason}") },
        }
    };
    Coverage { hooks: HOOKS.iter().map(|h| HookStatus { name: h.name, state: state(h) }).collect() }
}

fn errno_of(error: &EbpfError) -> Option<i32> {
    let io_error: &io::Error = match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => io_error,
        EbpfError::MapError(MapError::SyscallError(SyscallError { io_error, .. })) => io_error,
        _ => return None,
    };
    io_error.raw_os_error()
}

fn paranoid() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    read.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
