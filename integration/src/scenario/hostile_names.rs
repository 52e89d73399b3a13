//! Whoever is watched chooses the names: no byte of theirs may break a record or reach a terminal, and no length may push
//! anything else out of a record or stay for the next.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    GuestKind, Kernels, Scenario, Trial,
    told::{LOAD, expect_bytes, expect_result, load_by, unescaped},
    watched::watched,
};
use crate::records::Record;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "hostile_names", guest: GuestKind::Fast, kernels: Kernels::All, full: false, run: hostile_names },
    Scenario {
        name: "names_too_long",
        guest: GuestKind::Fast,
        kernels: Kernels::All,
        full: false,
        run: names_too_long,
    },
];

/// ESC sequences, C1 as one byte and as UTF-8, a newline and a carriage return, quotes, what is no UTF-8, a right-to-left
/// override, and what looks like the daemon's own escape. For printf.
const HOSTILE: &str = r#"\033[2J\233\302\233\n\r\"'"'"'$\377\342\200\256\\377\\"#;

fn hostile_names(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .printed_script(&format!(
            "
            bad=\"$(printf '{HOSTILE}')\"
            mkdir -p \"/tmp/d$bad/e\"
            cp /actor \"/tmp/d$bad/$bad\"
            cp /fixtures/hello.ko \"/tmp/d$bad/m$bad.ko\"
            printf %s \"$bad\" | od -An -v -tx1 | tr -d ' \\n' > /out/bad
            cd \"/tmp/d$bad/e\"
            ACTOR_LABEL=hostile \"../$bad\" finit \"../m$bad.ko\" --params \"text=$bad\" >> /out/actions.jsonl
            cd /
            act delete \"$bad\"
            "
        ))
        .run()?;
    let records = outcome.records()?;
    let action = outcome.named("hostile")?;
    // Executable, working directory, arguments, command name and those of the ancestors, byte by byte.
    let load = records.of(LOAD).one()?;
    super::told::expect_process(load, &action)?;
    let bad = super::told::from_hex(&json!(outcome.text("bad")?.trim()))?;
    ensure!(bad.contains(&0x1b) && bad.contains(&0xff) && bad.contains(&b'\n'), "not hostile: {bad:?}");
    let expect = |attribute: &str, before: &[u8], after: &[u8]| {
        let told = unescaped(load.string(attribute)?);
        ensure!(told == [before, &bad, after].concat(), "{attribute} is not the bytes that were given:\n{load}");
        Ok(())
    };
    expect("linux.kernel_module.parameters", b"text=", b"")?;
    let file = unescaped(load.string("file.path")?);
    ensure!(file == [b"/tmp/d", &bad[..], b"/m", &bad, b".ko"].concat(), "the file's name is another:\n{load}");
    load.expect("linux.kernel_module.name", "hello")?.expect("linux.kernel_module.outcome", "success")?;
    let unload = records.of(super::told::UNLOAD).one()?;
    ensure!(unescaped(unload.string("linux.kernel_module.name")?) == bad, "the name is another:\n{unload}");

    for file in ["records.terminal", "records.log"] {
        let bytes = outcome.out.get(file).with_context(|| format!("no /out/{file}"))?;
        let text = std::str::from_utf8(bytes).with_context(|| format!("/out/{file} is no UTF-8"))?;
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        ensure!(bad.is_none(), "{bad:?} reaches the terminal by /out/{file}:\n{}", text.escape_debug());
    }
    let terminal = outcome.text("records.terminal")?;
    ensure!(terminal.contains("loaded the module hello"), "--print does not tell the load:\n{terminal}");
    let forged = terminal.lines().find(|line| !line.starts_with("20") && !line.starts_with("          "));
    ensure!(forged.is_none(), "a name begins a line of its own: {forged:?}");
    Ok(())
}

