//! Figures on standard output.
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

use anyhow::{Context as _, Result};

use super::{
    Subject,
    figure::Figure,
    quantity::{PROGRAM_SIZE, QUANTITIES, Quantity},
};

/// An array with an object for each.
///
/// # Errors
/// Never for figures, as they are finite.
pub(super) fn json(figures: &[Figure]) -> Result<()> {
    let all: Vec<_> = figures.iter().map(Figure::json).collect();
    println!("{}", serde_json::to_string_pretty(&all).context("writing the figures as JSON")?);
    Ok(())
}

/// A row for each quantity and kernel, a column for each subject.
pub(super) fn table(figures: &[Figure]) {
    row(["", "kernel", "kmodtrail", "target", "ok", "auditd", "bpftrace"]);
    for quantity in QUANTITIES.iter().chain([&PROGRAM_SIZE]) {
        let mut kernels: Vec<_> =
            figures.iter().filter(|f| f.quantity.name == quantity.name).map(|f| f.kernel).collect();
        kernels.sort_unstable();
        kernels.dedup();
        for kernel in kernels {
            row(cells(quantity, kernel, figures).each_ref().map(String::as_str));
        }
    }
    println!("\nNothing running is 1 in the rows with / without. k and M are thousands and millions of instructions.");
}

fn cells(quantity: &Quantity, kernel: Option<&str>, figures: &[Figure]) -> [String; 7] {
    let unit = quantity.unit;
    let figure =
        |subject| figures.iter().find(|f| (f.quantity.name, f.kernel, f.subject) == (quantity.name, kernel, subject));
    let value = |subject| figure(subject).map_or("-".to_owned(), |figure| unit.shown(figure.value));
    let ok = match figure(Subject::Kmodtrail).and_then(|ours| ours.ok) {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    [
        quantity.title.to_owned(),
        kernel.unwrap_or("any").to_owned(),
        value(Subject::Kmodtrail),
        quantity.target.map_or(String::new(), |target| format!("<= {}", unit.shown(target))),
        ok.to_owned(),
        value(Subject::Auditd),
        value(Subject::Bpftrace),
    ]
}

fn row([title, kernel, ours, target, ok, auditd, bpftrace]: [&str; 7]) {
    println!("{title:<54} {kernel:<6} {ours:>10} {target:>12} {ok:>4} {auditd:>10} {bpftrace:>10}");
}
