//! Every way to load a module, and every way to fail: each leaves exactly one load record, and it says what happened.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{LOAD, READ, VERIFY, load_by},
    watched::watched,
};
use crate::{
    fixtures,
    guest::{Action, Outcome},
    records::{Record, Records},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "loads", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: loads },
    Scenario {
        name: "loads_compressed",
        guest: GuestKind::Fast,
        // Before Linux 5.17 only kmod could decompress; Debian's 6.1 does not ask the kernel to.
        kernels: Kernels::Except(&["5.10", "6.1", "6.1-full", "6.1-rt"]),
        full: false,
        run: loads_compressed,
    },
    Scenario { name: "loads_at_once", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: loads_at_once },
    Scenario {
        name: "loads_blacklisted",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: loads_blacklisted,
    },
    Scenario {
        name: "loads_appraised",
        guest: GuestKind::Fast,
        kernels: Kernels::Only(&["6.1", "7"]),
        full: false,
        run: loads_appraised,
    },
    Scenario {
        name: "loads_refused_by_policy",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: loads_refused_by_policy,
    },
];

/// MODULE_INIT_IGNORE_MODVERSIONS and MODULE_INIT_IGNORE_VERMAGIC, as `insmod -f` gives them.
const FORCED: &str = "--flags 3";

fn loads(trial: &Trial<'_>) -> Result<()> {
    let hello = trial.testbed().fixtures(trial.kernel())?.bytes("hello.ko")?;
    let unresolved = fixtures::replaced(&hello, b"printk", b"prinXk").context("hello.ko does not print")?;
    let outcome = watched(trial)?
        .guest(|guest| guest.file("/fixtures/unresolved.ko", unresolved))
        .script(&format!(
            "
            named signed finit /fixtures/dummy.ko; named again finit /fixtures/dummy.ko; act delete dummy
            named unsigned finit /fixtures/nosig.ko; act delete dummy
            named foreign finit /fixtures/hello.ko --params 'x=7 text=\"a  b\"'; act delete hello
            named memfd memfd /fixtures/hello.ko; act delete hello
            named memory init /fixtures/hello.ko --params x=8; act delete hello
            cp /fixtures/hello.ko /tmp/gone.ko; named deleted deleted /tmp/gone.ko; act delete hello
            named compat ia32-finit /fixtures/hello.ko; act delete hello
            named forced finit /fixtures/hello.ko {FORCED}; act delete hello
            named no-memory init /fixtures/hello.ko --length 1099511627776
            named no-elf finit /fixtures/badelf.ko
            named truncated finit /fixtures/truncated.ko
            named bad-signature finit /fixtures/badsig.ko
            named init-fails finit /fixtures/hello.ko --params fail=22
            named unresolved finit /fixtures/unresolved.ko
            named nobody drop-caps-run /actor finit /fixtures/hello.ko
            # root of a user namespace of its own, which has every capability there
            ACTOR_LABEL=namespaced unshare -U -r /actor finit /fixtures/hello.ko >> /out/actions.jsonl
            named bad-flags finit /fixtures/hello.ko --flags 64
            echo 1 > /proc/sys/kernel/modules_disabled
            named disabled finit /fixtures/hello.ko
            "
        ))
        .run()?;
    let records = outcome.records()?;
    let told = Told { outcome: &outcome, records: &records };

    told.one("signed", "success")?
        .expect("linux.kernel_module.name", "dummy")?
        .expect("linux.kernel_module.source", "file")?
        .expect("linux.kernel_module.syscall", "finit_module")?
        .expect("linux.kernel_module.flags", json!([]))?
        .expect("linux.kernel_module.taints.mask", 0)?
        .expect("linux.kernel_module.taints.letters", "")?
        .expect("linux.kernel_module.signature.ok", true)?
        .expect("linux.kernel_module.signature.state", "valid")?
        .expect("linux.kernel_module.parameters", "")?
        .expect(
            "linux.kernel_module.hash.sha256",
            sha256(&trial.testbed().fixtures(trial.kernel())?.bytes("dummy.ko")?),
        )?
        .expect("linux.kernel_module.license", "GPL")?
        .expect("linux.kernel_module.intree", true)?
        .expect_without("linux.kernel_module.file.compression")?
        .expect_without("linux.kernel_module.syscall.compat")?
        .expect_without("kmodtrail.enrichment.missing")?;
    told.severity("signed", "INFO")?;
    told.evidence_of("signed")?;
    told.one("again", "failure")?.expect("error.type", "EEXIST")?;

    told.one("unsigned", "success")?
        .expect("linux.kernel_module.taints.letters", "E")?
        .expect("linux.kernel_module.taints.names", json!(["unsigned_module"]))?
        .expect("linux.kernel_module.signature.ok", false)?
        .expect("linux.kernel_module.signature.state", "unsigned")?;
    told.severity("unsigned", "WARN")?;

    told.one("foreign", "success")?
        .expect("linux.kernel_module.name", "hello")?
        .expect("linux.kernel_module.taints.letters", "OE")?
        .expect("linux.kernel_module.taints.mask", 12288)?
        .expect("linux.kernel_module.version", "1.2.3")?
        .expect("linux.kernel_module.srcversion", srcversion(&hello)?)?
        .expect("linux.kernel_module.image.size", hello.len())?
        .expect("linux.kernel_module.hash.sha256", sha256(&hello))?
        .expect("linux.kernel_module.intree", false)?
        .expect("linux.kernel_module.parameters", "x=7 text=\"a  b\"")?;
    told.severity("foreign", "WARN")?;
    let vermagic = told.one("foreign", "success")?.string("linux.kernel_module.vermagic")?;
    ensure!(vermagic.starts_with(trial.kernel().release()), "built for {vermagic}");

    told.one("memfd", "success")?
        .expect("linux.kernel_module.source", "memfd")?
        .expect("linux.kernel_module.file.links", 0)?;
    told.one("memory", "success")?
        .expect("linux.kernel_module.source", "memory")?
        .expect("linux.kernel_module.syscall", "init_module")?
        .expect("linux.kernel_module.parameters", "x=8")?
        .expect_without("file.path")?
        .expect(
            "kmodtrail.enrichment.missing",
            json!(["linux.kernel_module.hash.sha256: the bytes came from the process's memory"]),
        )?;
    told.evidence_of("memory")?;
    told.one("deleted", "success")?
        .expect("linux.kernel_module.source", "deleted_file")?
        .expect("file.path", "/tmp/gone.ko")?;
    told.one("compat", "success")?
        .expect("linux.kernel_module.syscall.compat", true)?
        .expect("linux.kernel_module.name", "hello")?;
    let forced = told.one("forced", "success")?;
    forced.expect(
        "linux.kernel_module.flags",
        json!(["MODULE_INIT_IGNORE_MODVERSIONS", "MODULE_INIT_IGNORE_VERMAGIC"]),
    )?;
    ensure!(forced.string("linux.kernel_module.taints.letters")?.contains('F'), "not forced:\n{forced}");

    told.one("no-memory", "failure")?
        .expect("error.type", "ENOMEM")?
        .expect("linux.kernel_module.source", "memory")?
        .expect_without("linux.kernel_module.name")?;
    told.one("no-elf", "failure")?
        .expect("error.type", "ENOEXEC")?
        .expect_without("linux.kernel_module.name")?
        .expect("linux.kernel_module.file.error", "it is no ELF file")?;
    told.one("truncated", "failure")?.expect("error.type", "ENOEXEC")?;
    told.one("bad-signature", "refused")?
        .expect("linux.kernel_module.refusal", "signature")?
        .expect("error.type", "EKEYREJECTED")?
        .expect("linux.kernel_module.signature.state", "bad")?;
    told.severity("bad-signature", "WARN")?;
    told.one("init-fails", "failure")?
        .expect("error.type", "EINVAL")?
        .expect("linux.kernel_module.name", "hello")?
        .expect("linux.kernel_module.taints.letters", "OE")?
        .expect("linux.kernel_module.parameters", "fail=22")?;
    told.one("unresolved", "failure")?.expect("error.type", "ENOENT")?;
    told.one("nobody", "refused")?
        .expect("linux.kernel_module.refusal", "capability")?
        .expect("process.user.name", "nobody")?
        .expect("file.path", "/fixtures/hello.ko")?;
    told.one("namespaced", "refused")?
        .expect("linux.kernel_module.refusal", "capability")?
        .expect("linux.process.namespaces.user_level", 1)?;
    told.one("bad-flags", "failure")?
        .expect("error.type", "EINVAL")?
        .expect("linux.kernel_module.flags", json!(["0x40"]))?;
    told.one("disabled", "refused")?.expect("linux.kernel_module.refusal", "modules_disabled")?;

    // One record for each attempt, and none about anything else.
    let attempts = outcome.actions()?.iter().filter(|action| !action.command.starts_with("delete ")).count();
    records.of(LOAD).count(attempts).map(drop)
}

