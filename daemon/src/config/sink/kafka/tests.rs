use super::super::super::{Problem, SinkKind, load_with, no_environment};
use super::*;

/// A configuration with these lines in a sink's table, and what is wrong with it.
fn read(lines: &str) -> (Option<KafkaSink>, Vec<Problem>) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("kmodtrail.toml");
    let text = format!(
        "[[routes]]\nname = \"all\"\nto = [\"siem\"]\n[sinks.siem]\ntype = \"kafka\"\n{}",
        lines.replace("DIR", &folder.path().display().to_string())
    );
    std::fs::write(folder.path().join("secret"), "hunter2\n").expect("the test may write");
    std::fs::write(&file, text).expect("the test may write");
    match load_with(&file, Some(no_environment())) {
        Ok((config, warnings)) => {
            let sink = config.sinks.into_iter().find_map(|sink| match sink.kind {
                SinkKind::Kafka(kafka) => Some(*kafka),
                _ => None,
            });
            (sink, warnings.0)
        }
        Err(problems) => (None, problems.0),
    }
}

const SMALLEST: &str = "brokers = [\"kafka-1:9092\"]\ntopic = \"kernel-modules\"\n";

#[track_caller]
fn valid(lines: &str) -> KafkaSink {
    let (sink, problems) = read(&format!("{SMALLEST}{lines}"));
    assert!(problems.is_empty(), "{problems:#?}");
    sink.expect("it is valid")
}

#[track_caller]
fn one_problem(lines: &str, key: &str, parts: &[&str]) {
    let (_, problems) = read(lines);
    let [problem] = &problems[..] else { panic!("one problem is expected: {problems:#?}") };
    let text = problem.to_string();
    assert_eq!(problem.key, format!("sinks.siem.{key}"), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} is not all in {text:?}");
    assert!(!text.contains("hunter2"), "a secret is not repeated: {text}");
}

#[test]
fn what_is_not_said_has_its_default() {
    let sink = valid("");
    let brokers = vec!["kafka-1:9092".parse().expect("it is an address")];
    assert_eq!(sink, KafkaSink::new(brokers, Template::parse("kernel-modules").expect("it is a name")));
    let native = sink.native().expect("there is no secret in it");
    for (name, value) in [
        ("bootstrap.servers", "kafka-1:9092"),
        ("security.protocol", "plaintext"),
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("compression.type", "zstd"),
        ("linger.ms", "5"),
        ("message.timeout.ms", "0"),
    ] {
        assert_eq!(native.get(name), Some(value), "{name}");
    }
}

#[test]
fn every_key_reaches_librdkafka() {
    let sink = valid(
        "compression = \"lz4\"\nlinger = \"20ms\"\nbatch_size = \"64KiB\"\nmax_message_size = \"32MiB\"\nkey = \"host.name\"\n\
         headers = { site = \"here\" }\ntls = { ca_file = \"/etc/ssl/certs/ca-certificates.crt\" }\n\
         sasl = { mechanism = \"SCRAM-SHA-512\", username = \"alice\", password = { file = \"/etc/hostname\" } }\n\
         [sinks.siem.librdkafka]\npartitioner = \"murmur2_random\"\nsocket.keepalive.enable = false\n\"reconnect.backoff.max.ms\" = 5000\n",
    );
    assert_eq!(
        (sink.key.as_deref(), &sink.headers[..]),
        (Some("host.name"), &[("site".to_owned(), Template::parse("here").expect("it is a value"))][..])
    );
    let native = sink.native().expect("the secret is there");
    for (name, value) in [
        ("security.protocol", "sasl_ssl"),
        ("compression.type", "lz4"),
        ("linger.ms", "20"),
        ("batch.size", "65536"),
        ("message.max.bytes", "33554432"),
        ("queue.buffering.max.kbytes", "65536"),
        ("ssl.ca.location", "/etc/ssl/certs/ca-certificates.crt"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "alice"),
        ("partitioner", "murmur2_random"),
        ("socket.keepalive.enable", "false"),
        ("reconnect.backoff.max.ms", "5000"),
    ] {
        assert_eq!(native.get(name), Some(value), "{name}");
    }
    assert!(native.get("sasl.password").is_some_and(|p| !p.is_empty()));
    assert!(
        !format!("{native:?} {sink:?}").contains(native.get("sasl.password").unwrap_or_default()),
        "secrets are not shown"
    );
}

#[test]
fn what_is_no_broker_or_topic_is_refused() {
    for (broker, what) in [
        ("", "empty"),
        ("kafka:0", "no port"),
        ("kafka:99999", "no port"),
        ("kafka-1,kafka-2", "no host"),
        ("2001:db8::1:9092", "brackets"),
        ("SASL_SSL://kafka:9093", "is a URL"),
        ("https://alice:hunter2@kafka:9093", "credential"),
    ] {
        one_problem(&format!("brokers = [\"{broker}\"]\ntopic = \"t\""), "brokers", &[what, "allowed: "]);
    }
    one_problem("brokers = []\ntopic = \"t\"", "brokers", &["empty", "HOST:PORT"]);
    for topic in ["a/b", "..", "spaces in it", "{process.pid}", "{host.name", &"x".repeat(250)] {
        one_problem(&format!("brokers = [\"k\"]\ntopic = \"{topic}\""), "topic", &["allowed: ", "249", "{host.name}"]);
    }
    for broker in ["kafka", "kafka:9092", "127.0.0.1:9092", "[2001:db8::1]:9092", "[2001:db8::1]"] {
        assert!(broker.parse::<Broker>().is_ok(), "{broker}");
    }
}

