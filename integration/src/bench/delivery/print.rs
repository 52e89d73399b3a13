//! Figures on standard output.
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

use anyhow::{Context as _, Result};

use super::{Subject, figure::Figure};

/// An array with an object for each.
///
/// # Errors
/// Never for figures, as they are finite.
pub(super) fn json(figures: &[&Figure]) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(figures).context("writing the figures as JSON")?);
    Ok(())
}

/// A row for what is measured, a column for each subject.
pub(super) fn table(figures: &[Figure], ours: &[Figure], target: Option<f64>, length: usize) {
    let value = |subject| {
        let figure = figures.iter().find(|figure| figure.subject == subject);
        figure.map_or("-".to_owned(), |figure| format!("{:.2}", figure.value))
    };
    let ok = match figures.iter().find_map(|figure| figure.ok) {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    let target = target.map_or(String::new(), |target| format!("<= {target:.2}"));
    let columns = ["kmodtrail".to_owned(), "target".to_owned(), "ok".to_owned()];
    let peers = Subject::peers().iter();
    row("", columns.into_iter().chain(peers.clone().map(|peer| peer.name().to_owned())));
    let columns = [value(Subject::Kmodtrail), target, ok.to_owned()];
    row("its own CPU seconds, for a million records", columns.into_iter().chain(peers.map(|&peer| value(peer))));
    for Figure { title, value, unit, target, ok, .. } in ours {
        let target = target.map_or(String::new(), |target| format!("<= {target:.2}"));
        let ok = ok.map_or("", |ok| if ok { "yes" } else { "NO" });
        row(title, [format!("{value:.2} {unit}"), target, ok.to_owned()].into_iter());
    }
    println!(
        "\nRecords of {length} bytes, acks=all, idempotent, zstd. collector-N takes and sends N records at once, the others one."
    );
}

fn row(title: &str, cells: impl Iterator<Item = String>) {
    let cells: String = cells.map(|cell| format!(" {cell:>14}")).collect();
    println!("{title:<64}{cells}");
}
