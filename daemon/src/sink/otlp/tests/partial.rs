//! `partial_success`.

use hyper::Response;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};

use super::*;

fn partial(rejected: i64, message: &str) -> ExportLogsServiceResponse {
    let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: message.to_owned() };
    ExportLogsServiceResponse { partial_success: Some(partial) }
}

/// Rejects what is "bad" and says how many.
async fn judging(protocol: Protocol) -> Server {
    let judge = |seen: &server::Seen| seen.bodies().iter().filter(|b| *b == "bad").count();
    match protocol {
        Protocol::Grpc => Server::grpc(move |seen| Ok(partial(judge(seen) as i64, "too bad"))).await,
        Protocol::HttpProtobuf => {
            Server::http(move |seen| {
                let body =
                    String::from_utf8(partial(judge(seen) as i64, "too bad").encode_to_vec()).expect("it is ASCII");
                Response::builder()
                    .header("content-type", "application/x-protobuf")
                    .body(body)
                    .expect("it is a response")
            })
            .await
        }
        Protocol::HttpJson => {
            Server::http(move |seen| {
                let body = format!(
                    r#"{{"partialSuccess":{{"rejectedLogRecords":"{}","errorMessage":"too bad"}}}}"#,
                    judge(seen)
                );
                Response::builder().header("content-type", "application/json").body(body).expect("it is a response")
            })
            .await
        }
    }
}

#[tokio::test]
async fn where_all_records_of_a_request_are_rejected_all_are_refused_with_the_words_of_the_server() {
    for protocol in PROTOCOLS {
        let server = judging(protocol).await;
        let mut sink = sink_to(&server, protocol);
        all(&deliver(&mut sink, &Records::of(["bad", "bad"])).await, 2, "refused: the server rejected it: too bad");
        assert_eq!(server.seen().len(), 1, "the specification forbids to send it again");
        assert_eq!(sink.limits().records, 1000);
    }
}

#[tokio::test]
async fn where_some_are_none_is_sent_again_none_is_lost_and_the_next_ones_go_one_by_one() {
    for protocol in PROTOCOLS {
        let server = judging(protocol).await;
        let mut sink = sink_to(&server, protocol);
        let verdicts = deliver(&mut sink, &Records::of(["a", "bad", "b"])).await;
        all(
            &verdicts,
            3,
            "refused: the server rejected 1 of the 3 records of this request and does not say which: too bad",
        );
        assert_eq!(server.requests(), [["a", "bad", "b"]]);

        assert_eq!(sink.limits().records, 1);
        let said: Vec<_> = deliver(&mut sink, &Records::of(["c", "bad", "d"])).await.iter().map(said).collect();
        assert_eq!(said, ["delivered", "refused: the server rejected it: too bad", "delivered"]);
        assert_eq!(server.requests()[1..], [["c"], ["bad"], ["d"]]);
    }
}

#[tokio::test]
async fn after_enough_good_records_they_go_together_again() {
    let server = judging(Protocol::Grpc).await;
    let mut sink = sink_to(&server, Protocol::Grpc);
    deliver(&mut sink, &Records::of(["a", "bad"])).await;
    all(&deliver(&mut sink, &Records::numbered(SINGLY - 1)).await, SINGLY - 1, "delivered");
    assert_eq!(sink.limits().records, 1);
    all(&deliver(&mut sink, &Records::numbered(1)).await, 1, "delivered");
    assert_eq!(sink.limits().records, 1000);
}

#[tokio::test]
async fn a_warning_about_records_that_are_taken_refuses_none() {
    let server = Server::grpc(|_| Ok(partial(0, "body should be shorter"))).await;
    let mut sink = sink_to(&server, Protocol::Grpc);
    for _ in 0..2 {
        all(&deliver(&mut sink, &Records::numbered(3)).await, 3, "delivered");
    }
    assert_eq!(sink.warning, "body should be shorter");
    let server = Server::grpc(|_| Ok(partial(-1, "nonsense"))).await;
    all(&deliver(&mut sink_to(&server, Protocol::Grpc), &Records::numbered(3)).await, 3, "delivered");
    let server = Server::grpc(|_| Ok(partial(i64::MAX, "nonsense"))).await;
    all(
        &deliver(&mut sink_to(&server, Protocol::Grpc), &Records::numbered(3)).await,
        3,
        "refused: the server rejected it: nonsense",
    );
}
