//! Whose call made the kernel load a module: one record says it, whatever stands between the two.

use anyhow::{Context as _, Result, ensure};

use super::{
    GuestKind, Kernels, Scenario, Trial,
    booted::booted,
    told::{HELPER, LOAD, READ, REQUEST, VERIFY},
};
use crate::{
    guest::Outcome,
    records::{Record, Records},
};

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "requesters", guest: GuestKind::Systemd, kernels: Kernels::All, full: false, run: requesters }];

/// What modprobe makes of address families that nobody has: socket(2) asks for net-pf-N.
const MODPROBE: &str = "
alias net-pf-9 by_a_shell
install by_a_shell /bin/sh /shell.sh
alias net-pf-11 two_at_once
install two_at_once /bin/sh /two.sh
alias net-pf-12 without_requester
install without_requester /bin/sh /late.sh
alias net-pf-19 killed
install killed kill -9 $PPID
alias net-pf-23 nlmon
blacklist nlmon
alias net-pf-24 ifb
softdep ifb pre: veth
alias net-pf-26 vxlan
alias asked-1 macvlan
alias asked-2 team
alias asked-3 vrf
alias asked-4 macsec
";
/// A module that another process loads: modprobe, a shell, modprobe.
const SHELL: &str = "/sbin/modprobe dummy; true\n";
/// Each goes on when both are there.
const TWO: &str = "
echo $$ >> /run/two
/actor wait-for /run/two '' 2 60 && insmod /fixtures/hello.ko
true
";
/// Goes on when its requester is gone.
const LATE: &str = "
echo here > /run/late
/actor wait-for /run/gone gone 1 60 && insmod /fixtures/hello.ko
true
";

