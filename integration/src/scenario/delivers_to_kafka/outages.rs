//! Brokers that die, hang, restart, are full, or hold us back, under load: the sink waits, and nothing is lost or there
//! twice.

use anyhow::{Result, ensure};

use super::sinks::{BESIDE, KafkaSink, configuration, expect_all};
use crate::{
    scenario::Host,
    services::{
        daemon::{Daemon, Play, Sink},
        kafka::{self, Kafka, Login, Setup},
    },
};

/// Kernel records per second, of which about every second makes a record.
const LOAD: Play = Play::for_ever(400);

/// A leader answers at the end of this time where it misses a replica; by default after 30 s.
fn hasty() -> String {
    "{ \"request.timeout.ms\" = 5000 }".to_owned()
}

/// The leader is killed, and later all but the leader. That one stores what is sent and may not acknowledge it: it is
/// sent again, and must not be there twice.
pub(super) fn outlives_dead_brokers(host: &Host<'_>) -> Result<()> {
    let name = "dead-brokers";
    let mut kafka = host.kafka(&Setup::cluster())?;
    kafka.create_topic(name, 1, &[])?;
    let sinks = [KafkaSink::new(host, &kafka, name, Login::Anonymous).raw("librdkafka", hasty())];
    let mut daemon = host.daemon(&configuration(&sinks))?;
    daemon.start(LOAD)?;
    expect_deliveries(&daemon, name)?;
    let dead = kafka.leader(name)?;
    kafka.kill(dead)?;
    expect_deliveries(&daemon, name)?;
    ensure!(kafka.leader(name)? != dead, "node {dead} leads, and is dead");
    kafka.start_again(dead)?;
    kafka.wait_for_replicas(name, 3)?;

    let leader = kafka.leader(name)?;
    expect_outage(&mut kafka, &daemon, name, |node| node != leader)?;
    expect_all(&mut daemon, &kafka, &sinks)
}

/// The leader hangs and goes on, all nodes restart one after the other, too few replicas are left for one of two
/// topics, and then for both.
pub(super) fn outlives_restarts(host: &Host<'_>) -> Result<()> {
    let (name, strict) = ("restarts", "restarts-strict");
    let mut kafka = host.kafka(&Setup::cluster())?;
    kafka.create_topic(name, 1, &[])?;
    kafka.create_topic(strict, 1, &[("min.insync.replicas", "3")])?;
    let sink = |name| KafkaSink::new(host, &kafka, name, Login::Anonymous);
    // What a leader has stored when it misses a replica is refused when it is tried again, and so a new producer sends
    // it once more.
    let sinks = [sink(name), sink(strict).raw("librdkafka", hasty()).may_repeat()];
    let mut daemon = host.daemon(&configuration(&sinks))?;
    daemon.start(LOAD)?;
    expect_deliveries(&daemon, name)?;

    let hanging = kafka.leader(name)?;
    kafka.pause(hanging)?;
    let pending = |sink: &Sink| sink.count("pending") > 500;
    daemon.wait_for_sink(name, "records that wait for a broker that hangs", pending)?;
    expect_file_is_up_to_date(&daemon)?;
    kafka.resume(hanging)?;
    expect_caught_up(&daemon, name)?;
    kafka.wait_for_replicas(name, 3)?;
    kafka.rolling_restart(name)?;

    let leader = kafka.leader(strict)?;
    let follower = (1..=3).find(|node| *node != leader).unwrap_or_default();
    kafka.kill(follower)?;
    let told = |sink: &Sink| sink.trouble().contains("Not enough in-sync replicas");
    let told = daemon.wait_for_sink(strict, "too few replicas", told)?;
    expect_nothing_but_waiting(&daemon, strict, &told)?;
    expect_caught_up(&daemon, name)?;
    kafka.start_again(follower)?;
    expect_caught_up(&daemon, strict)?;
    kafka.wait_for_replicas(name, 3)?;

    let leader = kafka.leader(name)?;
    expect_outage(&mut kafka, &daemon, name, |node| node == leader || node == leader % 3 + 1)?;
    expect_caught_up(&daemon, strict)?;
    expect_all(&mut daemon, &kafka, &sinks)
}

