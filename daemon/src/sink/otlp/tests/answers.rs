//! What a server says, and what becomes of the records.

use std::time::{Duration, SystemTime};

use hyper::Response;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use super::*;

fn http(status: u16, body: &str) -> Response<String> {
    Response::builder().status(status).body(body.to_owned()).expect("it is a response")
}

/// `google.rpc.Status`, as the specification wants it.
fn otlp_error(status: u16, message: &str) -> Response<String> {
    let body = pb::Status { message: message.to_owned(), ..Default::default() }.encode_to_vec();
    let body = String::from_utf8(body).expect("the message is short");
    Response::builder()
        .status(status)
        .header("content-type", "application/x-protobuf")
        .body(body)
        .expect("it is a response")
}

fn taken() -> Result<ExportLogsServiceResponse, Status> {
    Ok(ExportLogsServiceResponse::default())
}

#[tokio::test]
async fn only_the_record_that_a_server_calls_malformed_is_refused() {
    let records = Records::of(["a", "b", "poison", "c", "d"]);
    let expected = |verdicts: &[Verdict], words: &str| {
        let said: Vec<_> = verdicts.iter().map(said).collect();
        assert_eq!(said, ["delivered", "delivered", words, "delivered", "delivered"]);
    };
    let server = Server::grpc(|seen| {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("body", "it is poison");
        let bad = || Status::with_error_details(Code::InvalidArgument, "bad record", details);
        if seen.bodies().contains(&"poison".to_owned()) { Err(bad()) } else { taken() }
    })
    .await;
    let mut sink = sink_to(&server, Protocol::Grpc);
    expected(&deliver(&mut sink, &records).await, "refused: INVALID_ARGUMENT: bad record; body: it is poison");
    let delivered: Vec<_> =
        server.requests().into_iter().filter(|r| !r.contains(&"poison".to_owned())).flatten().collect();
    assert_eq!(delivered, ["a", "b", "c", "d"], "each of the others once");

    let server = Server::http(|seen| match seen.bodies().contains(&"poison".to_owned()) {
        true => otlp_error(400, "bad\u{1b}[2J\nrecord"),
        false => http(200, ""),
    })
    .await;
    let mut sink = sink_to(&server, Protocol::HttpProtobuf);
    expected(&deliver(&mut sink, &records).await, "refused: 400 Bad Request: bad [2J record");
    assert_eq!(sink.limits().bytes, 1 << 20, "it was not the length");
}

#[tokio::test]
async fn a_record_that_is_refused_alone_is_at_fault_where_a_request_without_records_is_taken() {
    let server =
        Server::grpc(|seen| if seen.bodies().is_empty() { taken() } else { Err(Status::invalid_argument("no")) }).await;
    let mut sink = sink_to(&server, Protocol::Grpc);
    all(&deliver(&mut sink, &Records::numbered(1)).await, 1, "refused: INVALID_ARGUMENT: no");
    assert_eq!(server.requests(), [vec!["0"], vec![]]);
    all(&deliver(&mut sink, &Records::numbered(3)).await, 3, "refused: INVALID_ARGUMENT: no");
}

#[tokio::test]
async fn where_a_request_without_records_is_refused_in_other_words_the_record_is_at_fault() {
    let server = Server::http(|seen| match &seen.bodies()[..] {
        [] => http(422, "at least one record is required"),
        _ => http(400, "timestamp too old"),
    })
    .await;
    let mut sink = sink_to(&server, Protocol::HttpJson);
    all(&deliver(&mut sink, &Records::numbered(2)).await, 2, "refused: 400 Bad Request: timestamp too old");
}

#[tokio::test]
async fn where_a_request_without_records_is_refused_in_the_same_words_no_record_is_at_fault() {
    let server = Server::http(|_| http(400, "Client sent an HTTP request to an HTTPS server.")).await;
    let mut sink = sink_to(&server, Protocol::HttpProtobuf);
    let verdicts = deliver(&mut sink, &Records::numbered(64)).await;
    assert_eq!(verdicts.len(), 64);
    assert!(trouble(&verdicts).why.starts_with(
        "400 Bad Request: Client sent an HTTP request to an HTTPS server.; it says so to a request without records"
    ));
    let most = server.requests().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(most, [64, 32, 16, 8, 4, 2, 1, 0], "it is not asked about each record");
}

