//! One attempt to load a module, from its first fact to its last.

use kmodtrail_abi::{Kind, head_flags, section};
use nix::errno::Errno;

use super::{
    clock::Clock,
    fact::Fact,
    frame::{Context, Frame},
};
use crate::event::{
    Appended, Event, File, KernelTaints, Load, LoadFlags, LoadSource, ModuleFacts, Origin, Outcome, Parameters, Read,
    Refusal, Signature, SignatureState, Syscall, Taints, Text, Verdict, Verify, What,
};

/// What happened, and which record said it.
#[derive(Debug, Clone)]
struct Seen<T> {
    origin: Origin,
    boot: u64,
    what: T,
}

#[derive(Debug)]
pub(super) struct OpenLoad {
    frame: Frame,
    syscall: Option<Syscall>,
    compat: bool,
    flags: u32,
    may_load: bool,
    file: Option<File>,
    /// The descriptor by which it was given.
    descriptor: Option<u32>,
    /// `struct file *` of the file, to tell whether another one was read.
    file_address: u64,
    read: Option<Seen<bool>>,
    read_bytes: Option<u64>,
    load_module: bool,
    image_size: Option<u64>,
    verified: Option<Seen<i64>>,
    check_refused: Option<i32>,
    appended: Appended,
    taints_before: Option<Taints>,
    parameters: Option<Parameters>,
    module: Option<Seen<ModuleFacts>>,
    live: bool,
    freed: bool,
    end: Option<u64>,
    read_told: bool,
    verify_told: bool,
}

impl OpenLoad {
    pub(super) fn begin(frame: Frame, fact: &Fact<'_>, taints_before: Option<Taints>) -> Self {
        let syscall = match fact.kind {
            Kind::FinitModule => Some(Syscall::FinitModule),
            Kind::InitModule => Some(Syscall::InitModule),
            _ => None,
        };
        Self {
            frame,
            syscall,
            compat: fact.has(head_flags::COMPAT),
            flags: if syscall == Some(Syscall::FinitModule) { fact.head.args[1] as u32 } else { 0 },
            // without the beginning it is not known: only then "no" is said where there is a reason to
            may_load: syscall.is_none() || fact.has(head_flags::MAY_LOAD),
            file: fact.file(),
            descriptor: (syscall == Some(Syscall::FinitModule)).then_some(fact.head.args[0] as u32),
            file_address: if syscall == Some(Syscall::FinitModule) { fact.head.args[2] } else { 0 },
            read: None,
            read_bytes: None,
            load_module: false,
            image_size: None,
            verified: None,
            check_refused: None,
            appended: Appended::Unknown,
            taints_before,
            parameters: None,
            module: None,
            live: false,
            freed: false,
            end: None,
            read_told: false,
            verify_told: false,
        }
    }

    pub(super) fn began(&self) -> u64 {
        self.frame.boot
    }

    /// Nobody knows yet who it is: the record of the call was not seen.
    pub(super) fn is_anonymous(&self) -> bool {
        self.frame.process.is_none()
    }

    /// Who it is, as load_module's record has it where no call is watched; the attempt keeps its beginning.
    pub(super) fn identify(&mut self, frame: Frame) {
        if frame.process.is_some() {
            self.frame = Frame { origin: self.frame.origin.clone(), boot: self.frame.boot, ..frame };
        }
    }

    /// Who and when.
    pub(super) const fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(super) fn ended_at(&mut self, boot: u64) {
        self.end = Some(boot);
    }

    /// A fact of the same thread in the middle of the attempt.
    pub(super) fn take(&mut self, fact: &Fact<'_>, origin: Origin) {
        let args = fact.head.args;
        let boot = fact.head.time;
        match fact.kind {
            Kind::ReadFile => {
                // the file that is read is the truth; the descriptor's was only the one of the moment before
                if let Some(file) = fact.file() {
                    self.file = Some(file);
                    self.file_address = args[0];
                }
                self.read.get_or_insert(Seen { origin, boot, what: false });
            }
            Kind::PostReadFile => {
                // compressed modules are reported twice from 6.19 on: as read, then decompressed
                self.read_bytes.get_or_insert(args[2]);
            }
            Kind::LoadData => drop(self.read.get_or_insert(Seen { origin, boot, what: true })),
            Kind::LoadModule => {
                self.load_module = true;
                self.image_size = Some(args[1]);
                self.appended = fact.appended();
                if self.syscall.is_none() {
                    self.flags = args[2] as u32;
                }
            }
            Kind::VerifySignature => self.verified = Some(Seen { origin, boot, what: i64::from(fact.returned()) }),
            Kind::SignatureCheckRefused => self.check_refused = Some(-fact.returned()),
            Kind::ParseArgs => {
                if let Some(s) = fact.section(section::PARAMETERS) {
                    let cut = s.flags & section::CUT != 0;
                    self.parameters = fact.text(section::PARAMETERS).map(|text| Parameters { text, cut });
                }
            }
            Kind::InitModuleFunction | Kind::ModuleLive => {
                self.live |= fact.kind == Kind::ModuleLive;
                if let Some(what) = fact.module() {
                    self.module.get_or_insert(Seen { origin, boot, what });
                }
            }
            Kind::FreeModule => {
                self.freed = true;
                if let Some(what) = fact.module() {
                    self.module.get_or_insert(Seen { origin, boot, what });
                }
            }
            _ => {}
        }
    }