fn loads_compressed(trial: &Trial<'_>) -> Result<()> {
    let file = fixtures::module_file(trial.kernel(), "dummy")?;
    let plain = trial.testbed().fixtures(trial.kernel())?.bytes("dummy.ko")?;
    let outcome = watched(trial)?
        .guest(|guest| guest.file("/fixtures/dummy.ko.xz", file.clone()))
        // MODULE_INIT_COMPRESSED_FILE
        .script("named compressed finit /fixtures/dummy.ko.xz --flags 4")
        .run()?;
    let records = outcome.records()?;
    let told = Told { outcome: &outcome, records: &records };
    let load = told.one("compressed", "success")?;
    load.expect("linux.kernel_module.name", "dummy")?
        .expect("linux.kernel_module.flags", json!(["MODULE_INIT_COMPRESSED_FILE"]))?
        .expect("linux.kernel_module.signature.state", "valid")?
        .expect("linux.kernel_module.image.size", plain.len())?
        .expect("linux.kernel_module.hash.sha256", sha256(&plain))?
        .expect("linux.kernel_module.file.compression", "xz")?
        .expect("linux.kernel_module.file.hash.sha256", sha256(&fs::read(&file)?))?
        .expect("linux.kernel_module.license", "GPL")?;
    let read = records.of(READ).in_trace_of(load).one()?;
    let size = load.integer("file.size")?;
    read.expect("linux.kernel_module.compressed", true)?.expect("linux.kernel_module.read.size", size)?;
    Ok(())
}

