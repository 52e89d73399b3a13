//! One event of every kind, for tests: with everything in it, and with as little as there can be.

use std::sync::Arc;

use super::*;

fn origin(sequence: u64) -> Origin {
    Origin { boot_id: "7f6c1f0e-4a51-4e7e-a6f3-0d7a3a5d9c11".into(), epoch: 0x17_5eed, cpu: 3, sequence }
}

/// A shell's child, a user's root.
pub(crate) fn process() -> Process {
    let id = |pid, start| ProcessId { pid, start };
    let ancestor = |pid: u32, comm: &str, executable: Option<&str>| Ancestor {
        id: id(pid, u64::from(pid) * 1_000_000_000),
        started: 1_700_000_000_000_000_000 + u64::from(pid),
        uid: 1000,
        comm: comm.into(),
        executable: executable.map(Text::from),
        arguments: executable.map(|_| Arguments { list: vec!["-bash".into()], length: 9000, cut: true }),
    };
    let text = Text::from;
    let place = Place {
        unit: Some("session-7.scope".into()),
        slice: Some("user-1000.slice".into()),
        user_unit: Some("app.service".into()),
        session: Some("7".into()),
        container: Some(Container {
            id: "1e910d5cc8d8d68c894934170b162ef93aea5652867ed6bd7c620c7e3f9a10f1".into(),
            runtime: Some(Runtime::Containerd),
            delegated: false,
            details: Details {
                name: Some("test".into()),
                image_name: Some("docker.io/cilium/starwars".into()),
                image_tags: vec!["latest".into()],
                image_id: Some("sha256:0c2b".into()),
                image_digests: vec!["docker.io/cilium/starwars@sha256:f92c".into()],
                started: Some(1_700_000_000_000_000_000),
                pid: Some(4150),
            },
        }),
        pod: Some(Pod {
            uid: "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11".into(),
            qos: Some(QosClass::Burstable),
            namespace: Some("demo-app".into()),
            name: Some("test-6d4cf56db6-x7k2p".into()),
            container: Some("test".into()),
            labels: vec![text("app=test")],
            workload: Some(Workload { kind: WorkloadKind::Deployment, name: "test".into() }),
        }),
    };
    Process {
        id: id(4242, 90_000_000_000),
        started: 1_700_000_000_123_456_789,
        thread_id: 4243,
        comm: "insmod".into(),
        executable: Some("/usr/bin/kmod".into()),
        executable_deleted: true,
        arguments: Some(Arguments {
            list: vec!["insmod".into(), "/tmp/evil.ko".into(), "".into()],
            length: 9000,
            cut: true,
        }),
        working_directory: Some("/root".into()),
        uid: 1000,
        user: Some("alice".into()),
        euid: 0,
        effective_user: Some("root".into()),
        gid: 1000,
        group: Some("alice".into()),
        egid: 0,
        effective_group: Some("wheel".into()),
        login_uid: Some(1000),
        login_user: Some("alice".into()),
        audit_session: Some(7),
        session_leader: Some(4000),
        tty: Some("pts0".into()),
        capabilities: 0x1ff_ffff_ffff,
        cgroup: Cgroup { id: 77, path: Some("/user.slice/user-1000.slice/session-7.scope".into()) },
        place,
        namespaces: Namespaces {
            user: Some(4_026_531_837),
            user_level: 0,
            mount: Some(4_026_531_841),
            pid: Some(4_026_531_836),
            net: Some(4_026_531_840),
        },
        host_namespaces: Some(vec!["user", "net"]),
        namespace_pid: 12,
        kernel_thread: true,
        ancestors: vec![ancestor(4000, "bash", Some("/usr/bin/bash")), ancestor(1, "systemd", None)],
    }
}

/// Another one, who made the kernel start it.
fn requester() -> Process {
    let id = ProcessId { pid: 4100, start: 80_000_000_000 };
    Process { id, comm: "mount".into(), executable: Some("/usr/bin/mount".into()), ..process() }
}