    /// They were told, as far as there are any, before the end.
    pub(super) const fn evidence_told(&self) -> bool {
        self.read_told || self.verify_told
    }

    /// The records about the read and the verification, each once.
    pub(super) fn tell_evidence(
        &mut self,
        returned: Option<i32>,
        context: &Context,
        clock: Clock,
        events: &mut Vec<Event>,
    ) {
        if let (Some(read), false) = (&self.read, self.read_told) {
            self.read_told = true;
            let verdict = match (returned.and_then(|r| self.read_refused(r)), self.load_module || returned.is_some()) {
                (Some(errno), _) => Verdict::Refused(errno),
                (None, true) => Verdict::Allowed,
                (None, false) => Verdict::Unknown,
            };
            let what = Read {
                file: self.file.clone().filter(|_| !read.what),
                bytes: self.read_bytes,
                compressed: self.is_compressed(),
                verdict,
            };
            events.push(self.frame.within(What::LOAD, read.origin.clone(), read.boot).event(clock, What::Read(what)));
        }
        let seen = match (&self.verified, &self.module) {
            (Some(v), _) => Some((v.origin.clone(), v.boot)),
            (None, Some(m)) => Some((m.origin.clone(), m.boot)),
            (None, None) => None,
        };
        if let (Some((origin, boot)), false) = (seen, self.verify_told) {
            self.verify_told = true;
            let what = Verify {
                file: self.file.clone(),
                name: self.module.as_ref().map(|m| m.what.name.clone()),
                signature: self.signature(context),
                errno: self.verified.as_ref().map(|v| -v.what as i32),
            };
            events.push(self.frame.within(What::LOAD, origin, boot).event(clock, What::Verify(what)));
        }
    }

    fn is_compressed(&self) -> bool {
        // MODULE_INIT_COMPRESSED_FILE, include/uapi/linux/module.h
        self.flags & 4 != 0
    }

    fn signature(&self, context: &Context) -> Signature {
        Signature {
            state: self.signature_state(context),
            enforced: context.policy.as_ref().and_then(|policy| policy.enforced()),
            appended: self.appended.clone(),
            keyring: None,
        }
    }

    /// What the kernel did with the signature. It looks at it first of all in load_module, and not at all at that of a module that is forced
    /// in (kernel/module/signing.c, module_sig_check); a module that got as far as its facts was not refused.
    fn signature_state(&self, context: &Context) -> SignatureState {
        let sig_ok = self.module.as_ref().and_then(|m| m.what.sig_ok);
        match (&self.verified, sig_ok, self.appended.is_there()) {
            (Some(v), ..) => SignatureState::from_verification(v.what),
            (None, Some(true), _) => SignatureState::Valid,
            (None, ..) if !self.load_module && self.module.is_none() => SignatureState::Unknown,
            (None, ..) if !context.checks_signatures => SignatureState::NotChecked,
            (None, _, Some(false)) => SignatureState::Unsigned,
            (None, _, Some(true)) if self.is_forced() => SignatureState::NotChecked,
            // there is one, and what came of it was not seen
            (None, _, Some(true)) => SignatureState::Unknown,
            // load_module is not watched
            (None, Some(false), None) if context.sees_verification => SignatureState::Unsigned,
            (None, _, None) => SignatureState::Unknown,
        }
    }

    /// Nothing was read, and the kernel says that it is done: idempotent_init_module, kernel/module/main.c.
    fn joined(&self, returned: Option<i32>) -> bool {
        let nothing_done = self.read.is_none() && !self.load_module && self.module.is_none();
        returned == Some(0) && nothing_done && self.syscall == Some(Syscall::FinitModule)
    }

    fn is_forced(&self) -> bool {
        // MODULE_INIT_IGNORE_MODVERSIONS, MODULE_INIT_IGNORE_VERMAGIC: include/uapi/linux/module.h
        self.flags & 3 != 0
    }

