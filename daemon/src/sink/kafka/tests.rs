//! Against librdkafka's own mock cluster: it speaks the protocol over TCP, in this process.

use std::{
    io::Write as _,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    message::{Headers as _, OwnedMessage},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    topic_partition_list::{Offset, TopicPartitionList},
    types::{RDKafkaApiKey, RDKafkaRespErr as Response},
};

use tokio::time::timeout;

use super::*;
use crate::{
    config::kafka::Extra,
    event::samples,
    record::{self, Record},
    resource::Resource,
    route::template::Template,
};

const TOPIC: &str = "kernel-modules";
/// A field that LogRecord does not have: the encoding "otlp_proto" takes it along.
const FILLER: u32 = 99;

struct Cluster(MockCluster<'static, DefaultProducerContext>);

impl Cluster {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("librdkafka has a mock cluster");
        cluster.create_topic(TOPIC, 1, 1).expect("a mock cluster makes topics");
        Self(cluster)
    }

    /// A sink, with these options of librdkafka.
    fn sink(&self, options: &[(&str, &str)]) -> (KafkaSink, Health) {
        self.sink_with(|config| {
            config.librdkafka =
                options.iter().map(|&(name, value)| Extra { name: name.to_owned(), value: value.to_owned() }).collect();
        })
    }

    fn sink_with(&self, change: impl FnOnce(&mut config::KafkaSink)) -> (KafkaSink, Health) {
        open(&self.0.bootstrap_servers(), change)
    }

    /// The next produce requests get these answers instead of being done.
    fn answer(&self, answers: &[Response]) {
        self.0.request_errors(RDKafkaApiKey::Produce, answers);
    }

    /// So many messages of the topic, in their order; there must be no more of them.
    fn stored(&self, messages: usize) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.0.bootstrap_servers())
            .set("group.id", "test")
            .create()
            .expect("a consumer can be made");
        let (_, end) = consumer.fetch_watermarks(TOPIC, 0, Duration::from_secs(60)).expect("the mock cluster answers");
        assert_eq!(usize::try_from(end), Ok(messages), "messages in the topic");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("the beginning is an offset");
        consumer.assign(&from).expect("there is such a partition");
        let next =
            |_| consumer.poll(Duration::from_secs(60)).expect("there is a message").expect("it can be read").detach();
        (0..messages).map(next).collect()
    }
}

fn open(broker: &str, change: impl FnOnce(&mut config::KafkaSink)) -> (KafkaSink, Health) {
    let brokers = vec![broker.parse().expect("it is an address")];
    let mut config = config::KafkaSink::new(brokers, Template::parse(TOPIC).expect("it is a name"));
    change(&mut config);
    let health = Health::new("siem");
    let sink = KafkaSink::open("siem", &config, Encoding::Json, health.clone()).unwrap_or_else(|e| panic!("{e}"));
    (sink, health)
}

/// Records, and the resource they share.
struct Records {
    resource: Arc<[u8]>,
    bytes: Vec<Vec<u8>>,
}

impl Records {
    fn new(number: usize) -> Self {
        let mut resource = Resource::default();
        resource.set("host.name", "web-1");
        resource.set("host.id", "0123");
        let mut writer = record::Writer::default();
        let mut events = samples::all().into_iter().cycle();
        let mut write = |_| {
            let mut bytes = Vec::new();
            writer.write(&events.next().expect("it has no end"), &mut bytes);
            bytes
        };
        Self { resource: record::resource(&resource).into(), bytes: (0..number).map(&mut write).collect() }
    }

    fn outgoing(&self) -> Vec<Outgoing<'_>> {
        let parse = |bytes| Record::parse(bytes).expect("we wrote it");
        self.bytes.iter().map(|bytes| Outgoing { resource: &self.resource, record: parse(bytes) }).collect()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    runtime.block_on(future)
}

async fn until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(120), "it never came");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The header log.record.uid.
fn uid(message: &OwnedMessage) -> String {
    let headers = message.headers().expect("it has headers");
    let header = headers.iter().find(|h| h.key == "log.record.uid").and_then(|h| h.value);
    String::from_utf8_lossy(header.expect("it has a uid")).into_owned()
}

#[track_caller]
fn retry(verdict: &Verdict, parts: &[&str]) {
    let Verdict::Retry(trouble) = verdict else { panic!("to be tried again, but it is {verdict:?}") };
    assert!(parts.iter().all(|part| trouble.why.contains(part)), "{parts:?} is not all in {:?}", trouble.why);
}

