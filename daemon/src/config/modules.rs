//! `[modules]`

use std::time::Duration;

use super::{table::Table, values::Span};

/// `[modules]`: what is loaded, by the kernel's own lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// `inventory`, default true: at the start a record linux.kernel_module.inventory for each module that is loaded already.
    pub inventory: bool,
    /// `check_interval`, default "1m", "10s" to "1d": how often the lists are compared, beside a look after each load. What differs and
    /// lasts is a record linux.kernel_module.hidden.
    pub check_interval: Duration,
    /// `heartbeat_interval`, default "5m", "10s" to "1d": how often there is a record kmodtrail.heartbeat.
    pub heartbeat_interval: Duration,
}

impl Default for Modules {
    fn default() -> Self {
        Self { inventory: true, check_interval: Duration::from_secs(60), heartbeat_interval: Duration::from_secs(300) }
    }
}

const INTERVALS: (Span, Span) = (Span(Duration::from_secs(10)), Span(Duration::from_secs(24 * 3600)));

pub(super) fn read(mut table: Table<'_>) -> Modules {
    let default = Modules::default();
    let inventory = table.optional("inventory").unwrap_or(default.inventory);
    let mut interval = |key, default| table.between(key, INTERVALS).map_or(default, |Span(interval)| interval);
    let check_interval = interval("check_interval", default.check_interval);
    let heartbeat_interval = interval("heartbeat_interval", default.heartbeat_interval);
    table.finish();
    Modules { inventory, check_interval, heartbeat_interval }
}