fn requesters(trial: &Trial<'_>) -> Result<()> {
    let outcome = booted(
        trial,
        "",
        "
        ACTOR_LABEL=shell /actor drop-caps-run /actor request 1 9 >> /out/actions.jsonl
        named softdep request 1 24
        named depends request 1 26
        named blacklisted request 1 23
        named killed-helper request 1 19

        ACTOR_LABEL=terminal script -qec 'exec /actor request 1 23' /dev/null > /out/terminal
        grep -o '{.*}' /out/terminal >> /out/actions.jsonl

        ACTOR_LABEL=one /actor request 1 11 >> /out/one &
        one=$!
        ACTOR_LABEL=other /actor request 1 11 >> /out/other
        wait $one
        cat /out/one /out/other >> /out/actions.jsonl
        rmmod hello

        /actor request 1 12 &
        requester=$!
        echo $requester > /out/killed
        touch /run/gone
        /actor wait-for /run/late here 1 60
        kill -KILL $requester
        wait $requester
        echo gone > /run/gone
        /actor wait-for /proc/modules hello 1 60

        # a program that handles core dumps may have any arguments
        echo '|/bin/true -q -- net-pf-9' > /proc/sys/kernel/core_pattern
        ulimit -c unlimited
        sh -c 'kill -SEGV $$'
        echo '|/bin/false' > /proc/sys/kernel/core_pattern
        sh -c 'kill -SEGV $$'

        # who asks goes on at once, and programs that nobody waits for start between the requests
        insmod /fixtures/asks.ko aliases=asked-1,asked-2,asked-3 unasked=asked-4
        for module in macvlan team vrf macsec; do /actor wait-for /proc/modules \"$module \" 1 60 || exit 91; done
        rmmod asks

        echo /no/modprobe > /proc/sys/kernel/modprobe
        named missing request 1 9
        printf '#!/bin/sh\\n' > /tmp/x
        chmod 777 /tmp/x
        echo /tmp/x > /proc/sys/kernel/modprobe
        named exploit request 1 9
        echo /usr/sbin/modprobe > /proc/sys/kernel/modprobe
        chown 65534 /usr/bin/kmod
        named owned request 1 23
        ",
    )?
    .file("/etc/modprobe.d/requesters.conf", MODPROBE)
    .file("/shell.sh", SHELL)
    .file("/two.sh", TWO)
    .file("/late.sh", LATE)
    .run()?;
    outcome.expect_success()?;
    let records = outcome.records()?;
    let story = |label: &str| Story::of(&records, &outcome, label).with_context(|| format!("the request {label}"));

    let shell = story("shell")?;
    shell.helper.expect("linux.kernel_module.helper.outcome", "loaded")?;
    let load = shell.only_load("dummy")?;
    load.expect("linux.kernel_module.requester.process.user.id", 65534)?
        .expect("linux.kernel_module.requester.linux.process.capabilities.effective", "0000000000000000")?
        .expect("process.user.id", 0)?
        .expect("linux.kernel_module.alias", "net-pf-9")?;
    ensure!(load.get("process.pid") != shell.helper.get("linux.kernel_module.helper.pid"), "no shell:\n{load}");

    for (label, first, second) in [("softdep", "veth", "ifb"), ("depends", "udp_tunnel", "vxlan")] {
        let story = story(label)?;
        story.helper.expect("linux.kernel_module.helper.outcome", "loaded")?;
        for name in [first, second] {
            story.loads(name).at_least(1)?;
        }
    }
    let blacklisted = story("blacklisted")?;
    blacklisted.helper.expect("linux.kernel_module.helper.outcome", "nothing_found")?;
    blacklisted.helper.expect_without("linux.kernel_module.helper.unexpected")?;
    let terminal = story("terminal")?.request;
    terminal
        .expect("linux.process.tty", "pts0")?
        .expect("process.session_leader.pid", terminal.integer("process.pid")?)?;
    terminal.expect("linux.process.namespaces.of_host", vec!["user", "mnt", "pid", "net"])?;
    shell.request.expect_without("linux.process.tty")?;
    let killed = story("killed-helper")?;
    killed
        .helper
        .expect("linux.kernel_module.helper.exit_status", 9)?
        .expect("linux.kernel_module.helper.outcome", "failed")?;

    // Both loaded hello; on most kernels the second was too late.
    for label in ["one", "other"] {
        let story = story(label)?;
        records.of(LOAD).in_trace_of(story.request).one()?;
    }
    let pid: i64 = outcome.text("killed")?.trim().parse()?;
    let request = records.of(REQUEST).with("process.pid", pid).one()?;
    let helper = records.of(HELPER).in_trace_of(request).one()?;
    helper.expect_without("linux.kernel_module.helper.exit_status")?;
    let load = records.of(LOAD).in_trace_of(request).one()?;
    expect_requester(load, request, helper)?;
    ensure!(load.time > helper.time, "the requester was there until the end:\n{load}");

    // That of the core dump is a helper, too, but nobody asked for a module. The other one is nothing to us.
    let core = records.of(HELPER).with("linux.kernel_module.helper.path", "/bin/true").one()?;
    core.expect_without("linux.kernel_module.alias")?;
    records.of(HELPER).with("linux.kernel_module.helper.path", "/bin/false").none()?;

    expect_nobody_waited(&records)?;

    let missing = story("missing")?.helper;
    missing
        .expect("linux.kernel_module.helper.exit_status", -2)?
        .expect("linux.kernel_module.helper.outcome", "not_started")?;
    expect_unexpected(missing, &["the kernel was built with /sbin/modprobe"])?;
    let exploit = story("exploit")?.helper;
    expect_unexpected(exploit, &["the kernel was built with /sbin/modprobe", "everybody may change /tmp/x"])?;
    let owned = story("owned")?.helper;
    expect_unexpected(owned, &["/usr/sbin/modprobe belongs to user 65534"])
}

