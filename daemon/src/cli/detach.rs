//! `kmodtrail detach`: nobody watches any more, until the daemon is started again.

use std::{path::Path, process::ExitCode, thread, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
};

use super::say;
use crate::{config, status};

/// How often to look whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn main(config: &Path) -> ExitCode {
    let daemon = match status::daemon(&config::load_what_is_right(config).status.socket) {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("{error}");
            eprintln!(
                "without a daemon there is something attached only where systemd keeps it (254 and later, with FileDescriptorStorePreserve=yes): \
                 `systemctl clean --what=fdstore kmodtrail` takes it out"
            );
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = kill(daemon, Signal::SIGUSR2) {
        eprintln!("can't tell process {daemon} to detach: {error}; allowed: root, or the user kmodtrail");
        return ExitCode::FAILURE;
    }
    // it delivers what waits, for as long as [shutdown] allows
    while kill(daemon, None) != Err(Errno::ESRCH) {
        thread::sleep(LOOK);
    }
    let said = say(
        "nothing of kmodtrail is in the kernel any more, and nobody watches; `systemctl start kmodtrail` watches again",
    );
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
