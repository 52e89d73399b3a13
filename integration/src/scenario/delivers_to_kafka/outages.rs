//! Brokers that die, hang, restart, are full, or hold us back, under load: the sink waits, and nothing is lost or there twice.

use anyhow::{Result, ensure};

use super::sinks::{BESIDE, KafkaSink, configuration, expect_all_once};
use crate::{
    scenario::Host,
    services::{
        daemon::{Daemon, Play, Sink},
        kafka::{self, Kafka, Login, Setup},
    },
};

/// Kernel records per second, of which about every second makes a record.
const LOAD: Play = Play::for_ever(400);

/// The leader is killed, and later two of three.
pub(super) fn outlives_dead_brokers(host: &Host<'_>) -> Result<()> {
    let name = "dead-brokers";
    let (mut kafka, mut daemon, sink) = cluster(host, name)?;
    let first = kafka.leader(name)?;
    kafka.kill(first)?;
    expect_deliveries(&daemon, name)?;
    ensure!(kafka.leader(name)? != first, "node {first} leads, and is dead");
    kafka.start_again(first)?;
    kafka.wait_for_replicas(name, 3)?;

    let second = kafka.leader(name)?;
    let third = (1..=3).find(|node| *node != second).unwrap_or_default();
    kafka.kill(second)?;
    kafka.kill(third)?;
    let told = daemon.wait_for_sink(name, "trouble", |sink| !sink.trouble().is_empty())?;
    expect_nothing_but_waiting(&daemon, name, &told)?;
    // neither serves before the other is there
    kafka.start_together(&[second, third])?;
    expect_caught_up(&daemon, name)?;
    expect_all_once(&mut daemon, &kafka, &[sink])
}

/// The leader hangs and goes on, and all nodes restart one after the other.
pub(super) fn outlives_restarts(host: &Host<'_>) -> Result<()> {
    let name = "restarts";
    let (mut kafka, mut daemon, sink) = cluster(host, name)?;
    let hanging = kafka.leader(name)?;
    kafka.pause(hanging)?;
    let pending = |sink: &Sink| sink.count("pending") > 500;
    daemon.wait_for_sink(name, "records that wait for a broker that hangs", pending)?;
    expect_file_is_up_to_date(&daemon)?;
    kafka.resume(hanging)?;
    expect_caught_up(&daemon, name)?;
    kafka.wait_for_replicas(name, 3)?;
    kafka.rolling_restart(name)?;
    expect_caught_up(&daemon, name)?;
    expect_all_once(&mut daemon, &kafka, &[sink])
}

/// The broker ends because its disk is full, and starts on a larger one; then a quota holds the sink back until it is lifted.
pub(super) fn waits_for_room_and_quota(host: &Host<'_>) -> Result<()> {
    const MIB: u64 = 1 << 20;
    let name = "room-and-quota";
    let mut kafka = host.kafka(&Setup::single().disk(32 * MIB))?;
    kafka.create_topic(name, 1, &[])?;
    kafka.create_topic("filler", 1, &[])?;
    // with small requests the quota's effect ends soon after its end
    let sink = KafkaSink::new(host, &kafka, name, Login::Anonymous).set("batch_size", "64KiB");
    let mut daemon = host.daemon(&configuration(&[sink.clone()]))?;
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
    expect_all_once(&mut daemon, &kafka, &[sink])
}

/// Three nodes, a topic, and a daemon that delivers.
fn cluster(host: &Host<'_>, name: &str) -> Result<(Kafka, Daemon, KafkaSink)> {
    let kafka = host.kafka(&Setup::cluster())?;
    kafka.create_topic(name, 1, &[])?;
    let sink = KafkaSink::new(host, &kafka, name, Login::Anonymous);
    let mut daemon = host.daemon(&configuration(&[sink.clone()]))?;
    daemon.start(LOAD)?;
    expect_deliveries(&daemon, name)?;
    Ok((kafka, daemon, sink))
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
