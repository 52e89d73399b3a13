//! `type = "otlp"`

use std::time::Duration;

use super::{
    super::otlp::{Compression, Endpoint, HeaderText, Protocol, Proxy},
    *,
};

/// A sink with these lines, and a route to it.
fn with(lines: &str) -> Etc {
    Etc::with(&format!("[sinks.c]\ntype = \"otlp\"\n{lines}\n[[routes]]\nname = \"all\"\nto = [\"c\"]\n"))
}

fn otlp(etc: &Etc) -> Sink {
    etc.valid(&[]).sinks.remove(0)
}

fn kind(sink: &Sink) -> &OtlpSink {
    let SinkKind::Otlp(otlp) = &sink.kind else { panic!("{sink:?}") };
    otlp
}

const ENDPOINT: &str = "endpoint = \"https://otelcol:4317\"\n";

#[test]
fn an_endpoint_is_enough() {
    let sink = otlp(&with(ENDPOINT));
    assert_eq!(sink.encoding, Encoding::OtlpProto);
    let Endpoint::Url(url) = &kind(&sink).endpoint else { panic!("{sink:?}") };
    assert_eq!(url.to_string(), "https://otelcol:4317/");
    assert_eq!(*kind(&sink), OtlpSink::new(Endpoint::Url(url.clone())));
    let json = otlp(&with("endpoint = \"unix:///run/otlp.sock\"\nprotocol = \"http/json\""));
    assert_eq!((json.encoding, &kind(&json).endpoint), (Encoding::OtlpJson, &Endpoint::Unix("/run/otlp.sock".into())));
    for (url, shown) in [
        ("http://[::1]:4318/otlp/v1/logs", "http://[::1]:4318/otlp/v1/logs"),
        ("https://otlp.example.com", "https://otlp.example.com"),
        ("unix:/run/otlp.sock", "unix:/run/otlp.sock"),
    ] {
        let sink = otlp(&with(&format!("endpoint = \"{url}\"\nprotocol = \"http/protobuf\"")));
        assert_eq!(kind(&sink).endpoint.to_string(), shown);
    }
}

#[test]
fn everything_can_be_said() {
    let etc = with(
        r#"
        endpoint = "https://otelcol:4318/v1/logs"
        protocol = "http/protobuf"
        compression = "zstd"
        bearer_token = { file = "DIR/token" }
        connect_timeout = "2s"
        timeout = "1m 30s"
        keep_alive = "5m"
        max_batch_records = 10
        max_batch_size = "128KiB"
        [sinks.c.headers]
        X-Scope-OrgID = "tenant"
        x-api-key = { file = "DIR/token" }
        [sinks.c.proxy]
        url = "http://proxy:3128"
        username = "me"
        password = { credential = "proxy" }
        "#,
    );
    etc.file("token", "open sesame\n");
    let sink = otlp(&etc);
    let found = kind(&sink);
    assert_eq!((found.protocol, found.compression), (Protocol::HttpProtobuf, Compression::Zstd));
    let times = [found.connect_timeout, found.timeout, found.keep_alive];
    assert_eq!(times, [2, 90, 300].map(Duration::from_secs));
    assert_eq!((found.max_batch_records, found.max_batch_size), (10, Size(128 << 10)));
    let headers: Vec<_> =
        found.headers.iter().map(|h| (h.name.as_str(), matches!(h.value, HeaderText::Secret(_)))).collect();
    assert_eq!(headers, [("x-scope-orgid", false), ("x-api-key", true)]);
    let login = Some(("me".to_owned(), Secret::Credential("proxy".to_owned())));
    assert_eq!(found.proxy, Some(Proxy { url: hyper::Uri::from_static("http://proxy:3128"), login }));
    assert!(!format!("{sink:?}").contains("sesame"));
}

#[test]
fn an_endpoint_that_can_not_be_is_an_error_and_no_password_in_it_is_repeated() {
    for (endpoint, what) in [
        (
            "https://me:sesame@otelcol:4317",
            "it has a user or a password in it; use bearer_token, or headers, with a credential",
        ),
        ("https://otelcol:4317?token=sesame", "it has a ? or # in it"),
        ("https://otelcol:4317/#sesame", "it has a ? or # in it"),
        ("otelcol:4317", "has no scheme"),
        ("grpc://otelcol:4317", "the scheme \\\"grpc\\\" is unknown"),
        ("https://", "is no URL"),
        ("https://a b", "is no URL"),
        ("https://otelcol:99999", "names no host, or a port that is none"),
        ("https://otelcol:", "names no host, or a port that is none"),
        ("https://otelcol:0", "names no host, or a port that is none"),
        ("https://-", "names no host"),
        ("unix:run/otlp.sock", "is not the absolute path of a socket"),
        (&format!("unix:/{}", "x".repeat(107)), "is longer than the path of a socket can be"),
        ("", "it is empty"),
    ] {
        let problems = with(&format!("endpoint = \"{endpoint}\"")).problems(&[]);
        let what = what.replace("\\\"", "\"");
        one_problem(
            &problems,
            &["DIR/kmodtrail.toml: sinks.c.endpoint: ", &what, "; allowed: https://HOST[:PORT][/PATH], http://"],
        );
        assert!(!problems[0].contains("sesame"), "{problems:?}");
    }
    one_problem(&with("").problems(&[]), &["sinks.c.endpoint: it is missing; allowed: https://HOST"]);
}

