//! `kmodtrail attach`: the one moment that needs root.

use std::{path::Path, process::ExitCode};

use crate::{
    config,
    sensor::{self, Settings},
    systemd::{Notify, Store},
    telemetry,
};

/// `hold`: this process keeps it, until another one takes it over.
pub(super) fn main(config: &Path, hold: bool) -> ExitCode {
    let config = match config::load(config) {
        Ok((config, _)) => config,
        // what counts later is attached in the place of this, where it is something else
        Err(_) if hold => config::load_what_is_right(config),
        // `kmodtrail run` says what is wrong, and ends with a status after which systemd does not try again
        Err(_) => return ExitCode::SUCCESS,
    };
    telemetry::start(config.log.level, false);
    let settings = Settings::from(&config);
    let attached = if hold {
        sensor::hold(&settings, || Notify::from_environment().ready("watching, until kmodtrail.service is started"))
    } else {
        sensor::attach(&settings, &Store::from_environment())
    };
    match attached {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("can't attach to the kernel: {error}");
            ExitCode::FAILURE
        }
    }
}