#[test]
fn what_is_out_of_range_or_unknown_is_refused() {
    for (line, key, part) in [
        ("linger = \"2h\"", "linger", "out of range; allowed: 1ms to 1m"),
        ("linger = 5", "linger", "it is the number 5"),
        ("batch_size = 10", "batch_size", "out of range"),
        ("max_message_size = \"1TiB\"", "max_message_size", "out of range"),
        ("compression = \"zstandard\"", "compression", "did you mean \"zstd\"?"),
        ("headers = { content-type = \"x\" }", "headers.content-type", "already"),
        ("headers = { a = 1 }", "headers.a", "the number 1"),
        ("lingr = \"5ms\"", "lingr", "did you mean \"linger\"?"),
    ] {
        one_problem(&format!("{SMALLEST}{line}\n"), key, &[part]);
    }
}

#[test]
fn who_the_daemon_is_needs_a_mechanism_and_what_belongs_to_it() {
    let password = "password = { file = \"DIR/secret\" }";
    for (table, key, parts) in [
        ("username = \"alice\"", "mechanism", &["it is missing", "SCRAM-SHA-256"][..]),
        ("mechanism = \"SCRAM\"", "mechanism", &["\"SCRAM\" is unknown"]),
        ("mechanism = \"SCRAM-SHA-256\"\nusername = \"alice\"", "password", &["it is missing", "credential"]),
        ("mechanism = \"SCRAM-SHA-256\"\nusername = \"alice\"\npassword = \"hunter2\"", "password", &["never written"]),
        (
            "mechanism = \"SCRAM-SHA-256\"\nusername = \"alice\"\npassword = { file = \"/no/such\" }",
            "password",
            &["/no/such", "No such file"],
        ),
        (&format!("mechanism = \"SCRAM-SHA-256\"\n{password}"), "username", &["it is missing"]),
        ("mechanism = \"OAUTHBEARER\"", "token", &["it is missing"]),
        (
            "mechanism = \"OAUTHBEARER\"\ntoken = { file = \"/etc/hostname\" }\nusername = \"a\"",
            "username",
            &["no such key"],
        ),
    ] {
        one_problem(&format!("{SMALLEST}tls = {{}}\n[sinks.siem.sasl]\n{table}\n"), &format!("sasl.{key}"), parts);
    }
    if cfg!(not(feature = "gssapi")) {
        one_problem(
            &format!("{SMALLEST}sasl = {{ mechanism = \"GSSAPI\" }}\n"),
            "sasl.mechanism",
            &["--features gssapi"],
        );
    }
}

#[test]
fn a_password_that_goes_over_the_network_as_it_is_is_warned_of() {
    let sasl = |mechanism| {
        format!(
            "sasl = {{ mechanism = \"{mechanism}\", username = \"alice\", password = {{ file = \"DIR/secret\" }} }}\n"
        )
    };
    one_problem(&format!("{SMALLEST}{}", sasl("PLAIN")), "sasl", &["warning", "[sinks.NAME.tls]"]);
    valid(&format!("{}tls = {{}}\n", sasl("PLAIN")));
    valid(&sasl("SCRAM-SHA-256"));
}

#[test]
fn options_of_librdkafka_that_would_break_a_guarantee_or_show_a_secret_are_refused() {
    for (line, parts) in [
        ("acks = 1", &["lost"][..]),
        ("enable.idempotence = false", &["lost"]),
        ("message.timeout.ms = 1000", &["stored all the same"]),
        ("sasl.password = \"hunter2\"", &["[sinks.NAME.sasl]"]),
        ("ssl.key.pem = \"hunter2\"", &["[sinks.NAME.tls]"]),
        ("ssl.keystore.password = \"hunter2\"", &["[sinks.NAME.tls]"]),
        ("compression.codec = \"lz4\"", &["`compression`"]),
        ("enable.ssl.certificate.verification = false", &["pretend", "tls.ca_file"]),
        ("test.mock.num.brokers = 3", &["librdkafka"]),
        ("socket.timeot.ms = 5", &["No such configuration property", "CONFIGURATION.md"]),
        ("socket.timeout.ms = \"soon\"", &["Invalid value"]),
        ("socket.timeout.ms = [1]", &["it is an array", "a string, a number or a truth value"]),
    ] {
        let name = line.split(' ').next().unwrap_or_default();
        one_problem(&format!("{SMALLEST}[sinks.siem.librdkafka]\n{line}\n"), &format!("librdkafka.{name}"), parts);
    }
}

#[test]
fn options_that_do_not_fit_one_another_are_found_before_the_daemon_runs() {
    let line = "max.in.flight = 100";
    one_problem(
        &format!("{SMALLEST}[sinks.siem.librdkafka]\n{line}\n"),
        "librdkafka",
        &["max.in.flight", "idempotence"],
    );
}