#[tokio::test]
async fn where_a_request_without_records_meets_trouble_that_is_what_is_told() {
    let server = Server::http(|seen| match &seen.bodies()[..] {
        [] => http(503, "restarting"),
        _ => http(400, "no"),
    })
    .await;
    let verdicts = deliver(&mut sink_to(&server, Protocol::HttpProtobuf), &Records::numbered(2)).await;
    assert!(trouble(&verdicts).why.starts_with("503 Service Unavailable: restarting; allowed: "), "{verdicts:?}");
}

#[tokio::test]
async fn a_request_over_the_limit_is_sent_in_parts_and_the_next_ones_are_shorter() {
    const LIMIT: usize = 100 << 10;
    let length = |seen: &server::Seen| seen.bodies().iter().map(String::len).sum::<usize>();
    let long = "x".repeat(40 << 10);
    let records = Records::of((0..4).map(|n| format!("{n}{long}")));
    let too_long = Records::of([long.clone(), "y".repeat(LIMIT + 1), long.clone()]);
    let grpc = |code| {
        Server::grpc(move |seen| if length(seen) > LIMIT { Err(Status::new(code, "too large")) } else { taken() })
    };
    let http = |code| {
        Server::http(move |seen| if length(seen) > LIMIT { http(code, "<p>\r\ntoo large") } else { http(200, "") })
    };
    for (server, protocol, words) in [
        (grpc(Code::ResourceExhausted).await, Protocol::Grpc, "refused: RESOURCE_EXHAUSTED: too large"),
        (grpc(Code::OutOfRange).await, Protocol::Grpc, "refused: OUT_OF_RANGE: too large"),
        (http(413).await, Protocol::HttpProtobuf, "refused: 413 Payload Too Large: <p> too large"),
        (http(400).await, Protocol::HttpJson, "refused: 400 Bad Request: <p> too large"),
    ] {
        let mut sink = sink_to(&server, protocol);
        all(&deliver(&mut sink, &records).await, 4, "delivered");
        let limits = sink.limits();
        assert!((80 << 10..=LIMIT).contains(&limits.bytes), "{limits:?}");
        let verdicts = deliver(&mut sink, &too_long).await;
        let said: Vec<_> = verdicts.iter().map(said).collect();
        assert_eq!(said, ["delivered", words, "delivered"]);
        let verdicts = deliver(&mut sink, &Records::of(["y".repeat(LIMIT + 1)])).await;
        all(&verdicts, 1, words);
    }
}

#[tokio::test]
async fn a_quota_refuses_no_record_though_requests_without_records_are_taken() {
    // so says a collector that hands on records, but answers for itself where there are none
    for (status, words) in [
        (Status::resource_exhausted("quota"), "RESOURCE_EXHAUSTED: quota; the request was short"),
        (Status::out_of_range("later"), "OUT_OF_RANGE: later; the request was short"),
    ] {
        let mut left = 3;
        let server = Server::grpc(move |seen| {
            left -= 1;
            if left >= 0 || seen.bodies().is_empty() { taken() } else { Err(status.clone()) }
        })
        .await;
        let config =
            Config { max_batch_records: 2, ..config(Protocol::Grpc, format_args!("http://{}", server.address)) };
        let verdicts = deliver(&mut sink(&config), &Records::numbered(12)).await;
        all(&verdicts[..6], 6, "delivered");
        assert!(trouble(&verdicts[6..]).why.starts_with(words), "{verdicts:?}");
        assert_eq!(server.seen().len(), 4);
    }
}