fn loads_refused_by_policy(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .guest(|guest| guest.command_line("module.sig_enforce=1"))
        .script(
            "
            named unsigned finit /fixtures/nosig.ko
            named signed finit /fixtures/dummy.ko
            ",
        )
        .run()?;
    let records = outcome.records()?;
    let told = Told { outcome: &outcome, records: &records };
    let unsigned = told.one("unsigned", "refused")?;
    unsigned
        .expect("linux.kernel_module.refusal", "signature")?
        .expect("error.type", "EKEYREJECTED")?
        .expect("file.path", "/fixtures/nosig.ko")?
        .expect("linux.kernel_module.signature.state", "unsigned")?;
    told.one("signed", "success")?.expect("linux.kernel_module.signature.state", "valid")?;
    Ok(())
}

/// As many records as calls, whatever the kernel makes of several at once: before 6.5 one is done and the others find its name taken, from
/// then on the others wait for it.
fn loads_at_once(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        // 5.10 sees as many returns at a time as there are processors
        .guest(|guest| guest.processors(4))
        .script(
            "
            named one finit /fixtures/hello.ko --params delay_ms=1000 & one=$!
            named two finit /fixtures/hello.ko --params delay_ms=1000 & two=$!
            named three finit /fixtures/hello.ko --params delay_ms=1000
            wait $one $two; act delete hello
            named fails finit /fixtures/hello.ko --params 'delay_ms=3000 fail=22' & fails=$!
            until grep -q '^hello' /proc/modules; do usleep 20000; done
            named busy init /fixtures/hello.ko
            wait $fails
            ",
        )
        .run()?;
    let records = outcome.records()?;
    let mut done = 0;
    for label in ["one", "two", "three"] {
        // errno, file and process are compared with what the caller has seen
        let load = load_by(&records, &outcome.named(label)?)?;
        load.expect("linux.kernel_module.name", "hello")?;
        let joined = load.get("linux.kernel_module.joined").is_some();
        let success = load.string("linux.kernel_module.outcome")? == "success";
        done += usize::from(success && !joined);
        ensure!(success || load.string("error.type")? == "EEXIST", "neither done nor the name taken:\n{load}");
    }
    ensure!(done == 1, "{done} calls have loaded it");
    let told = Told { outcome: &outcome, records: &records };
    told.one("fails", "failure")?.expect("error.type", "EINVAL")?;
    // whoever has waited for one that failed is not to try at once
    told.one("busy", "failure")?.expect("error.type", "EBUSY")?.expect_without("linux.kernel_module.joined")?;
    records.of(LOAD).count(5).map(drop)
}

