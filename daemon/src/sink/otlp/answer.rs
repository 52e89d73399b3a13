//! What a server says to a request, and what that means for the records in it.
//!
//! The specification lists what may be tried again and forbids to try anything else again
//! (<https://opentelemetry.io/docs/specs/otlp/#failures>). Where an operator can help that would lose records: so only what is wrong with the
//! records themselves is a refusal here, and a wrong token, a wrong address or a broken server is trouble, which can end.

use std::time::{Duration, SystemTime};

use hyper::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER},
    http::response,
};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use serde::Deserialize;
use tonic::{Code, Status};
use tonic_types::{RpcStatusExt as _, StatusExt as _, pb};

use super::secrets::Secrets;
use crate::sink::Trouble;

/// A server that says "in a year" does not silence this host for so long.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has the records, all but so many; and why, or what else it wants to say.
    Taken { rejected: u64, message: String },
    /// It takes no such request, however often it is sent.
    Refused(Refusal),
    /// It does not work now.
    Trouble(Trouble),
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// In the server's words.
    pub(super) why: String,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// What is in the request: 400, 422, INVALID_ARGUMENT. Some say so where it is too long, and some where they expect no OTLP at all.
    Content,
    /// Its length: 413; RESOURCE_EXHAUSTED without a word about when to try again, which is a quota where the request is short; OUT_OF_RANGE,
    /// which the specification has tried again, but servers made with tonic say where a request is too long.
    Length,
}

/// What a gRPC server said.
pub(super) fn of_grpc(said: Result<ExportLogsServiceResponse, Status>, secrets: &Secrets) -> Answer {
    let status = match said {
        Ok(response) => return taken(response.partial_success.unwrap_or_default(), secrets),
        Err(status) => status,
    };
    let mut words = format!("{}: {}", name(status.code()), status.message());
    for violation in status.get_details_bad_request().into_iter().flat_map(|bad| bad.field_violations) {
        words += &format!("; {}: {}", violation.field, violation.description);
    }
    let why = secrets.shown(&words);
    let retry = status.get_details_retry_info();
    match status.code() {
        Code::InvalidArgument => Answer::Refused(Refusal { reason: Reason::Content, why }),
        Code::ResourceExhausted | Code::OutOfRange if retry.is_none() => {
            Answer::Refused(Refusal { reason: Reason::Length, why })
        }
        code => trouble(&why, grpc_cure(code), retry.and_then(|r| r.retry_delay)),
    }
}

/// What an HTTP server said.
pub(super) fn of_http(head: &response::Parts, body: &[u8], secrets: &Secrets) -> Answer {
    let media = Media::of(&head.headers);
    if head.status.is_success() {
        return success(head.status, media, body, secrets);
    }
    let status = match media {
        Media::Json => {
            serde_json::from_slice(body).ok().map(|JsonStatus { message }| pb::Status { message, ..Default::default() })
        }
        Media::Protobuf => pb::Status::decode(body).ok(),
        Media::Other => None,
    };
    let words = status.as_ref().map_or_else(|| String::from_utf8_lossy(body), |s| s.message.as_str().into());
    let to = head.headers.get(LOCATION).map(|to| format!(" to {}", String::from_utf8_lossy(to.as_bytes())));
    let why = secrets.shown(&format!("{}{}: {words}", head.status, to.unwrap_or_default()));
    match head.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Answer::Refused(Refusal { reason: Reason::Content, why })
        }
        StatusCode::PAYLOAD_TOO_LARGE => Answer::Refused(Refusal { reason: Reason::Length, why }),
        code => {
            let info = || status.as_ref()?.get_details_retry_info()?.retry_delay;
            trouble(&why, http_cure(code), retry_after(&head.headers).or_else(info))
        }
    }
}

fn taken(partial: ExportLogsPartialSuccess, secrets: &Secrets) -> Answer {
    let rejected = u64::try_from(partial.rejected_log_records).unwrap_or(0);
    Answer::Taken { rejected, message: secrets.shown(&partial.error_message) }
}

/// Only what an OTLP server says means that it has the records: a portal or a load balancer says 200 to everything.
fn success(code: StatusCode, media: Media, body: &[u8], secrets: &Secrets) -> Answer {
    let partial = match media {
        _ if body.is_empty() => Some(ExportLogsPartialSuccess::default()),
        Media::Protobuf => ExportLogsServiceResponse::decode(body).ok().map(|r| r.partial_success.unwrap_or_default()),
        // serde would take an array for a struct
        Media::Json if body.trim_ascii_start().starts_with(b"{") => {
            serde_json::from_slice::<JsonResponse>(body).ok().map(ExportLogsPartialSuccess::from)
        }
        Media::Json | Media::Other => None,
    };
    match partial {
        Some(partial) => taken(partial, secrets),
        None => {
            let words = String::from_utf8_lossy(body);
            let why = secrets.shown(&format!("{code}, but that is not what an OTLP server says: {words}"));
            trouble(&why, RECEIVER, None)
        }
    }
}

fn trouble(why: &str, cure: &str, after: Option<Duration>) -> Answer {
    let after = after.filter(|d| !d.is_zero()).map(|d| d.min(LONGEST_WAIT));
    Answer::Trouble(Trouble { why: format!("{why}; allowed: {cure}").into(), after })
}

const RECEIVER: &str = "host, port and path of an OTLP receiver in `endpoint` (the path is /v1/logs as a rule)";

fn http_cure(code: StatusCode) -> &'static str {
    match code {
        StatusCode::UNAUTHORIZED => "a bearer_token, or headers, that the server accepts",
        StatusCode::FORBIDDEN => "a bearer_token, or headers, of somebody who may write logs there",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => RECEIVER,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "a `protocol` and a `compression` that the server knows",
        code if code.is_redirection() => "in `endpoint` the place that it leads to: redirections are not followed",
        _ => "a server that works: its own log should say what is wrong",
    }
}

fn grpc_cure(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => http_cure(StatusCode::UNAUTHORIZED),
        Code::PermissionDenied => http_cure(StatusCode::FORBIDDEN),
        Code::Unimplemented => {
            "host and port of a receiver of OTLP/gRPC in `endpoint`, and a `compression` that it knows"
        }
        _ => http_cure(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// As gRPC writes it: "INVALID_ARGUMENT".
fn name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Protobuf,
    Json,
    Other,
}

impl Media {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
        match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Self::Protobuf,
            "application/json" => Self::Json,
            _ => Self::Other,
        }
    }
}

/// `google.rpc.Status` in JSON, as far as it is shown.
#[derive(Deserialize)]
struct JsonStatus {
    message: String,
}

/// `ExportLogsServiceResponse` in JSON. opentelemetry-proto's own reader does not know that a 64-bit integer is a string.
#[derive(Deserialize)]
struct JsonResponse {
    #[serde(rename = "partialSuccess", default)]
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonPartialSuccess {
    rejected_log_records: Option<JsonInt64>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonInt64 {
    Text(String),
    Number(i64),
}

impl From<JsonResponse> for ExportLogsPartialSuccess {
    fn from(json: JsonResponse) -> Self {
        let partial = json.partial_success.unwrap_or_default();
        let rejected_log_records = match partial.rejected_log_records {
            Some(JsonInt64::Number(number)) => number,
            Some(JsonInt64::Text(text)) => text.parse().unwrap_or(0),
            None => 0,
        };
        Self { rejected_log_records, error_message: partial.error_message.unwrap_or_default() }
    }
}