#[test]
fn a_message_is_the_record_with_the_host_for_a_key_and_what_it_is_in_its_headers() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink_with(|config| {
        config.headers = vec![("site".to_owned(), Template::parse("{host.name}").expect("it is a template"))];
    });
    let records = Records::new(3);
    let outgoing = records.outgoing();
    assert_eq!(run(sink.deliver(&outgoing)), vec![Verdict::Delivered; 3]);
    for (message, outgoing) in cluster.stored(3).iter().zip(&outgoing) {
        let mut payload = Vec::new();
        crate::encode::Encoder::from(Encoding::Json).encode(outgoing.resource, &outgoing.record, &mut payload);
        assert_eq!(message.payload(), Some(&*payload));
        assert_eq!(message.key(), Some(&b"0123"[..]));
        let headers = message.headers().expect("it has headers");
        let header = |name| headers.iter().find(|h| h.key == name).and_then(|h| h.value).map(String::from_utf8_lossy);
        assert_eq!(uid(message), outgoing.record.uid());
        assert_eq!(header("event.name").as_deref(), Some(outgoing.record.event_name));
        assert_eq!(header("content-type").as_deref(), Some("application/json"));
        assert!(header("schema-url").is_some_and(|url| url.starts_with("https://opentelemetry.io/schemas/")));
        assert_eq!(header("site").as_deref(), Some("web-1"));
    }
}

#[test]
fn the_topic_may_depend_on_the_record() {
    let config = config::KafkaSink::new(vec![], Template::parse("{host.name}.{outcome}").expect("it is a template"));
    let mut messages = Messages::new(&config, Encoding::OtlpProto);
    let records = Records::new(samples::all().len());
    let topics: Vec<_> = records.outgoing().iter().map(|o| messages.make(o).topic.to_owned()).collect();
    let told: Vec<_> = records.outgoing().iter().map(|o| messages.topic(o)).collect();
    assert_eq!(topics, told);
    for topic in ["web-1.success", "web-1.unknown"] {
        assert!(topics.iter().any(|t| t == topic), "{topic} is not in {topics:?}");
    }
}

#[test]
fn the_key_is_an_attribute_of_the_resource_or_of_the_record() {
    let records = Records::new(samples::all().len());
    let mut nameless = Records::new(1);
    nameless.resource = Vec::new().into();
    for (key, records, expected) in [
        (None, &records, Some("0123")),
        (Some("host.name"), &records, Some("web-1")),
        (Some("linux.kernel_module.outcome"), &records, Some("success")),
        (Some("process.pid"), &records, Some("4242")),
        (Some("linux.process.ancestors"), &records, None),
        (None, &nameless, None),
    ] {
        let config = config::KafkaSink {
            key: key.map(ToOwned::to_owned),
            ..config::KafkaSink::new(vec![], Template::parse(TOPIC).expect("it is a name"))
        };
        let mut messages = Messages::new(&config, Encoding::OtlpProto);
        let of = |outgoing: &Outgoing<'_>| messages.make(outgoing).key.map(|k| String::from_utf8_lossy(k).into_owned());
        let keys: Vec<_> = records.outgoing().iter().map(of).collect();
        assert!(keys.iter().any(|k| k.as_deref() == expected), "{key:?}: {expected:?} is not in {keys:?}");
    }
}

#[test]
fn of_a_batch_that_is_refused_whole_only_the_message_that_is_to_blame_is_lost() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[]);
    let records = Records::new(4);
    // all four; the first half; the first: refused; the second; the other half
    let too_large = Response::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.answer(&[too_large, too_large, too_large]);
    let verdicts = run(sink.deliver(&records.outgoing()));
    let Verdict::Refused(why) = &verdicts[0] else { panic!("{verdicts:?}") };
    assert!(why.contains("Message size too large") && why.contains("max.message.bytes"), "{why}");
    assert_eq!(verdicts[1..], vec![Verdict::Delivered; 3]);
    let sent: Vec<_> = records.outgoing()[1..].iter().map(|o| o.record.uid().to_owned()).collect();
    assert_eq!(cluster.stored(3).iter().map(uid).collect::<Vec<_>>(), sent);
}

#[test]
fn a_message_over_the_sinks_own_limit_is_refused_and_its_neighbours_are_delivered() {
    let cluster = Cluster::new();
    let mut records = Records::new(3);
    let longest = records.bytes.iter().map(Vec::len).max().unwrap_or_default();
    record::wire::put_bytes(&mut records.bytes[1], FILLER, &vec![b'x'; 1 << 17]);
    let (mut sink, _) = cluster.sink_with(|config| config.max_message_size = config::Size(1 << 16));
    assert!(longest < 1 << 15);
    sink.messages = Messages::new(&sink.config, Encoding::OtlpProto);
    let verdicts = run(sink.deliver(&records.outgoing()));
    assert!(matches!(&verdicts[1], Verdict::Refused(why) if why.contains("max_message_size")), "{verdicts:?}");
    assert_eq!((&verdicts[0], &verdicts[2]), (&Verdict::Delivered, &Verdict::Delivered));
    cluster.stored(2);
}

#[test]
fn a_topic_that_is_missing_can_be_made_later() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[("topic.metadata.propagation.max.ms", "50")]);
    let records = Records::new(2);
    let exists = |error| cluster.0.topic_error(TOPIC, error).expect("there is such a topic");
    exists(Response::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    for verdict in run(sink.deliver(&records.outgoing())) {
        retry(&verdict, &[TOPIC, "make the topic"]);
    }
    exists(Response::RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 2]);
}

