//! The least that it can cost; see src/bin/producer.rs.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result};

use super::{Cost, Work};
use crate::command;

/// It measures itself, as it ends when it is done.
pub(super) fn measure(work: &Work<'_>) -> Result<Cost> {
    let mut producer = Command::new(&work.programs.producer);
    producer.args([&work.brokers(), work.topic]).arg(work.records.file()).arg(work.number.to_string());
    let said = command::text(&mut producer)?;
    let nanoseconds = said.trim().parse().with_context(|| format!("no number: {said}"))?;
    work.wait_for_messages(work.number)?;
    Ok(Cost { records: work.number, cpu: Duration::from_nanos(nanoseconds) })
}
