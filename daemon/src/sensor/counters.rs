//! The loss counters, mapped into our memory: the kernel side counts what a full ring cost, and no system call is needed to know.

use std::{num::NonZeroUsize, os::fd::AsFd, ptr::NonNull};

use kmodtrail_abi::{CpuCounters, KINDS, Kind};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The map COUNTERS.
#[derive(Debug)]
pub(super) struct Counters {
    memory: NonNull<CpuCounters>,
    bytes: NonZeroUsize,
    cpus: usize,
    /// What has been told already, by CPU and kind.
    told: Vec<[u64; KINDS]>,
}

// SAFETY: the mapping belongs to this value alone and is only read.
unsafe impl Send for Counters {}

impl Counters {
    /// Maps the first `cpus` elements.
    pub(super) fn map(fd: impl AsFd, cpus: usize) -> nix::Result<Self> {
        // array elements are 8-byte aligned and as long as the value: CpuCounters is a multiple of 8
        let bytes = NonZeroUsize::new(cpus.max(1) * size_of::<CpuCounters>()).ok_or(nix::errno::Errno::EINVAL)?;
        // SAFETY: a new shared mapping that nothing else refers to; the kernel checks its length against the map's.
        let memory = unsafe { mmap(None, bytes, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, fd, 0)? };
        Ok(Self { memory: memory.cast(), bytes, cpus, told: vec![[0; KINDS]; cpus] })
    }

    /// One of a CPU's counters: [`CpuCounters`] is the sequence and then the losses by kind, all of them words.
    fn read(&self, cpu: usize, index: usize) -> u64 {
        const WORDS: usize = size_of::<CpuCounters>() / 8;
        assert!(cpu < self.cpus && index < WORDS);
        // SAFETY: inside the mapping and aligned; the kernel writes whole words, so that a volatile read gives an old or a new value.
        unsafe { self.memory.as_ptr().cast::<u64>().add(cpu * WORDS + index).read_volatile() }
    }

    /// Records made, lost ones included.
    pub(super) fn made(&self) -> u64 {
        (0..self.cpus).map(|cpu| self.read(cpu, 0)).sum()
    }

    /// Records lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.told.iter().flatten().sum()
    }

    /// What another process has told: CPU, kind, number.
    pub(super) fn told(&mut self, told: &[(u32, u16, u64)]) {
        for &(cpu, kind, all) in told {
            if let Some(told) = self.told.get_mut(cpu as usize).and_then(|kinds| kinds.get_mut(usize::from(kind))) {
                *told = all;
            }
        }
    }

    /// What has been told so far: CPU, kind, number.
    pub(super) fn all_told(&self) -> impl Iterator<Item = (u32, u16, u64)> {
        let of = |(cpu, kinds): (usize, &'_ [u64; KINDS])| {
            let all: Vec<_> = kinds
                .iter()
                .enumerate()
                .filter(|(_, all)| **all != 0)
                .map(move |(kind, all)| (cpu as u32, kind as u16, *all))
                .collect();
            all
        };
        self.told.iter().enumerate().flat_map(of)
    }

    /// What has been lost since the last call: CPU, kind, number, and the number of all of them, which makes the record's id.
    pub(super) fn newly_lost(&mut self, mut tell: impl FnMut(u32, Kind, u64, u64)) {
        for cpu in 0..self.cpus {
            for kind in Kind::ALL {
                let i = kind as usize;
                let all = self.read(cpu, 1 + i);
                let new = all.wrapping_sub(self.told[cpu][i]);
                if new != 0 {
                    self.told[cpu][i] = all;
                    tell(cpu as u32, kind, new, all);
                }
            }
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, which ends with this value.
        let _ = unsafe { munmap(self.memory.cast(), self.bytes.get()) };
    }
}

/// The event that a lost record would have become part of, and the record's own name.
pub(super) const fn lost_as(kind: Kind) -> (&'static str, &'static str) {
    const LOAD: &str = "linux.kernel_module.load";
    const UNLOAD: &str = "linux.kernel_module.unload";
    const REQUEST: &str = "linux.kernel_module.request";
    const HELPER: &str = "linux.kernel_module.helper";
    const READ: &str = "linux.kernel_module.read";
    const VERIFY: &str = "linux.kernel_module.verify";
    match kind {
        Kind::FinitModule => (LOAD, "finit_module"),
        Kind::InitModule => (LOAD, "init_module"),
        Kind::DeleteModule => (UNLOAD, "delete_module"),
        Kind::SyscallReturn => (LOAD, "system call return"),
        Kind::ModuleRequest => (REQUEST, "module request"),
        Kind::ModuleRequestRefused => (REQUEST, "module request refused"),
        Kind::HelperExec => (HELPER, "helper"),
        Kind::HelperTask => (HELPER, "helper task"),
        Kind::HelperReturn => (HELPER, "helper return"),
        Kind::ReadFile => (READ, "read file"),
        Kind::PostReadFile => (READ, "post read file"),
        Kind::LoadData => (READ, "load data"),
        Kind::LoadModule => (LOAD, "load_module"),
        Kind::LoadModuleReturn => (LOAD, "load_module return"),
        Kind::VerifySignature => (VERIFY, "mod_verify_sig"),
        Kind::SignatureCheckRefused => (VERIFY, "module_sig_check refused"),
        Kind::ParseArgs => (LOAD, "parse_args"),
        Kind::InitModuleFunction => (LOAD, "do_init_module"),
        Kind::ModuleLive => (LOAD, "module live"),
        Kind::FreeModule => (UNLOAD, "free_module"),
        Kind::AddTaint => ("linux.kernel_module.taint", "add_taint"),
        Kind::SettingWrite => ("linux.kernel_module.setting", "write of a setting"),
    }
}