/// Lockdown comes before the blacklist, and is told apart from it also where the kernel has no function of its own to watch (5.10).
fn loads_blacklisted(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .guest(|guest| guest.command_line("module_blacklist=dummy,hello lockdown=integrity"))
        .script("named signed finit /fixtures/dummy.ko; named unsigned finit /fixtures/hello.ko")
        .run()?;
    let records = outcome.records()?;
    let told = Told { outcome: &outcome, records: &records };
    told.one("signed", "refused")?
        .expect("linux.kernel_module.refusal", "blacklist")?
        .expect("error.type", "EPERM")?
        .expect("linux.kernel_module.name", "dummy")?
        .expect("linux.kernel_module.signature.state", "valid")?;
    told.one("unsigned", "refused")?.expect("linux.kernel_module.refusal", "lockdown")?;
    Ok(())
}

/// IMA lets no file pass that has no signature in its extended attributes.
fn loads_appraised(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .guest(|guest| guest.command_line("ima_policy=secure_boot ima_appraise=enforce"))
        .script("named signed finit /fixtures/dummy.ko")
        .run()?;
    let records = outcome.records()?;
    let told = Told { outcome: &outcome, records: &records };
    told.one("signed", "refused")?
        .expect("linux.kernel_module.refusal", "security_module")?
        .expect("error.type", "EACCES")?
        .expect("linux.kernel_module.signature.state", "unknown")?;
    Ok(())
}

/// What the actor did, and what was told of it.
pub(super) struct Told<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) records: &'a Records,
}

impl<'a> Told<'a> {
    /// The record of an attempt, which agrees with the actor in all that it knows.
    pub(super) fn one(&self, label: &str, outcome: &str) -> Result<&'a Record> {
        let record = load_by(self.records, &self.action(label)?)?;
        record.expect("linux.kernel_module.outcome", outcome)?;
        let mut traces = BTreeSet::new();
        for part in self.records.all().with("process.pid", record.integer("process.pid")?).iter() {
            traces.insert(part.trace_id.as_str());
        }
        ensure!(traces.len() == 1 && !record.trace_id.is_empty(), "{label}: parts of one load in traces {traces:?}");
        Ok(record)
    }

    fn action(&self, label: &str) -> Result<Action> {
        self.outcome.named(label)
    }

    fn severity(&self, label: &str, severity: &str) -> Result<()> {
        let record = load_by(self.records, &self.action(label)?)?;
        ensure!(record.severity == severity, "{label} is not {severity}:\n{record}");
        Ok(())
    }

    /// The read and the verification are told too, and where they belong.
    fn evidence_of(&self, label: &str) -> Result<()> {
        let load = load_by(self.records, &self.action(label)?)?;
        let read = self.records.of(READ).in_trace_of(load).one()?;
        read.expect("linux.kernel_module.verdict", "allowed")?
            .expect("linux.kernel_module.source", load.string("linux.kernel_module.source")?)?;
        let verified = self.records.of(VERIFY).in_trace_of(load).one()?;
        verified
            .expect("linux.kernel_module.name", load.string("linux.kernel_module.name")?)?
            .expect("linux.kernel_module.signature.state", load.string("linux.kernel_module.signature.state")?)?;
        ensure!(self.records.all().in_trace_of(load).len() == 3, "{label}: more than a read, a check and a load");
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What modinfo would say.
fn srcversion(module: &[u8]) -> Result<String> {
    let key = b"srcversion=";
    let at = module.windows(key.len()).position(|window| window == key).context("the module has no srcversion")?;
    let value = module[at + key.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(value).into_owned())
}
