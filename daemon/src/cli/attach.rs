//! `kmodtrail attach`: the one moment that needs root.

use std::{path::Path, process::ExitCode};

use crate::{
    config,
    sensor::{Sensor, Settings},
    systemd::Store,
    telemetry,
};

pub(super) fn main(config: &Path) -> ExitCode {
    let (config, _) = match config::load(config) {
        Ok(found) => found,
        // `kmodtrail run` says what is wrong, and ends with a status after which systemd does not try again
        Err(_) => return ExitCode::SUCCESS,
    };
    telemetry::start(config.log.level, false);
    match Sensor::attach(&Settings::from(&config), &Store::from_environment()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("can't attach to the kernel: {error}");
            ExitCode::FAILURE
        }
    }
}
