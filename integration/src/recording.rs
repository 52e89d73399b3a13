//! What a real kernel said while modules came and went: to be played where no kernel can be watched.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    cache,
    guest::fast,
    kernels::{self, Freshness, Kernel},
    progress::say,
    testbed::Testbed,
    workspace,
};

/// The kernel that is recorded.
const LINE: &str = "6.1";

const CONFIGURATION: &str = r#"
[spool]
path = "/spool"
[status]
socket = "/tmp/status.sock"
[sinks.out]
type = "file"
path = "/out/events.jsonl"
[[routes]]
name = "everything"
to = ["out"]
"#;

/// Loads and unloads that succeed, loads that fail, requests: every event that the kernel's records make.
const SCRIPT: &str = "
/kmodtrail run --config /etc/kmodtrail.toml --capture /out/recording 2> /out/kmodtrail.log &
daemon=$!
/actor wait-for /out/events.jsonl kmodtrail.coverage 1 60
act pairs 20 /fixtures/hello.ko hello
act request 10 9
act finit /fixtures/hello.ko
act finit /fixtures/hello.ko
act delete hello
kill $daemon
wait $daemon
";

/// Records it, in a guest that is gone when this returns.
///
/// # Errors
/// When the guest can't be had, or the daemon fails in it.
pub(crate) fn make(testbed: &Testbed) -> Result<PathBuf> {
    say(format_args!("recording what the kernel {LINE} says"));
    let kernel = Kernel::of_line(testbed.cache(), kernels::line(LINE)?, Freshness::Cached)?;
    let guest = fast::Guest::new(testbed, &kernel).daemon()?.file("/etc/kmodtrail.toml", CONFIGURATION.to_owned());
    let outcome = guest.script(SCRIPT).run()?;
    outcome.expect_success()?;
    let recording = outcome.out.get("recording").context("the daemon has recorded nothing")?;
    let path = workspace::target().join("recording");
    cache::write_atomically(&path, recording)?;
    Ok(path)
}