#[test]
fn what_does_not_go_together_is_an_error() {
    for (lines, parts) in [
        (
            "endpoint = \"https://otelcol:4317/v1/logs\"",
            [
                "sinks.c.endpoint: https://otelcol:4317/v1/logs has a path, and gRPC none",
                "allowed: no path; or the protocol",
            ],
        ),
        (
            "endpoint = \"http://otelcol:4317\"\ntls = {}",
            ["sinks.c.tls: http://otelcol:4317 does not use TLS", "allowed: an endpoint https://"],
        ),
        (
            "endpoint = \"unix:/run/otlp.sock\"\nproxy = { url = \"http://proxy\" }",
            ["sinks.c.proxy: unix:/run/otlp.sock is on this host", "allowed: an endpoint behind the proxy"],
        ),
        (
            "endpoint = \"https://c\"\nbearer_token = { credential = \"t\" }\nheaders = { Authorization = { credential = \"t\" } }",
            ["sinks.c.headers.Authorization: bearer_token is sent in this header", "allowed: one of the two"],
        ),
        (
            "endpoint = \"https://c\"\nencoding = \"otlp_json\"",
            ["sinks.c.encoding: there is no such key", "allowed: type, endpoint, protocol, "],
        ),
    ] {
        one_problem(&with(lines).problems(&[]), &parts);
    }
}

#[test]
fn every_value_has_its_bounds() {
    for (line, what, allowed) in [
        ("protocol = \"http\"", "protocol: \"http\" is unknown", "\"grpc\", \"http/protobuf\", \"http/json\""),
        ("compression = 9", "compression: it is the number 9", "\"none\", \"gzip\", \"zstd\""),
        ("timeout = \"10\"", "timeout: \"10\" is no length of time", "a length of time with its unit"),
        ("timeout = 10", "timeout: it is the number 10", "a length of time with its unit"),
        ("timeout = \"1ms\"", "timeout: 1ms is out of range", "100ms to 10m"),
        ("connect_timeout = \"1h\"", "connect_timeout: 1h is out of range", "100ms to 10m"),
        ("keep_alive = \"1ms\"", "keep_alive: 1ms is out of range", "1s to 1h"),
        ("max_batch_records = 0", "max_batch_records: 0 is out of range", "1 to 100000"),
        ("max_batch_records = -1", "max_batch_records: -1 is out of range", "a whole number"),
        ("max_batch_records = \"many\"", "max_batch_records: it is the string \"many\"", "a whole number"),
        ("max_batch_size = \"1GiB\"", "max_batch_size: 1.0 GiB is out of range", "64.0 KiB to 64.0 MiB"),
        ("proxy = {}", "proxy.url: it is missing", "https://HOST"),
        (
            "proxy = { url = \"https://proxy\" }",
            "proxy.url: https://proxy is not what a proxy can be",
            "http://HOST[:PORT]",
        ),
        (
            "proxy = { url = \"http://proxy\", username = \"me\" }",
            "proxy.username: one of username and password is missing",
            "both, or none",
        ),
        ("headers = { \"a b\" = \"x\" }", "headers.a b: that is no header's name", "letters, digits and -"),
        ("headers = { Host = \"x\" }", "headers.Host: the protocol says what is in this header", "another header"),
        ("headers = { a = \"x\", A = \"y\" }", "it is there twice", "each header once"),
        (
            "headers = { a = \"x\\ny\" }",
            "headers.a: it has characters that no header can have",
            "a string of printable ASCII",
        ),
        ("headers = { a = 1 }", "headers.a: it is the number 1", "a string of printable ASCII"),
    ] {
        one_problem(&with(&format!("{ENDPOINT}{line}")).problems(&[]), &["sinks.c.", what, "; allowed: ", allowed]);
    }
}