/// An event with this in it, done by [`process`].
pub(crate) fn event(what: What) -> Event {
    Event {
        time: Timestamps {
            wall: 1_700_000_100_000_000_001,
            boot: 100_000_000_001,
            observed: 1_700_000_100_000_500_000,
        },
        origin: origin(17),
        trace: Some(origin(12).trace_id()),
        parent: Some(origin(13).span_id("linux.kernel_module.helper")),
        process: Some(Arc::new(process())),
        requester: Some(Arc::new(requester())),
        what,
        missing: vec!["linux.process.parent.executable.path: the process had ended".to_owned()],
    }
}

fn bare(what: What) -> Event {
    Event::of_daemon(event(what.clone()).time, origin(18), what)
}

fn started(probes: Probes) -> Event {
    bare(What::Started(Started { version: "0.1.0", kernel: "6.1.0-42-amd64".into(), probes }))
}

fn file() -> File {
    File {
        path: "/tmp/evil.ko".into(),
        path_cut: true,
        device: (8, 1),
        inode: u64::MAX,
        size: 123_456,
        mode: 0o100_644,
        uid: 1000,
        links: 1,
        source: LoadSource::File,
    }
}

fn module() -> ModuleFacts {
    ModuleFacts {
        name: "evil".into(),
        version: Some("1.0".into()),
        srcversion: Some("533BB7E5866E52F63B9ACCB".into()),
        taints: Some(Taints(12288)),
        sig_ok: Some(false),
    }
}

fn contents() -> ModuleFile {
    ModuleFile {
        sha256: Some("11".repeat(32)),
        file_sha256: "22".repeat(32),
        compression: Some("xz"),
        modified: 1_600_000_000_000_000_000,
        info: Modinfo {
            name: Some("evil".into()),
            license: Some("GPL".into()),
            author: Some("Eve".into()),
            vermagic: Some("6.1.0-42-amd64 SMP preempt mod_unload modversions ".into()),
            version: Some("1.0".into()),
            srcversion: Some("533BB7E5866E52F63B9ACCB".into()),
            depends: vec!["libcrc32c".into()],
            intree: false,
            aliases: 2,
            build_id: Some("33".repeat(20)),
        },
        package: Some(Package::Owned { manager: "dpkg", name: "evil".into(), version: Some("1.0-1".into()) }),
        error: None,
    }
}

fn of_no_package() -> Event {
    let mut event = load();
    if let What::Load(load) = &mut event.what {
        load.module = None;
        let error = Some("it is no ELF file".to_owned());
        let info = Modinfo::default();
        let nobody =
            ModuleFile { sha256: None, compression: None, info, package: Some(Package::NotOwned), error, ..contents() };
        load.contents = Some(Arc::new(nobody));
    }
    event
}

fn unreadable(state: SignatureState) -> Signature {
    Signature { state, enforced: Some(false), appended: Appended::Unreadable("it is no PKCS#7 message"), keyring: None }
}

/// An unsigned load by a person.
pub(crate) fn load() -> Event {
    event(What::Load(Box::new(Load {
        syscall: Some(Syscall::FinitModule),
        compat: true,
        flags: LoadFlags(1 | 64),
        outcome: Outcome::Success,
        module: Some(module()),
        source: Some(LoadSource::File),
        file: Some(file()),
        contents: Some(Arc::new(contents())),
        descriptor: Some(3),
        image_size: Some(123_456),
        parameters: Some(Parameters { text: "debug=1".into(), cut: true }),
        joined: false,
        signature: Signature {
            state: SignatureState::Unsigned,
            enforced: Some(false),
            appended: Appended::Nothing,
            keyring: None,
        },
        kernel_taints: Some(KernelTaints { before: Taints(0), after: Taints(12288) }),
        alias: Some("evil-alias".into()),
        duration: Some(1_234_567),
    })))
}

fn block() -> SignatureBlock {
    SignatureBlock {
        signer: Some("Debian Secure Boot CA".into()),
        key_id: "751459a62f65d0b1".to_owned(),
        hash_algorithm: "sha256".to_owned(),
        time: Some(1_700_000_000_000_000_000),
    }
}