#[test]
fn what_brokers_refuse_for_long_comes_back_with_their_words_and_what_they_refuse_for_a_moment_does_not() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[("retry.backoff.ms", "1"), ("retry.backoff.max.ms", "1")]);
    let records = Records::new(2);
    for (answer, cure) in [
        (Response::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, "min.insync.replicas"),
        (Response::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, "disk"),
    ] {
        cluster.answer(&[answer; 3]);
        assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 2]);
        cluster.answer(&[answer; 100]);
        for verdict in run(sink.deliver(&records.outgoing())) {
            retry(&verdict, &["Broker: ", cure]);
        }
        cluster.0.clear_request_errors(RDKafkaApiKey::Produce);
    }
    assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 2]);
    cluster.stored(6);
}

#[test]
fn who_may_not_write_is_told_and_may_be_allowed_later() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[]);
    let records = Records::new(2);
    cluster.answer(&[Response::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    for verdict in run(sink.deliver(&records.outgoing())) {
        retry(&verdict, &["Topic authorization failed", "ACL Write"]);
    }
    assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 2]);
}

#[test]
fn a_producer_that_has_lost_count_is_replaced() {
    let cluster = Cluster::new();
    let (mut sink, health) = cluster.sink(&[]);
    let records = Records::new(2);
    cluster.answer(&[Response::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    for verdict in run(sink.deliver(&records.outgoing())) {
        retry(&verdict, &["sequence"]);
    }
    drop(health);
    assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 2]);
}

#[test]
fn while_no_broker_is_there_it_waits_and_says_so_and_then_every_record_is_stored_once() {
    let cluster = Cluster::new();
    let (mut sink, health) = cluster.sink(&[("reconnect.backoff.max.ms", "100")]);
    let records = Records::new(100);
    let outgoing = records.outgoing();
    // it has been there, once
    assert_eq!(run(sink.deliver(&outgoing[..1])), [Verdict::Delivered]);
    cluster.0.broker_down(1).expect("there is a broker");
    let verdicts = run(async {
        let comes_back = async {
            until(|| health.state().trouble.is_some()).await;
            cluster.0.broker_up(1).expect("there is a broker");
        };
        tokio::join!(sink.deliver(&outgoing), comes_back).0
    });
    assert_eq!(verdicts, vec![Verdict::Delivered; 100]);
    let trouble = health.state().trouble.unwrap_or_default();
    assert!(trouble.contains("127.0.0.1") && trouble.contains("see that a broker runs there"), "{trouble}");
    cluster.stored(101);
}

#[test]
fn a_connection_that_tls_does_not_like_is_told_at_once_and_tried_with_a_new_producer() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a port");
    let address = listener.local_addr().expect("it has one").to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut c| drop(c.write_all(b"this is no TLS\n"))));
    let (mut sink, health) = open(&address, |config| config.tls = Some(config::Tls::default()));
    let records = Records::new(2);
    for _ in 0..2 {
        for verdict in run(sink.deliver(&records.outgoing())) {
            retry(&verdict, &["SSL routines", "[sinks.NAME.tls]"]);
        }
        assert!(sink.producer.is_none());
    }
    assert!(health.state().trouble.is_some_and(|why| why.contains("SSL routines")), "the callback told it");
}

#[test]
fn records_for_which_there_is_no_room_in_the_queue_follow_the_others() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[("queue.buffering.max.messages", "7")]);
    let records = Records::new(50);
    assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 50]);
    cluster.stored(50);
}

#[test]
fn a_batch_that_is_longer_than_a_request_follows_in_others_in_its_order() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink_with(|config| config.batch_size = config::Size(1 << 14));
    let mut records = Records::new(100);
    // by itself it is longer than that
    record::wire::put_bytes(&mut records.bytes[50], FILLER, &vec![b'x'; 1 << 15]);
    sink.messages = Messages::new(&sink.config, Encoding::OtlpProto);
    assert_eq!(run(sink.deliver(&records.outgoing())), vec![Verdict::Delivered; 100]);
    let sent: Vec<_> = records.outgoing().iter().map(|o| o.record.uid().to_owned()).collect();
    assert_eq!(cluster.stored(100).iter().map(uid).collect::<Vec<_>>(), sent);
}

#[test]
fn a_batch_that_nobody_waits_for_any_more_does_not_answer_for_the_next_one() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[]);
    let records = Records::new(20);
    let outgoing = records.outgoing();
    cluster.0.broker_down(1).expect("there is a broker");
    run(async {
        let given_up = timeout(Duration::from_millis(50), sink.deliver(&outgoing)).await;
        assert!(given_up.is_err(), "nobody can have answered");
    });
    cluster.0.broker_up(1).expect("there is a broker");
    assert_eq!(run(sink.deliver(&outgoing[..3])), vec![Verdict::Delivered; 3]);
    cluster.stored(3);
}

#[test]
fn a_producer_ends_where_nobody_answers() {
    let cluster = Cluster::new();
    let (mut sink, _) = cluster.sink(&[]);
    let records = Records::new(2);
    cluster.0.broker_down(1).expect("there is a broker");
    run(async {
        assert!(timeout(Duration::from_millis(50), sink.deliver(&records.outgoing())).await.is_err());
        sink.close().await;
    });
}