#[test]
fn a_secret_does_not_stand_in_the_configuration_and_is_not_repeated() {
    for line in [
        "bearer_token = \"sesame\"",
        "headers = { authorization = \"Basic sesame\" }",
        "headers = { X-Api-Key = \"sesame\" }",
        "proxy = { url = \"http://proxy\", username = \"me\", password = \"sesame\" }",
    ] {
        let problems = with(&format!("{ENDPOINT}{line}")).problems(&[]);
        assert!(problems[0].contains("allowed: { credential = \"NAME\" } or { file = \"/PATH\" }"), "{problems:?}");
        assert!(problems.iter().all(|p| !p.contains("sesame")), "{problems:?}");
    }
}

#[test]
fn a_secret_that_is_not_there_or_can_not_be_sent_is_found() {
    for line in [
        "bearer_token = SECRET",
        "headers = { x-key = SECRET }",
        "proxy = { url = \"http://p\", username = \"me\", password = SECRET }",
    ] {
        let etc = with(&format!("{ENDPOINT}{}", line.replace("SECRET", "{ file = \"DIR/secret\" }")));
        one_problem(
            &etc.problems(&[]),
            &["DIR/secret can't be read: No such file", "; allowed: a file that this user may read"],
        );
        etc.file("secret", "open\nsesame\n");
        let problems = etc.problems(&[]);
        if line.contains("password") {
            assert_eq!(problems, [""; 0], "it is sent in base64");
        } else {
            one_problem(&problems, &["DIR/secret has characters that no header can have; allowed: one line"]);
            assert!(!problems[0].contains("sesame"), "{problems:?}");
        }
        // of a credential only the daemon can tell, in its unit
        assert!(
            with(&format!("{ENDPOINT}{}", line.replace("SECRET", "{ credential = \"secret\" }"))).load(&[]).is_ok()
        );
    }
}

#[test]
fn a_secret_on_its_way_in_plain_text_is_a_warning() {
    let token = "bearer_token = { credential = \"token\" }";
    let problems = with(&format!("endpoint = \"http://otelcol:4317\"\n{token}")).problems(&[]);
    one_problem(
        &problems,
        &["warning: ", "sinks.c.endpoint: secrets are sent to http://otelcol:4317 for everybody", "allowed: https://"],
    );
    for local in [
        "http://localhost:4317",
        "http://127.0.0.1:4317",
        "http://[::1]:4317",
        "unix:/run/otlp.sock",
        "https://otelcol",
    ] {
        assert_eq!(with(&format!("endpoint = \"{local}\"\n{token}")).problems(&[]), [""; 0]);
    }
}

#[test]
fn certificates_and_keys_are_tried() {
    let pair = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("there is entropy");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
        (params.self_signed(&key).expect("it can sign itself").pem(), key.serialize_pem())
    };
    let ((certificate, key), (_, other_key)) = (pair("a"), pair("b"));
    let tls = "tls = { ca_file = \"DIR/ca\", certificate_file = \"DIR/cert\", key = { file = \"DIR/key\" } }";
    let etc = with(&format!("{ENDPOINT}{tls}"));
    let check = |files: [&str; 3]| {
        for (name, text) in ["ca", "cert", "key"].iter().zip(files) {
            etc.file(name, text);
        }
        etc.problems(&[])
    };
    assert_eq!(check([&certificate, &certificate, &key]), [""; 0]);
    one_problem(
        &check(["nothing", &certificate, &key]),
        &["sinks.c.tls.ca_file: DIR/ca: there is no certificate in it; allowed: a PEM file"],
    );
    one_problem(&check([&certificate, &key, &key]), &["DIR/cert: there is no certificate in it; allowed: a PEM file"]);
    one_problem(
        &check([&certificate, &certificate, &certificate]),
        &["sinks.c.tls.key: the secret DIR/key is no private key in PEM"],
    );
    one_problem(
        &check([&certificate, &certificate, &other_key]),
        &["sinks.c.tls.key: the secret DIR/key does not go with DIR/cert", "allowed: the private key"],
    );
    let gone = with(&format!("{ENDPOINT}tls = {{ ca_file = \"DIR/gone\" }}"));
    one_problem(&gone.problems(&[]), &["sinks.c.tls.ca_file: DIR/gone: No such file", "; allowed: a PEM file"]);
    one_problem(
        &with(&format!("{ENDPOINT}tls = {{ ca_file = \"/dev/zero\" }}")).problems(&[]),
        &["/dev/zero: it is not a file"],
    );
    one_problem(
        &with(&format!("{ENDPOINT}tls = {{ ca_file = \"ca\" }}")).problems(&[]),
        &["tls.ca_file: ca is relative"],
    );
    let half = with(&format!("{ENDPOINT}tls = {{ key = {{ file = \"DIR/key\" }} }}"));
    one_problem(&half.problems(&[]), &["sinks.c.tls.key: there is no certificate_file for it; allowed: both"]);
}
