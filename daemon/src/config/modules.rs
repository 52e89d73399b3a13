//! `[modules]`

use std::{path::PathBuf, time::Duration};

use super::{table::Table, values::Span};

/// `[modules]`: what is loaded, by the kernel's own lists, and what decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// `inventory`, default true: at the start a record linux.kernel_module.inventory for each module that is loaded already.
    pub inventory: bool,
    /// `check_interval`, default "1m", "10s" to "1d": how often the lists are compared, beside a look after each load. What differs and
    /// lasts is a record linux.kernel_module.hidden.
    pub check_interval: Duration,
    /// `settings`, default kernel.modprobe, kernel.modules_disabled, module.sig_enforce and the lockdown mode, by their files: values of the
    /// kernel of which each change is a record linux.kernel_module.setting. A module's parameters are such files, too. Of the first eight
    /// the record says who it was.
    pub settings: Vec<PathBuf>,
    /// `heartbeat_interval`, default "5m", "10s" to "1d": how often there is a record kmodtrail.heartbeat.
    pub heartbeat_interval: Duration,
}

impl Default for Modules {
    fn default() -> Self {
        Self {
            inventory: true,
            check_interval: Duration::from_mins(1),
            settings: SETTINGS.map(PathBuf::from).to_vec(),
            heartbeat_interval: Duration::from_mins(5),
        }
    }
}

const SETTINGS: [&str; 4] = [
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/modules_disabled",
    "/sys/module/module/parameters/sig_enforce",
    "/sys/kernel/security/lockdown",
];
const INTERVALS: (Span, Span) = (Span(Duration::from_secs(10)), Span(Duration::from_hours(24)));

pub(super) fn read(mut table: Table<'_>) -> Modules {
    let default = Modules::default();
    let inventory = table.optional("inventory").unwrap_or(default.inventory);
    let settings = settings(&mut table).unwrap_or(default.settings);
    let mut interval = |key, default| table.between(key, INTERVALS).map_or(default, |Span(interval)| interval);
    let check_interval = interval("check_interval", default.check_interval);
    let heartbeat_interval = interval("heartbeat_interval", default.heartbeat_interval);
    table.finish();
    Modules { inventory, check_interval, settings, heartbeat_interval }
}

fn settings(table: &mut Table<'_>) -> Option<Vec<PathBuf>> {
    let place = table.place("settings");
    let paths: Vec<PathBuf> = table.optional::<Vec<String>>("settings")?.into_iter().map(PathBuf::from).collect();
    for path in paths.iter().filter(|path| !path.is_absolute()) {
        table.wrong(&place, "settings", format!("{} is relative", path.display()), "absolute paths of files");
    }
    Some(paths)
}