#[tokio::test]
async fn every_other_grpc_status_is_trouble_that_can_end() {
    for (code, words) in [
        (Code::Cancelled, "CANCELLED"),
        (Code::Unknown, "UNKNOWN"),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Code::NotFound, "NOT_FOUND"),
        (Code::AlreadyExists, "ALREADY_EXISTS"),
        (Code::PermissionDenied, "PERMISSION_DENIED: why; allowed: a bearer_token, or headers, of somebody"),
        (Code::FailedPrecondition, "FAILED_PRECONDITION"),
        (Code::Aborted, "ABORTED"),
        (Code::Unimplemented, "UNIMPLEMENTED: why; allowed: host and port of a receiver of OTLP/gRPC"),
        (Code::Internal, "INTERNAL"),
        (Code::Unavailable, "UNAVAILABLE"),
        (Code::DataLoss, "DATA_LOSS"),
        (Code::Unauthenticated, "UNAUTHENTICATED: why; allowed: a bearer_token, or headers, that the server accepts"),
    ] {
        let server = Server::grpc(move |_| Err(Status::new(code, "why"))).await;
        let verdicts = deliver(&mut sink_to(&server, Protocol::Grpc), &Records::numbered(2)).await;
        let trouble = trouble(&verdicts);
        assert!(trouble.why.starts_with(words), "{trouble:?}");
        assert_eq!((trouble.after, server.seen().len()), (None, 1), "{words}");
    }
}

#[tokio::test]
async fn every_other_http_status_is_trouble_that_can_end() {
    for (status, words) in [
        (301, "301 Moved Permanently to https://else.where/: why; allowed: in `endpoint` the place that it leads to"),
        (401, "401 Unauthorized: why; allowed: a bearer_token, or headers, that the server accepts"),
        (403, "403 Forbidden: why; allowed: a bearer_token, or headers, of somebody"),
        (404, "404 Not Found: why; allowed: host, port and path of an OTLP receiver"),
        (405, "405 Method Not Allowed: why; allowed: host, port and path of an OTLP receiver"),
        (408, "408 Request Timeout: why; allowed: a server that works"),
        (415, "415 Unsupported Media Type: why; allowed: a `protocol` and a `compression`"),
        (429, "429 Too Many Requests"),
        (431, "431 Request Header Fields Too Large"),
        (500, "500 Internal Server Error"),
        (502, "502 Bad Gateway"),
        (503, "503 Service Unavailable"),
        (504, "504 Gateway Timeout"),
    ] {
        let server = Server::http(move |_| {
            let mut response = otlp_error(status, "why");
            if status == 301 {
                response.headers_mut().insert("location", "https://else.where/".parse().expect("it is a header"));
            }
            response
        })
        .await;
        let verdicts = deliver(&mut sink_to(&server, Protocol::HttpProtobuf), &Records::numbered(2)).await;
        let trouble = trouble(&verdicts);
        assert!(trouble.why.starts_with(words), "{trouble:?}");
        assert_eq!((trouble.after, server.seen().len()), (None, 1), "{words}");
    }
}

#[tokio::test]
async fn when_to_try_again_is_as_the_server_says() {
    let grpc = |code: Code, delay: Option<Duration>| async move {
        let server =
            Server::grpc(move |_| Err(Status::with_error_details(code, "later", ErrorDetails::with_retry_info(delay))))
                .await;
        let verdicts = deliver(&mut sink_to(&server, Protocol::Grpc), &Records::numbered(2)).await;
        (trouble(&verdicts).after, server.seen().len())
    };
    let seven = Duration::from_secs(7);
    assert_eq!(grpc(Code::ResourceExhausted, Some(seven)).await, (Some(seven), 1));
    assert_eq!(grpc(Code::Unavailable, Some(seven)).await, (Some(seven), 1));
    assert_eq!(
        grpc(Code::ResourceExhausted, Some(Duration::ZERO)).await,
        (None, 1),
        "the worker knows better than at once"
    );
    assert_eq!(grpc(Code::Unavailable, Some(Duration::from_secs(1 << 40))).await, (Some(Duration::from_secs(3600)), 1));

    let http = |retry_after: &'static str| async move {
        let server = Server::http(move |_| {
            let mut response = http(503, "");
            response.headers_mut().insert("retry-after", retry_after.parse().expect("it is a header"));
            response
        })
        .await;
        let verdicts = deliver(&mut sink_to(&server, Protocol::HttpProtobuf), &Records::numbered(2)).await;
        trouble(&verdicts).after
    };
    assert_eq!(http("7").await, Some(seven));
    assert_eq!(http("soon").await, None);
    assert_eq!(http("-1").await, None);
    assert_eq!(http("Sun, 06 Nov 1994 08:49:37 GMT").await, None);
    let date: &'static str = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1000)).leak();
    let after = http(date).await.expect("it is a date");
    assert!((Duration::from_secs(900)..=Duration::from_secs(1000)).contains(&after), "{after:?}");

    // in the body, as gRPC has it
    let details = ErrorDetails::with_retry_info(Some(seven));
    let body = Status::with_error_details(Code::ResourceExhausted, "", details).details().to_vec();
    let body = String::from_utf8(body).expect("small numbers are ASCII");
    let server = Server::http(move |_| {
        Response::builder()
            .status(429)
            .header("content-type", "application/x-protobuf")
            .body(body.clone())
            .expect("it is one")
    })
    .await;
    assert_eq!(
        trouble(&deliver(&mut sink_to(&server, Protocol::HttpProtobuf), &Records::numbered(1)).await).after,
        Some(seven)
    );
}

