//! Connections that break, that are not there, and that go round a corner.

use std::{fs, time::Duration};

use hyper::Response;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::config::{
    Secret,
    otlp::{Header, HeaderText, Proxy},
};

/// Reads an HTTP/1.1 request as far as it goes: head, and body by its length.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await.expect("it can be read") == 0 {
            return String::from_utf8_lossy(&read).into_owned();
        }
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |l| l.parse().expect("a number"));
        if body.len() >= length {
            return text.into_owned();
        }
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    (listener, address)
}

/// Answers the n-th connection's one request with the n-th of `answers`, and cuts the connection.
async fn cutting(answers: &'static [&'static str]) -> String {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.expect("it can be written");
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_is_cut_before_or_in_an_answer_may_have_delivered_and_is_tried_again() {
    let address =
        cutting(&["", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"]).await;
    let mut sink = sink(&config(Protocol::HttpJson, format_args!("http://{address}")));
    for words in [
        "the connection broke without an answer",
        "the connection broke without an answer",
        "the connection broke in the middle",
    ] {
        let verdicts = deliver(&mut sink, &Records::numbered(2)).await;
        assert!(trouble(&verdicts).why.starts_with(words), "{words}: {verdicts:?}");
    }
    let gone = deliver(&mut sink, &Records::numbered(2)).await;
    assert!(trouble(&gone).why.starts_with("can't connect to http://127.0.0.1:"), "{gone:?}");
    assert!(trouble(&gone).why.contains("Connection refused"), "{gone:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_ended_while_it_was_idle_is_no_trouble() {
    // each connection gets one request, with an answer that does not tell that it will end
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let answers: &'static [&'static str] = vec![answer; 3].leak();
    let address = cutting(answers).await;
    let mut sink = sink(&config(Protocol::HttpProtobuf, format_args!("http://{address}")));
    for _ in 0..3 {
        all(&deliver(&mut sink, &Records::numbered(2)).await, 2, "delivered");
    }
}

#[tokio::test]
async fn a_grpc_connection_that_is_cut_is_trouble() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            // an empty SETTINGS frame, then the end
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.expect("HTTP/2 begins with it");
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("it can be written");
        }
    });
    let mut sink = sink(&config(Protocol::Grpc, format_args!("http://{address}")));
    let verdicts = deliver(&mut sink, &Records::numbered(2)).await;
    assert!(trouble(&verdicts).why.starts_with("the connection broke without an answer: "), "{verdicts:?}");
}

#[tokio::test]
async fn a_server_of_the_other_protocol_is_told_from_one_that_is_broken() {
    let http = Server::taking(Protocol::HttpProtobuf, None).await;
    let verdicts = deliver(&mut sink_to(&http, Protocol::Grpc), &Records::numbered(2)).await;
    assert!(trouble(&verdicts).why.contains("allowed: an `endpoint` that speaks the `protocol`"), "{verdicts:?}");
    let grpc = Server::taking(Protocol::Grpc, None).await;
    let verdicts = deliver(&mut sink_to(&grpc, Protocol::HttpProtobuf), &Records::numbered(2)).await;
    assert!(trouble(&verdicts).why.contains("allowed: an `endpoint` that speaks the `protocol`"), "{verdicts:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_trouble() {
    for protocol in PROTOCOLS {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let mut open = vec![];
            while let Ok(connection) = listener.accept().await {
                open.push(connection);
            }
        });
        let config =
            Config { timeout: Duration::from_millis(100), ..config(protocol, format_args!("http://{address}")) };
        let verdicts = deliver(&mut sink(&config), &Records::numbered(2)).await;
        assert!(trouble(&verdicts).why.starts_with("no answer within 100ms (timeout); allowed: "), "{verdicts:?}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_trouble() {
    let mut sink = sink(&config(Protocol::Grpc, "http://no-such-host.invalid:4317"));
    let verdicts = deliver(&mut sink, &Records::numbered(2)).await;
    assert!(
        trouble(&verdicts).why.starts_with("can't connect to http://no-such-host.invalid:4317: dns error: "),
        "{verdicts:?}"
    );
}

#[tokio::test]
async fn token_and_headers_are_sent_and_read_again_where_the_server_does_not_accept_them() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let (token, key) = (folder.path().join("token"), folder.path().join("key"));
    fs::write(&token, "old-token\n").expect("the test may write");
    fs::write(&key, "the-key").expect("the test may write");
    let server = Server::http(|seen| {
        let given = seen.headers["authorization"].to_str().expect("it is ASCII").to_owned();
        let code = if given == "Bearer new-token" { 200 } else { 401 };
        let body = if code == 200 { String::new() } else { format!("{given} of the-key is wrong") };
        Response::builder().status(code).body(body).expect("it is a response")
    })
    .await;
    let header = |name: &'static str, value| Header { name: name.parse().expect("it is one"), value };
    let config = Config {
        bearer_token: Some(Secret::File(token.clone())),
        headers: vec![
            header("x-scope-orgid", HeaderText::Plain("tenant".parse().expect("it is one"))),
            header("x-api-key", HeaderText::Secret(Secret::File(key))),
        ],
        ..config(Protocol::HttpProtobuf, format_args!("http://{}", server.address))
    };
    let mut sink = sink(&config);
    let verdicts = deliver(&mut sink, &Records::numbered(1)).await;
    let expected = "401 Unauthorized: Bearer (secret) of (secret) is wrong; allowed: a bearer_token";
    assert!(trouble(&verdicts).why.starts_with(expected), "{verdicts:?}");
    fs::write(&token, "new-token\n").expect("the test may write");
    all(&deliver(&mut sink, &Records::numbered(1)).await, 1, "delivered");
    let seen = server.seen();
    let get = |name: &str| seen[1].headers[name].to_str().expect("it is ASCII");
    assert_eq!((get("x-scope-orgid"), get("x-api-key")), ("tenant", "the-key"));
    assert!(get("user-agent").starts_with("kmodtrail/"));
    let shown = format!("{sink:?}");
    assert!(!shown.contains("new-token") && !shown.contains("the-key"), "{shown}");
    // one that is gone is trouble, and the connection that works goes on
    fs::remove_file(&token).expect("it is there");
    all(&deliver(&mut sink, &Records::numbered(1)).await, 1, "delivered");
    assert!(OtlpSink::open("test", &config).is_err_and(|e| e.to_string().contains("the secret")));
}