    /// A security hook let the bytes not pass: load_module did not follow the read. Between the two the kernel itself gives none of
    /// these errors (kernel_read_file, fs/kernel_read_file.c; module_decompress, kernel/module/decompress.c).
    fn read_refused(&self, returned: i32) -> Option<i32> {
        let refusals = [Errno::EPERM, Errno::EACCES].map(|e| e as i32);
        (self.read.is_some() && !self.load_module && refusals.contains(&-returned)).then_some(-returned)
    }

    fn outcome(&self, returned: Option<i32>, context: &Context) -> Outcome {
        let Some(returned) = returned else {
            return if self.live {
                Outcome::Success
            } else if self.freed {
                Outcome::Failure(None)
            } else {
                Outcome::Unknown
            };
        };
        if returned >= 0 {
            return Outcome::Success;
        }
        let errno = -returned;
        if let Some(errno) = self.read_refused(returned) {
            return Outcome::Refused(errno, Some(Refusal::SecurityModule));
        }
        if !self.load_module && self.read.is_none() && errno == Errno::EPERM as i32 && self.syscall.is_some() {
            // may_init_module, kernel/module/main.c: the capability, then the setting
            let gate = if self.may_load { Refusal::ModulesDisabled } else { Refusal::Capability };
            return Outcome::Refused(errno, Some(gate));
        }
        if self.module.is_some() {
            return Outcome::Failure(Some(errno)); // its own init function, a name that is taken, ...
        }
        let signature = [Errno::EKEYREJECTED, Errno::ENOKEY, Errno::ENOPKG, Errno::EBADMSG].map(|e| e as i32);
        match self.check_refused {
            // module_sig_check asks lockdown last: kernel/module/signing.c
            Some(e) if e == Errno::EPERM as i32 => Outcome::Refused(errno, Some(Refusal::Lockdown)),
            Some(_) => Outcome::Refused(errno, Some(Refusal::Signature)),
            // where module_sig_check is inlined: what it gave is what load_module gives
            None if self.verified.as_ref().is_some_and(|v| v.what == i64::from(returned)) => {
                Outcome::Refused(errno, Some(Refusal::Signature))
            }
            // only signatures give these before there is a module
            None if self.load_module && signature.contains(&errno) => Outcome::Refused(errno, Some(Refusal::Signature)),
            // the blacklist comes behind the signature; where that check is inlined, lockdown has refused what had no valid one
            None if self.load_module && errno == Errno::EPERM as i32 => {
                let locked_down = context.policy.as_ref().map(|policy| policy.is_locked_down());
                let gate = match (context.sees_signature_check, self.signature_state(context), locked_down) {
                    (true, ..) | (_, SignatureState::Valid, _) | (.., Some(false)) => Some(Refusal::Blacklist),
                    (false, _, Some(true)) => Some(Refusal::Lockdown),
                    (false, _, None) => None,
                };
                Outcome::Refused(errno, gate)
            }
            None => Outcome::Failure(Some(errno)),
        }
    }

    /// Gives what became of it.
    pub(super) fn end(
        mut self,
        returned: Option<i32>,
        context: &Context,
        clock: Clock,
        events: &mut Vec<Event>,
    ) -> Outcome {
        if returned.is_none() {
            self.frame.missing.push("linux.kernel_module.errno: the return was not seen".to_owned());
        }
        self.tell_evidence(returned, context, clock, events);
        let in_memory = self.syscall == Some(Syscall::InitModule) || self.read.as_ref().is_some_and(|r| r.what);
        let source = match &self.file {
            Some(file) => Some(file.source),
            None => in_memory.then_some(LoadSource::Memory),
        };
        let parameters = match (self.parameters.take(), &self.module) {
            (Some(parameters), _) => Some(parameters),
            (None, Some(_)) if context.sees_parameters => Some(Parameters { text: Text::default(), cut: false }),
            (None, _) => None,
        };
        let outcome = self.outcome(returned, context);
        let load = Load {
            syscall: self.syscall,
            compat: self.compat,
            flags: LoadFlags(self.flags),
            outcome,
            source,
            image_size: self.image_size,
            parameters,
            joined: self.joined(returned),
            signature: self.signature(context),
            kernel_taints: self.taints_before.zip(context.taints).map(|(before, after)| KernelTaints { before, after }),
            alias: self.frame.cause.as_ref().and_then(|cause| cause.alias.clone()),
            duration: self.end.map(|end| end.saturating_sub(self.frame.boot)),
            module: self.module.take().map(|m| m.what),
            file: self.file.take(),
            contents: None,
            descriptor: self.descriptor,
        };
        // the record's time is that of the outcome; its origin stays the beginning, which is there in every case
        let boot = self.end.unwrap_or(self.frame.boot);
        events.push(self.frame.at(self.frame.origin.clone(), boot).event(clock, What::Load(Box::new(load))));
        outcome
    }
}