#[tokio::test]
async fn what_is_no_otlp_server_has_no_record_whatever_it_says() {
    for (kind, body) in [
        ("text/html", "<title>Welcome to the hotel</title>"),
        ("text/plain", "ok"),
        ("application/json", "[]"),
        ("application/x-protobuf", "ok"),
        ("", "ok"),
    ] {
        let server = Server::http(move |_| {
            Response::builder().header("content-type", kind).body(body.to_owned()).expect("it is a response")
        })
        .await;
        let verdicts = deliver(&mut sink_to(&server, Protocol::HttpProtobuf), &Records::numbered(2)).await;
        let why = &trouble(&verdicts).why;
        assert!(
            why.starts_with(&format!("200 OK, but that is not what an OTLP server says: {body}; allowed:")),
            "{why}"
        );
    }
    let endless = Server::http(|_| Response::new("<p>".repeat(1 << 20))).await;
    let verdicts = deliver(&mut sink_to(&endless, Protocol::HttpProtobuf), &Records::numbered(1)).await;
    assert!(trouble(&verdicts).why.len() < 1000);
}

#[tokio::test]
async fn any_body_that_an_otlp_server_may_send_with_success_is_understood() {
    for (status, kind, body) in [
        (200, "application/json", "{}"),
        (200, "application/json; charset=utf-8", r#"{"partialSuccess":null}"#),
        (200, "application/json", r#"{"partialSuccess":{}}"#),
        (200, "application/json", r#"{"partialSuccess":{"rejectedLogRecords":0,"errorMessage":null},"more":1}"#),
        (200, "application/x-protobuf", ""),
        (204, "text/plain", ""),
        (202, "", ""),
    ] {
        let server = Server::http(move |_| {
            Response::builder()
                .status(status)
                .header("content-type", kind)
                .body(body.to_owned())
                .expect("it is a response")
        })
        .await;
        for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson] {
            all(&deliver(&mut sink_to(&server, protocol), &Records::numbered(2)).await, 2, "delivered");
        }
    }
}

#[tokio::test]
async fn what_was_delivered_before_trouble_stays_delivered() {
    let mut requests = 0;
    let server = Server::grpc(move |_| {
        requests += 1;
        if requests == 2 { Err(Status::unavailable("restarting")) } else { taken() }
    })
    .await;
    let config = Config { max_batch_records: 2, ..config(Protocol::Grpc, format_args!("http://{}", server.address)) };
    let mut sink = sink(&config);
    let verdicts = deliver(&mut sink, &Records::numbered(6)).await;
    all(&verdicts[..2], 2, "delivered");
    all(&verdicts[2..], 4, "retry: UNAVAILABLE: restarting; allowed: ");
    assert_eq!(server.requests(), [["0", "1"], ["2", "3"]], "nothing is sent to a server in trouble");
    assert_eq!(trouble(&verdicts[2..]).after, None);
    all(&deliver(&mut sink, &Records::of(["2", "3", "4", "5"])).await, 4, "delivered");
    assert_eq!(server.connections(), 2);
}