fn signed(state: SignatureState) -> Signature {
    let keyring = (state == SignatureState::Valid).then_some("builtin_trusted_keys");
    Signature { state, enforced: Some(true), appended: Appended::Block(Arc::new(block())), keyring }
}

fn with_signature(signature: Signature) -> Event {
    let mut event = load();
    if let What::Load(load) = &mut event.what {
        load.signature = signature;
    }
    event
}

fn refused_load() -> Event {
    bare(What::Load(Box::new(Load {
        syscall: None,
        compat: false,
        flags: LoadFlags::default(),
        outcome: Outcome::Refused(1, Some(Refusal::Lockdown)),
        module: None,
        source: None,
        file: None,
        contents: None,
        descriptor: None,
        image_size: None,
        parameters: None,
        joined: true,
        signature: Signature::UNKNOWN,
        kernel_taints: None,
        alias: None,
        duration: None,
    })))
}

/// A load in which everything that an attacker chooses is `bytes`.
pub(crate) fn hostile(bytes: &[u8]) -> Event {
    let text = Text::from_bytes(bytes);
    let mut event = load();
    if let What::Load(load) = &mut event.what {
        load.module = Some(ModuleFacts { name: text.clone(), version: Some(text.clone()), ..module() });
        load.file = Some(File { path: text.clone(), ..file() });
        load.parameters = Some(Parameters { text: text.clone(), cut: false });
    }
    if let Some(process) = event.process.as_mut().map(Arc::make_mut) {
        process.comm = text.clone();
        process.executable = Some(text.clone());
        process.working_directory = Some(text.clone());
        process.user = Some(text.clone());
        process.effective_user = Some(text.clone());
        process.cgroup.path = Some(text.clone());
        process.place.unit = Some(text.clone());
        if let Some(container) = &mut process.place.container {
            container.details.name = Some(text.clone());
        }
        if let Some(pod) = &mut process.place.pod {
            pod.labels = vec![text.clone()];
        }
        process.arguments = Some(Arguments { list: vec![text.clone()], length: 1, cut: false });
        for ancestor in &mut process.ancestors {
            ancestor.comm = text.clone();
            ancestor.executable = Some(text.clone());
        }
    }
    event.missing = vec![text.to_string()];
    event
}