#[tokio::test]
async fn grpc_sends_token_and_headers_too() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let token = folder.path().join("token");
    fs::write(&token, "the-token").expect("the test may write");
    let server = Server::taking(Protocol::Grpc, None).await;
    let config = Config {
        bearer_token: Some(Secret::File(token)),
        ..config(Protocol::Grpc, format_args!("http://{}", server.address))
    };
    all(&deliver(&mut sink(&config), &Records::numbered(1)).await, 1, "delivered");
    let headers = &server.seen()[0].headers;
    assert_eq!(headers["authorization"], "Bearer the-token");
    assert!(headers["user-agent"].to_str().is_ok_and(|agent| agent.starts_with("kmodtrail/")));
    assert!(headers.contains_key("grpc-timeout"));
}

/// A proxy that wants this login.
async fn proxy(login: &'static str) -> String {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            let request = read_request(&mut stream).await;
            let to =
                request.strip_prefix("CONNECT ").and_then(|r| r.split(' ').next()).expect("it is CONNECT").to_owned();
            if !request.contains(&format!("proxy-authorization: Basic {login}\r\n")) {
                stream
                    .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .expect("it can");
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.expect("the server is there");
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("it can be written");
                copy_bidirectional(&mut stream, &mut server).await.ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_proxy_makes_the_connection_with_the_login_that_it_wants() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let password = folder.path().join("password");
    fs::write(&password, "open sesame").expect("the test may write");
    // "user:open sesame"
    let proxy = proxy("dXNlcjpvcGVuIHNlc2FtZQ==").await;
    for protocol in PROTOCOLS {
        let server = Server::taking(protocol, None).await;
        let url: hyper::Uri = format!("http://{proxy}").parse().expect("it is a URL");
        let login = Some(("user".to_owned(), Secret::File(password.clone())));
        let mut config = config(protocol, format_args!("http://{}", server.address));
        config.proxy = Some(Proxy { url: url.clone(), login });
        all(&deliver(&mut sink(&config), &Records::numbered(2)).await, 2, "delivered");
        assert!(!server.seen()[0].headers.contains_key("proxy-authorization"), "that is the proxy's alone");
        config.proxy = Some(Proxy { url, login: None });
        let verdicts = deliver(&mut sink(&config), &Records::numbered(2)).await;
        let why = &trouble(&verdicts).why;
        assert!(
            why.starts_with(&format!("the proxy http://{proxy} does not connect to http://{}: 407", server.address)),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_socket_is_an_endpoint_too() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("otlp.sock");
    let config = Config::new(Endpoint::Unix(path.clone()));
    let mut sink = sink(&config);
    let verdicts = deliver(&mut sink, &Records::numbered(2)).await;
    assert!(trouble(&verdicts).why.starts_with(&format!("can't connect to unix:{}: No such file", path.display())));
    let server = Server::on_socket(&path);
    all(&deliver(&mut sink, &Records::numbered(2)).await, 2, "delivered");
    assert_eq!(server.requests(), [["0", "1"]]);
}