fn names_too_long(trial: &Trial<'_>) -> Result<()> {
    let outcome = watched(trial)?
        .script(
            "
            mkdir -p /sys/fs/cgroup/own /tmp/own
            cp /actor /tmp/own/actor
            own() {
                ACTOR_LABEL=$1 sh -c 'echo $$ > /sys/fs/cgroup/own/cgroup.procs; cd /tmp/own
                    exec ./actor finit /fixtures/hello.ko --params x=5' >> /out/actions.jsonl
                act delete hello
            }
            own first
            # a parameter that hello.ko does not know: the kernel ignores it, however long it is
            long=$(head -c 100000 /dev/zero | tr '\\0' l)
            cd /tmp
            named long deep 45 --cgroups 30 /fixtures/hello.ko -- finit module.ko --params \"x=6 zz=$long\"
            act delete hello
            cd /
            own next
            ",
        )
        .run()?;
    let records = outcome.records()?;
    let long = outcome.named("long")?;
    let load = records.of(LOAD).with("process.pid", long.pid).one()?;
    expect_what_fits(load)?;
    expect_result(load, &long)?;
    expect_bytes(load, "thread.name", &json!("6163746f72"))?;
    let length = long.more["process"]["arguments"].as_str().map_or(0, str::len) / 2;
    ensure!(length > 100_000, "only {length} bytes of arguments");
    load.expect("linux.process.arguments_cut", true)?.expect("linux.process.arguments_length", length)?;

    // What comes next, before and after, is its own to the last byte.
    for label in ["first", "next"] {
        let action = outcome.named(label)?;
        load_by(&records, &action)?
            .expect("process.executable.path", "/tmp/own/actor")?
            .expect("process.working_directory", "/tmp/own")?
            .expect("linux.process.cgroup.path", "/own")?
            .expect("file.path", "/fixtures/hello.ko")?
            .expect("linux.kernel_module.parameters", "x=5")?
            .expect_without("linux.kernel_module.parameters_cut")?
            .expect_without("linux.process.arguments_cut")?
            .expect_without("kmodtrail.enrichment.missing")?;
    }
    Ok(())
}

/// Each part is cut at its own limit, says so, and leaves the others alone.
fn expect_what_fits(load: &Record) -> Result<()> {
    load.expect("linux.kernel_module.name", "hello")?
        .expect("linux.kernel_module.outcome", "success")?
        .expect("linux.kernel_module.taints.letters", "OE")?
        .expect("linux.kernel_module.parameters_cut", true)?
        .expect("linux.kernel_module.file.path_cut", true)?
        .expect("process.user.id", 0)?
        .expect("process.executable.name", "actor")?
        .expect("linux.process.parent.comm", "sh")?;
    let level = |number: u32| format!("{number:_<255}");
    let ends = |attribute: &str, end: &str, least: usize| {
        let text = load.string(attribute)?;
        ensure!(text.ends_with(end) && !text.starts_with('/'), "{attribute} does not end with {end}:\n{load}");
        ensure!(text.len() >= least, "only {} bytes of {attribute} are left:\n{load}", text.len());
        anyhow::Ok(())
    };
    ends("file.path", &format!("/{}/{}/module.ko", level(43), level(44)), 3800)?;
    ends("process.executable.path", &format!("/{}/{}/actor", level(43), level(44)), 1800)?;
    ends("process.working_directory", &format!("/{}/{}", level(43), level(44)), 1800)?;
    ends("linux.process.cgroup.path", &format!("/{}/{}", level(28), level(29)), 900)?;
    let missing = load.get("kmodtrail.enrichment.missing").map(ToString::to_string).unwrap_or_default();
    for part in ["process.executable.path", "process.working_directory", "linux.process.cgroup.path"] {
        ensure!(missing.contains(&format!("{part}: longer")), "it is not said that {part} is cut:\n{load}");
    }
    let parameters = load.string("linux.kernel_module.parameters")?;
    let rest = parameters.strip_prefix("x=6 zz=").context("the parameters begin otherwise")?;
    ensure!(rest.len() > 1900 && rest.bytes().all(|byte| byte == b'l'), "odd parameters:\n{load}");
    let arguments = load.get("process.command_args").context("no arguments")?;
    ensure!(arguments[0] == "./actor" && arguments[1] == "finit" && arguments[2] == "module.ko", "odd:\n{load}");
    Ok(())
}