/// Every kind, and more than one of those that have alternatives.
pub(crate) fn all() -> Vec<Event> {
    let request = |verdict| What::Request(Request { alias: "fs-xfs".into(), verdict });
    let helper = Helper {
        path: "/sbin/modprobe".into(),
        arguments: vec!["/sbin/modprobe".into(), "-q".into(), "--".into(), "fs-xfs".into()],
        alias: Some("fs-xfs".into()),
        task: Some(4300),
        waited_for: true,
        exit_status: Some(256),
        outcome: HelperOutcome::NothingFound,
        unexpected: vec!["/tmp/x belongs to user 1000".to_owned()],
        duration: Some(5),
    };
    let unload = Unload {
        name: "evil".into(),
        flags: UnloadFlags(nix::libc::O_TRUNC as u32),
        outcome: Outcome::Success,
        module: Some(module()),
        references: None,
        holders: vec![],
        duration: Some(9),
    };
    let hook = |name, state| HookStatus { name, state };
    let coverage = Coverage {
        hooks: vec![
            hook("load", HookState::Attached { symbol: "do_init_module".to_owned() }),
            hook("verify", HookState::Fallback { reason: "inlined".to_owned(), by: "sig_ok" }),
            hook("read", HookState::Missing { reason: "no such symbol".to_owned(), costs: "files" }),
            hook("other", HookState::NotNeeded { reason: "old".to_owned() }),
        ],
    };
    vec![
        event(request(Verdict::Allowed)),
        bare(request(Verdict::Refused(1))),
        event(What::Helper(helper.clone())),
        bare(What::Helper(Helper { alias: None, task: None, exit_status: None, duration: None, ..helper })),
        event(What::Read(Read { file: Some(file()), bytes: Some(5), compressed: true, verdict: Verdict::Refused(13) })),
        bare(What::Read(Read { file: None, bytes: None, compressed: false, verdict: Verdict::Unknown })),
        event(What::Verify(Verify {
            file: Some(file()),
            name: Some("evil".into()),
            signature: unreadable(SignatureState::Bad),
            errno: Some(129),
        })),
        bare(What::Verify(Verify {
            file: None,
            name: None,
            signature: unreadable(SignatureState::NotChecked),
            errno: None,
        })),
        event(What::Verify(Verify {
            file: Some(file()),
            name: Some("evil".into()),
            signature: signed(SignatureState::Valid),
            errno: Some(0),
        })),
        load(),
        with_signature(signed(SignatureState::Valid)),
        with_signature(unreadable(SignatureState::Bad)),
        of_no_package(),
        refused_load(),
        event(What::Unload(unload.clone())),
        event(What::Unload(Unload {
            outcome: Outcome::Failure(Some(11)),
            module: None,
            references: Some(2),
            holders: vec!["xfs".into()],
            ..unload.clone()
        })),
        bare(What::Unload(Unload {
            outcome: Outcome::Refused(1, Some(Refusal::Capability)),
            module: None,
            duration: None,
            ..unload
        })),
        event(What::Taint(KernelTaints { before: Taints(4096), after: Taints(12288) })),
        bare(What::Inventory(Inventory {
            name: "evil".into(),
            before_start: true,
            count: Some(40),
            size: 16_384,
            references: Some(1),
            version: Some("1.0".into()),
            srcversion: Some("533BB7E5866E52F63B9ACCB".into()),
            taints: Some(Taints(12288)),
            signature: SignatureState::Unknown,
            path: Some("/lib/modules/6.1.0-42-amd64/updates/evil.ko".into()),
        })),
        bare(What::Inventory(Inventory {
            name: "late".into(),
            before_start: false,
            count: None,
            size: 0,
            references: None,
            version: None,
            srcversion: None,
            taints: None,
            signature: SignatureState::NotChecked,
            path: None,
        })),
        event(What::Hidden(Hidden {
            name: "evil".into(),
            listed: vec!["records", "/sys/module"],
            missing: vec!["/proc/modules"],
        })),
        event(What::Setting(Setting::Value {
            path: "/proc/sys/kernel/modprobe".into(),
            before: Some("/sbin/modprobe".into()),
            after: Some("/tmp/x".into()),
        })),
        bare(What::Setting(Setting::File { path: "/etc/modprobe.d/x.conf".into(), change: FileChange::Created })),
        bare(What::Heartbeat(Heartbeat {
            modules: 40,
            digest: "44".repeat(32),
            events: 5,
            kernel_records: 7,
            lost: 3,
        })),
        started(Probes::Attached {
            refused: Some("generation 17: a part of it is missing".to_owned()),
            unwatched_for: Some(7_500_000_000),
        }),
        started(Probes::Adopted(Adopted { unread_for: 2_100_000_000, waiting: 12 })),
        started(Probes::Replaced(Adopted { unread_for: 2_100_000_000, waiting: 12 })),
        bare(What::Coverage(coverage)),
        bare(What::Lost(Lost { event: "linux.kernel_module.read", record: "read", count: 3 })),
        bare(What::Dropped(Dropped {
            sink: "siem".to_owned(),
            route: Some("everything".to_owned()),
            event: Some("linux.kernel_module.read".to_owned()),
            reason: DropReason::RateLimited,
            key: Some("alice".to_owned()),
            count: 4,
        })),
        bare(What::Dropped(Dropped {
            sink: "siem".to_owned(),
            route: None,
            event: None,
            reason: DropReason::Damaged,
            key: None,
            count: 1,
        })),
        bare(What::Stopped(Stopped { reason: "SIGTERM".to_owned(), events: 5, kernel_records: 7, lost: 3 })),
    ]
}

#[test]
fn there_is_one_of_every_kind() {
    for name in What::NAMES {
        assert!(all().iter().any(|e| e.what.name() == name), "{name} has no sample");
    }
}
