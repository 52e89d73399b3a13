//! What the kernel does with signatures, good and bad, where it demands them and where it does not: the records say it as it is.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    GuestKind, Kernels, Scenario, Trial,
    loads::Told,
    told::{TAINT, VERIFY},
    watched::watched,
};
use crate::{
    fixtures::{
        SIGNATURE_MARKER, replaced,
        signing::{ECDSA, Key, PKCS7, RSA, append, printed},
    },
    records::Record,
    workspace,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("signatures", |trial| matrix(trial, Policy::Default)),
    scenario("signatures_enforced", |trial| matrix(trial, Policy::Enforced)),
    scenario("signatures_locked_down", |trial| matrix(trial, Policy::LockedDown)),
];

const fn scenario(name: &'static str, run: fn(&Trial<'_>) -> Result<()>) -> Scenario {
    Scenario { name, guest: GuestKind::Fast, kernels: Kernels::All, full: false, run }
}

/// What the kernel's command line demands: the columns of the README's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Default,
    Enforced,
    LockedDown,
}

impl Policy {
    const fn command_line(self) -> &'static str {
        match self {
            Self::Default => "quiet",
            Self::Enforced => "module.sig_enforce=1",
            Self::LockedDown => "lockdown=integrity",
        }
    }
}

/// What a policy makes of a case.
#[derive(Clone, Copy)]
enum End {
    /// It is loaded, with these taints.
    Loaded(&'static str),
    /// Loaded where nothing is demanded; else refused by what demands it.
    Demanded(&'static str),
    /// Refused by the signature, whatever is demanded.
    Refused(&'static str),
}

struct Case {
    name: &'static str,
    module: Vec<u8>,
    options: &'static str,
    /// signature.state
    state: &'static str,
    end: End,
    /// Attributes of the signature that are there as well.
    says: &'static [(&'static str, &'static str)],
}

const FOREIGN: &[(&str, &str)] = &[("signer", Key::SIGNER), ("key_id", "4242"), ("hash_algorithm", "sha256")];

/// FORCED: MODULE_INIT_IGNORE_MODVERSIONS and MODULE_INIT_IGNORE_VERMAGIC, as `insmod -f` gives them.
const FORCED: &str = "--flags 3";

fn cases(trial: &Trial<'_>) -> Result<Vec<Case>> {
    let fixtures = trial.testbed().fixtures(trial.kernel())?;
    let [signed, unsigned, changed, hello] =
        ["dummy.ko", "nosig.ko", "badsig.ko", "hello.ko"].map(|name| fixtures.bytes(name));
    let (signed, unsigned, changed, hello) = (signed?, unsigned?, changed?, hello?);
    let (rsa, ecdsa) = (Key::new(RSA)?, Key::new(ECDSA)?);
    let garbage = vec![0xff; 1 << 20];
    let with = |modinfo: &str| -> Result<Vec<u8>> {
        // the place of another entry, and zeros behind it
        let mut entry = modinfo.as_bytes().to_vec();
        entry.resize("version=1.2.3".len(), 0);
        replaced(&hello, b"version=1.2.3", &entry).context("hello.ko has no version")
    };
    let case = |name, module, state, end, says| Case { name, module, options: "", state, end, says };
    let mut cases = vec![
        case("in-tree", signed.clone(), "valid", End::Loaded(""), &[]),
        case("marker-cut", unsigned, "unsigned", End::Demanded("E"), &[]),
        case("out-of-tree", hello.clone(), "unsigned", End::Demanded("OE"), &[]),
        case("unknown-key", rsa.sign(&hello, "sha256", false)?, "untrusted_key", End::Demanded("OE"), FOREIGN),
        case("signed-twice", rsa.sign(&signed, "sha256", false)?, "untrusted_key", End::Demanded("E"), FOREIGN),
        case("changed", changed, "bad", End::Refused("EKEYREJECTED"), &[("hash_algorithm", "sha256")]),
        case("signed-attributes", rsa.sign(&hello, "sha256", true)?, "bad", End::Refused("EKEYREJECTED"), FOREIGN),
        case(
            "garbage",
            append(&hello, &garbage[..300], 300, PKCS7),
            "bad",
            End::Refused("EBADMSG"),
            &[("error", "it is no PKCS#7 message")],
        ),
        case(
            "megabyte-of-garbage",
            append(&hello, &garbage, garbage.len(), PKCS7),
            "bad",
            End::Refused("EMSGSIZE"),
            &[("error", "it is longer than kmodtrail reads")],
        ),
        case(
            "longer-than-the-module",
            append(&hello, &garbage[..300], 1 << 30, PKCS7),
            "bad",
            End::Refused("EBADMSG"),
            &[("error", "it claims to be longer than the module")],
        ),
        case(
            "not-pkcs7",
            append(&hello, &garbage[..300], 300, 1),
            "unsupported",
            End::Demanded("OE"),
            &[("error", "it is of a kind that no kernel checks any more, not PKCS#7")],
        ),
        case("claims-in-tree", with("intree=Y")?, "unsigned", End::Demanded("E"), &[]),
        case("staging", with("staging=Y")?, "unsigned", End::Demanded("COE"), &[]),
        case("livepatch", with("livepatch=Y")?, "unsigned", End::Demanded("OEK"), &[]),
        case(
            "proprietary",
            replaced(&hello, b"license=GPL\0", b"license=GPX\0").context("hello.ko has no license")?,
            "unsigned",
            End::Demanded("POE"),
            &[],
        ),
        Case { options: FORCED, ..case("forced", hello.clone(), "unsigned", End::Demanded("FOE"), &[]) },
        Case { options: FORCED, ..case("signed-and-forced", signed, "not_checked", End::Demanded("FE"), &[]) },
    ];
    let test = if trial.kernel().name().starts_with("5.10") { "OE" } else { "OEN" };
    cases.push(case("test", with("test=Y")?, "unsigned", End::Demanded(test), &[]));
    // what a kernel can't check differs: 5.10 knows no elliptic curves, 6.12 and later no MD5
    let unsupported = match trial.kernel().name().split('-').next().unwrap_or_default() {
        "5.10" => Some((ecdsa.sign(&hello, "sha256", false)?, FOREIGN)),
        "6.1" => None,
        _ => Some((rsa.sign(&hello, "md5", false)?, &[("hash_algorithm", "md5")][..])),
    };
    cases.extend(
        unsupported.map(|(module, says)| case("unsupported", module, "unsupported", End::Demanded("OE"), says)),
    );
    Ok(cases)
}

fn matrix(trial: &Trial<'_>, policy: Policy) -> Result<()> {
    let cases = cases(trial)?;
    let mut script = String::new();
    for case in &cases {
        let Case { name, options, .. } = case;
        script += &format!("named {name} finit /cases/{name}.ko {options}; act delete hello; act delete dummy\n");
    }
    script += "echo 64 > /proc/sys/kernel/tainted\n";
    let outcome = watched(trial)?
        .guest(|guest| {
            cases.iter().fold(guest.command_line(policy.command_line()), |guest, case| {
                guest.file(&format!("/cases/{}.ko", case.name), case.module.clone())
            })
        })
        .script(&script)
        .run()?;
    let records = outcome.records()?;
    let told = Told { outcome: &outcome, records: &records };
    let mut taints: u64 = 0;
    let printed = printed(&cases[0].module)?;
    let readme = readme()?;
    for case in &cases {
        let record = ended(&told, case, policy)
            .and_then(|record| {
                signed_as(record, case, policy)?;
                Ok(record)
            })
            .and_then(|record| {
                // 5.10 does not know the flag N
                let differs = case.name == "test" && trial.kernel().name().starts_with("5.10");
                if differs { Ok(record) } else { shown_in(&readme, record, case, policy) }
            })
            .with_context(|| format!("case {}", case.name))?;
        record.expect("linux.kernel_module.kernel_taints.before", taints)?;
        taints |= record.integer("linux.kernel_module.taints.mask").unwrap_or(0) as u64;
        record.expect("linux.kernel_module.kernel_taints.after", taints)?;
        for verified in records.of(VERIFY).in_trace_of(record).iter() {
            signed_as(verified, case, policy).with_context(|| format!("the verification of case {}", case.name))?;
        }
    }
    // who signed a module of the kernel's own is as another program reads it
    let signed = told.one("in-tree", "success")?;
    for part in ["signer", "key_id"] {
        let value = signed.string(&format!("linux.kernel_module.signature.{part}"))?;
        ensure!(printed.contains(&value.to_lowercase()), "openssl shows no {part} {value:?}:\n{printed}");
    }
    if policy == Policy::Default {
        let claims = told.one("claims-in-tree", "success")?;
        claims.expect("linux.kernel_module.intree", true)?;
        ensure!(claims.body.ends_with("says that it is of the kernel's tree"), "{}", claims.body);
    }
    // each flag is told once, by whom, and in the order in which they came
    let mut before = 0;
    for taint in records.of(TAINT).iter() {
        taint.expect("linux.kernel_module.kernel_taints.before", before)?;
        before = taint.integer("linux.kernel_module.kernel_taints.after")?;
        ensure!(taint.severity == "WARN", "not WARN:\n{taint}");
    }
    let tainter = records.of(TAINT).with("linux.kernel_module.kernel_taints.added", json!(["user"])).one()?;
    tainter.expect("linux.kernel_module.kernel_taints.before", taints)?;
    // the compiler has put add_taint into the one that writes the file, where both are in one file of the kernel's: then nobody is seen
    if trial.kernel().name().starts_with('7') {
        tainter.expect_without("process.pid")?;
    } else {
        ensure!(tainter.string("process.executable.path")?.ends_with("busybox"), "not the shell:\n{tainter}");
    }
    ensure!(before as u64 == taints | 64, "all taint records together say {before}, the loads {taints}");
    Ok(())
}

/// The load record of a case, which ended as it must.
fn ended<'a>(told: &Told<'a>, case: &Case, policy: Policy) -> Result<&'a Record> {
    let loaded = |taints: &str| {
        let record = told.one(case.name, "success")?;
        record.expect("linux.kernel_module.taints.letters", taints)?.expect("linux.kernel_module.errno", 0)?;
        record.expect("linux.kernel_module.signature.ok", case.state == "valid").map(|_| record)
    };
    let refused = |by: &str, errno: &str| {
        let record = told.one(case.name, "refused")?;
        record.expect("linux.kernel_module.refusal", by)?.expect("error.type", errno)?;
        Ok(record)
    };
    match (case.end, policy) {
        (End::Loaded(taints), _) | (End::Demanded(taints), Policy::Default) => loaded(taints),
        (End::Demanded(_), Policy::Enforced) => refused("signature", "EKEYREJECTED"),
        (End::Demanded(_), Policy::LockedDown) => refused("lockdown", "EPERM"),
        (End::Refused(errno), _) => refused("signature", errno),
    }
}

fn readme() -> Result<String> {
    let path = workspace::root().join("README.md");
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// What was seen stands in the README's table.
fn shown_in<'a>(readme: &str, record: &'a Record, case: &Case, policy: Policy) -> Result<&'a Record> {
    let begin = format!("| `{}` |", case.name);
    let row = readme.lines().find(|line| line.starts_with(&begin)).context("the README's table has no such case")?;
    let mut cells = row.split('|').map(str::trim).skip(3);
    let state = cells.next().unwrap_or_default();
    let end = cells.nth(policy as usize).unwrap_or_default();
    let seen = if record.string("linux.kernel_module.outcome")? == "success" {
        match record.string("linux.kernel_module.taints.letters")? {
            "" => "loaded".to_owned(),
            letters => format!("loaded, {letters}"),
        }
    } else {
        format!("{} ({})", record.string("error.type")?, record.string("linux.kernel_module.refusal")?)
    };
    let seen = (record.string("linux.kernel_module.signature.state")?, seen.as_str());
    ensure!(seen == (state, end), "the README says {:?}, seen was {seen:?}", (state, end));
    Ok(record)
}

/// Of a load and of its verification alike.
fn signed_as(record: &Record, case: &Case, policy: Policy) -> Result<()> {
    let appended = case.module.ends_with(SIGNATURE_MARKER);
    record
        .expect("linux.kernel_module.signature.state", case.state)?
        .expect("linux.kernel_module.signature.present", appended)?
        .expect("linux.kernel_module.signature.enforced", policy != Policy::Default)?;
    if case.state == "valid" {
        record.expect("linux.kernel_module.signature.keyring", "builtin_trusted_keys")?;
    } else {
        record.expect_without("linux.kernel_module.signature.keyring")?;
    }
    for (name, value) in case.says {
        record.expect(&format!("linux.kernel_module.signature.{name}"), *value)?;
    }
    ensure!(
        appended || record.get("linux.kernel_module.signature.key_id").is_none(),
        "a key without a signature:\n{record}"
    );
    Ok(())
}
