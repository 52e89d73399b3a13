//! One quantity of one subject with one kernel.

use serde::Serialize;

use super::{
    Measurement, Subject,
    quantity::{PROGRAM_SIZE, Quantity},
};

/// What it came to.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) quantity: &'static Quantity,
    /// The kernel line; none for what does not depend on it.
    pub(super) kernel: Option<&'static str>,
    pub(super) subject: Subject,
    pub(super) value: f64,
    /// Whether it meets its target; none where there is none, as for all of others.
    pub(super) ok: Option<bool>,
}

/// A figure in `--json`.
#[derive(Serialize)]
pub(super) struct Json {
    name: &'static str,
    subject: &'static str,
    kernel: Option<&'static str>,
    value: f64,
    unit: &'static str,
    target: Option<f64>,
    ok: Option<bool>,
}

impl Figure {
    /// None where the subject has no such thing.
    pub(super) fn new(
        quantity: &'static Quantity,
        kernel: &'static str,
        subject: Subject,
        measurement: &Measurement,
    ) -> Option<Self> {
        let value = (quantity.of)(measurement)?;
        let ours = quantity.target.filter(|_| subject == Subject::Kmodtrail);
        Some(Self { quantity, kernel: Some(kernel), subject, value, ok: ours.map(|target| value <= target) })
    }

    /// The size of our program.
    pub(super) fn of_program(bytes: u64) -> Self {
        let (quantity, value) = (&PROGRAM_SIZE, bytes as f64);
        let ok = quantity.target.map(|target| value <= target);
        Self { quantity, kernel: None, subject: Subject::Kmodtrail, value, ok }
    }

    /// As a person reads it, alone.
    pub(super) fn shown(&self) -> String {
        let Quantity { title, unit, target, .. } = self.quantity;
        let kernel = self.kernel.map_or(String::new(), |kernel| format!(" (kernel {kernel})"));
        let target = target.map_or(String::new(), |target| format!("; at most {} is the target", unit.shown(target)));
        format!("{title}{kernel}: {}{target}", unit.shown(self.value))
    }

    /// As a program reads it.
    pub(super) fn json(&self) -> Json {
        Json {
            name: self.quantity.name,
            subject: self.subject.name(),
            kernel: self.kernel,
            value: self.value,
            unit: self.quantity.unit.name(),
            target: self.ok.and(self.quantity.target),
            ok: self.ok,
        }
    }
}