/// Each of asks.ko's requests has its own helper, which has loaded what was asked for; what nobody has asked for is nobody's.
fn expect_nobody_waited(records: &Records) -> Result<()> {
    let load = |module: &str| records.of(LOAD).with("linux.kernel_module.name", module).one();
    for (alias, module) in [("asked-1", "macvlan"), ("asked-2", "team"), ("asked-3", "vrf")] {
        let of_alias = |event| records.of(event).with("linux.kernel_module.alias", alias).one();
        let (request, helper) = (of_alias(REQUEST)?, of_alias(HELPER)?);
        request.expect("process.executable.name", "kmod")?;
        helper
            .expect("linux.kernel_module.parent_span_id", request.span_id.clone())?
            .expect_without("linux.kernel_module.helper.exit_status")?;
        let load = load(module)?;
        load.expect("linux.kernel_module.alias", alias)?;
        expect_requester(load, request, helper)?;
    }
    let unasked = load("macsec")?;
    unasked.expect_without("linux.kernel_module.alias")?;
    let arguments = vec!["/sbin/modprobe", "-q", "--", "asked-4"];
    let helper = records.of(HELPER).with("linux.kernel_module.helper.arguments", arguments).one()?;
    helper.expect_without("linux.kernel_module.alias")?;
    unasked.expect("linux.kernel_module.parent_span_id", helper.span_id.clone())?;
    Ok(())
}

fn expect_unexpected(helper: &Record, reasons: &[&str]) -> Result<()> {
    ensure!(helper.severity == "WARN", "not a warning:\n{helper}");
    helper.expect("linux.kernel_module.helper.unexpected", reasons.to_vec()).map(drop)
}

/// A request, its helper, and all that came of it.
struct Story<'a> {
    records: &'a Records,
    request: &'a Record,
    helper: &'a Record,
}

impl<'a> Story<'a> {
    /// That of the actor of this name; its spans tell the order, and each record says whose call it was.
    fn of(records: &'a Records, outcome: &Outcome, label: &str) -> Result<Self> {
        let actor = outcome.named(label)?;
        let request = records.of(REQUEST).with("process.pid", actor.pid).one()?;
        request.expect_without("linux.kernel_module.parent_span_id")?;
        let helper = records.of(HELPER).with("process.pid", actor.pid).in_trace_of(request).one()?;
        helper.expect("linux.kernel_module.parent_span_id", request.span_id.clone())?;
        for load in records.of(LOAD).in_trace_of(request).iter() {
            expect_requester(load, request, helper)?;
            for event in [READ, VERIFY] {
                let of_load = |record: &Record| {
                    record.get("linux.kernel_module.parent_span_id").is_some_and(|parent| *parent == load.span_id)
                };
                for evidence in records.of(event).that("of the load", of_load).iter() {
                    expect_same_requester(evidence, load)?;
                }
            }
        }
        for record in records.all().in_trace_of(request).iter() {
            ensure!(record.span_id.len() == 16, "no span:\n{record}");
        }
        Ok(Self { records, request, helper })
    }

    fn loads(&self, name: &str) -> crate::records::Selection<'a> {
        self.records.of(LOAD).in_trace_of(self.request).with("linux.kernel_module.name", name)
    }

    fn only_load(&self, name: &str) -> Result<&'a Record> {
        self.loads(name).one()
    }
}

const REQUESTER: &str = "linux.kernel_module.requester.";

/// Everything that the request says of its process, the load says of its requester. A load in the middle of another one has another helper.
fn expect_requester(load: &Record, request: &Record, helper: &Record) -> Result<()> {
    if load.get("linux.kernel_module.alias") == request.get("linux.kernel_module.alias") {
        load.expect("linux.kernel_module.parent_span_id", helper.span_id.clone())?;
    }
    let of_process = ["process.", "thread.", "linux.process.", "container.", "k8s.", "systemd."];
    let mut count = 0;
    for (name, value) in &request.attributes {
        if of_process.iter().any(|prefix| name.starts_with(prefix)) {
            load.expect(&format!("{REQUESTER}{name}"), value.clone())?;
            count += 1;
        }
    }
    ensure!(count > 20, "only {count} attributes say who asked:\n{request}");
    Ok(())
}

fn expect_same_requester(record: &Record, load: &Record) -> Result<()> {
    for (name, value) in load.attributes.iter().filter(|(name, _)| name.starts_with(REQUESTER)) {
        record.expect(name, value.clone())?;
    }
    Ok(())
}
