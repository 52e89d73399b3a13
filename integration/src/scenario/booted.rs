//! A guest with systemd in which the daemon watches while a script acts: started by the script itself, when the boot has ended.

use anyhow::Result;

use super::Trial;
use crate::guest::systemd;

const CONFIGURATION: &str = "
[sinks.out]
type = \"file\"
path = \"/out/records.jsonl\"
[[routes]]
name = \"everything\"
to = [\"out\"]
";

/// `before` comes when the boot has ended and nobody watches yet, `script` while the daemon watches.
///
/// # Errors
/// When the daemon does not build.
pub(super) fn booted<'a>(trial: &Trial<'a>, before: &str, script: &str) -> Result<systemd::Guest<'a>> {
    Ok(trial.systemd().daemon()?.file("/watch.toml", CONFIGURATION).script(&format!(
        "
        systemctl is-system-running --wait > /out/state
        udevadm settle
        {before}
        ulimit -l unlimited
        /kmodtrail run --config /watch.toml 2> /out/daemon.log &
        daemon=$!
        /actor wait-for /out/records.jsonl kmodtrail.coverage 1 60 || exit 90
        {script}
        kill -TERM $daemon
        wait $daemon
        "
    )))
}