/// The broker ends because its disk is full, and starts on a larger one; then a quota holds the sink back until it is
/// lifted.
pub(super) fn waits_for_room_and_quota(host: &Host<'_>) -> Result<()> {
    const MIB: u64 = 1 << 20;
    let name = "room-and-quota";
    let mut kafka = host.kafka(&Setup::single().disk(32 * MIB))?;
    kafka.create_topic(name, 1, &[])?;
    kafka.create_topic("filler", 1, &[])?;
    // with small requests the quota's effect ends soon after its end
    let sinks = [KafkaSink::new(host, &kafka, name, Login::Anonymous).set("batch_size", "64KiB")];
    let mut daemon = host.daemon(&configuration(&sinks))?;
    daemon.start(LOAD)?;
    expect_deliveries(&daemon, name)?;

    let mut client = kafka.client(Login::Anonymous);
    client.set("message.timeout.ms", "3000");
    while kafka::send(&client, "filler", "key", &[b'x'; 1 << 19]).is_ok() {}
    kafka.wait_for_end(1)?;
    let told = daemon.wait_for_sink(name, "trouble", |sink| !sink.trouble().is_empty())?;
    expect_nothing_but_waiting(&daemon, name, &told)?;
    kafka.resize_disks(64 * MIB)?;
    kafka.start_again(1)?;
    expect_caught_up(&daemon, name)?;

    kafka.limit_producer("kmodtrail", 2000)?;
    daemon.wait_for_sink(name, "records that a quota holds back", |sink| sink.count("pending") > 1000)?;
    expect_file_is_up_to_date(&daemon)?;
    kafka.unlimit_producer("kmodtrail")?;
    expect_caught_up(&daemon, name)?;
    expect_all(&mut daemon, &kafka, &sinks)
}

/// Two of three nodes are killed and started again: nothing is acknowledged meanwhile, and everything after it.
fn expect_outage(kafka: &mut Kafka, daemon: &Daemon, name: &str, dies: impl Fn(i32) -> bool) -> Result<()> {
    let dead: Vec<_> = (1..=3).filter(|node| dies(*node)).collect();
    dead.iter().try_for_each(|&node| kafka.kill(node))?;
    let told = daemon.wait_for_sink(name, "trouble", |sink| !sink.trouble().is_empty())?;
    expect_nothing_but_waiting(daemon, name, &told)?;
    kafka.start_together(&dead)?;
    expect_caught_up(daemon, name)
}

fn expect_deliveries(daemon: &Daemon, name: &str) -> Result<()> {
    let now = daemon.sink(name)?.count("delivered");
    daemon.wait_for_sink(name, "deliveries", |sink| sink.count("delivered") > now + 200).map(drop)
}

/// From when its trouble was `told` on the sink acknowledges nothing and drops nothing, and the file has everything.
fn expect_nothing_but_waiting(daemon: &Daemon, name: &str, told: &Sink) -> Result<()> {
    let more = |sink: &Sink| sink.count("pending") > told.count("pending") + 500;
    let sink = daemon.wait_for_sink(name, "records that wait", more)?;
    ensure!(sink.count("delivered") == told.count("delivered"), "somebody acknowledged: {told:?}, then {sink:?}");
    ensure!(sink.dropped() == 0 && sink.is_balanced(), "not all of it waits: {sink:?}");
    expect_file_is_up_to_date(daemon)
}

fn expect_file_is_up_to_date(daemon: &Daemon) -> Result<()> {
    daemon.wait_for_sink(BESIDE, "an empty queue", |sink| sink.count("pending") == 0).map(drop)
}

/// Hardly anything waits any more.
fn expect_caught_up(daemon: &Daemon, name: &str) -> Result<()> {
    let caught_up = |sink: &Sink| sink.trouble().is_empty() && sink.count("pending") < 100;
    daemon.wait_for_sink(name, "an end of the trouble", caught_up).map(drop)
}
