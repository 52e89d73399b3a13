//! `kmodtrail doctor`: can this kernel be watched?

use std::process::ExitCode;

use crate::{
    event::HookState,
    sensor::{Sensor, Settings},
    systemd::Store,
};

/// Exit status 0: everything is seen, or has its fallback; 1: something is missing, or nothing can be seen.
pub(super) fn main(json: bool) -> ExitCode {
    // the smallest rings: nothing is read
    let settings = Settings {
        critical_ring_bytes: 1 << 16,
        bulk_ring_bytes: 1 << 16,
        disabled_hooks: Vec::new(),
        watched_settings: Vec::new(),
    };
    let sensor = Sensor::open(&settings, Store::default());
    let (text, ok) = match &sensor {
        Ok(sensor) if json => {
            let coverage = sensor.coverage();
            let hooks: Vec<_> = coverage.hooks.iter().map(hook_json).collect();
            let ok = !coverage.incomplete();
            (
                serde_json::json!({ "ok": ok, "kernel": sensor.kernel_release().as_str(), "hooks": hooks }).to_string(),
                ok,
            )
        }
        Ok(sensor) => {
            let coverage = sensor.coverage();
            let lines: Vec<_> = coverage.hooks.iter().map(line).collect();
            let ok = !coverage.incomplete();
            let verdict = if ok {
                "this kernel can be watched"
            } else {
                "this kernel can be watched, but not everything is seen"
            };
            (format!("{}\n\nLinux {}: {verdict}", lines.join("\n"), sensor.kernel_release()), ok)
        }
        Err(error) if json => (serde_json::json!({ "ok": false, "error": error.to_string() }).to_string(), false),
        Err(error) => (format!("this kernel can't be watched: {error}"), false),
    };
    match (super::say(&text), ok) {
        (Ok(()), true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// State, what it is attached to or why not, and in what way that matters.
fn state(state: &HookState) -> (&'static str, String) {
    match state {
        HookState::Attached { symbol } => ("attached", symbol.clone()),
        HookState::Fallback { reason, by } => ("fallback", format!("{by} stands in: {reason}")),
        HookState::Missing { reason, costs } => ("missing", format!("not seen: {costs}; {reason}")),
        HookState::NotNeeded { reason } => ("not needed", reason.clone()),
    }
}

fn line(hook: &crate::event::HookStatus) -> String {
    let (state, detail) = state(&hook.state);
    let (gives, kernels) = Sensor::describe(hook.name).unwrap_or_default();
    format!("{state:<10} {:<28} {detail}\n           {gives} (Linux {kernels})", hook.name)
}

fn hook_json(hook: &crate::event::HookStatus) -> serde_json::Value {
    let (state, detail) = state(&hook.state);
    let (gives, kernels) = Sensor::describe(hook.name).unwrap_or_default();
    serde_json::json!({ "hook": hook.name, "state": state, "detail": detail, "gives": gives, "kernels": kernels })
}
