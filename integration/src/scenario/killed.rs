//! The daemon is killed, again and again; its disk is full, or broken. What it had in the spool arrives.

use std::{env, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    Host, HostScenario,
    arrived::{Arrived, expect_no_less, settle},
};
use crate::services::{
    collector::Pipeline,
    daemon::{Daemon, Play, Sink},
    otlp::Protocol::Grpc,
};

pub(super) const SCENARIOS: &[HostScenario] = &[
    HostScenario { name: "daemon_is_killed", full: false, run: |host| is_killed(host, 20) },
    HostScenario { name: "daemon_is_killed_200_times", full: true, run: |host| is_killed(host, 200) },
];

/// Kernel records per second, while it is killed.
const RATE: u64 = 3000;

/// Whoever wants the same moments again sets this variable to what the failure says.
const SEED: &str = "KMODTRAIL_SEED";

/// Numbers that nobody foresees (splitmix64).
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// SIGKILL at any moment, of its start too: what the spool has had stays, whatever was acknowledged is everywhere, and nothing is
/// delivered twice but with the same id.
fn is_killed(host: &Host<'_>, rounds: usize) -> Result<()> {
    let now = std::time::UNIX_EPOCH.elapsed()?.subsec_nanos();
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| now.into());
    is_killed_at_random(host, rounds, Dice(seed)).with_context(|| format!("{SEED}={seed} has it again"))
}

fn is_killed_at_random(host: &Host<'_>, rounds: usize, mut dice: Dice) -> Result<()> {
    let collector = host.collector(&[Pipeline::otlp()])?;
    let mut daemon = host.daemon(&format!(
        "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n\
         [sinks.collector]\ntype = \"otlp\"\nendpoint = \"{}\"\n\
         [[routes]]\nname = \"all\"\nto = [\"out\", \"collector\"]\n",
        collector.endpoint(0, Grpc)
    ))?;
    let mut out = Arrived::in_file(&daemon, "events.jsonl");
    let mut far = Arrived::at_collector(&collector, &[0]);
    let mut known: Option<[Sink; 2]> = None;
    for round in 0..rounds {
        let killed = || format!("killed {round} times");
        if dice.up_to(4) == 0 {
            daemon.launch(Play::for_ever(RATE))?;
            thread::sleep(Duration::from_millis(dice.up_to(40)));
        } else {
            daemon.start(Play::for_ever(RATE)).with_context(killed)?;
            let ledgers = ledgers(&daemon)?;
            for (before, after) in known.iter().flatten().zip(&ledgers) {
                expect_no_less(before, after).with_context(killed)?;
            }
            thread::sleep(Duration::from_millis(dice.up_to(250)));
            known = Some(self::ledgers(&daemon)?);
            thread::sleep(Duration::from_millis(dice.up_to(20)));
        }
        daemon.kill()?;
        // What is there now must be there at the end.
        out.look().with_context(killed)?;
        far.look().with_context(killed)?;
    }
    settle(&mut daemon, &mut [("out", &mut out), ("collector", &mut far)])?;
    ensure!(out.len() > 50 * rounds, "only {} records: nothing was going on when it was killed", out.len());
    out.expect_same(&far)
}

fn ledgers(daemon: &Daemon) -> Result<[Sink; 2]> {
    Ok([daemon.sink("out")?, daemon.sink("collector")?])
}
