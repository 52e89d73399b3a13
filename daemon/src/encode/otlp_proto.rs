//! OTLP/protobuf: an `ExportLogsServiceRequest`. The records are in it as they are.

use opentelemetry_semantic_conventions::SCHEMA_URL;

use crate::record::wire;

/// Fields of the messages around a record: opentelemetry/proto/collector/logs/v1/logs_service.proto and logs/v1/logs.proto.
mod number {
    pub(super) const RESOURCE_LOGS: u32 = 1;
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_LOGS: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const SCOPE_NAME: u32 = 1;
    pub(super) const SCOPE_VERSION: u32 = 2;
    pub(super) const LOG_RECORDS: u32 = 2;
    /// Of ResourceLogs and ScopeLogs alike.
    pub(super) const SCHEMA_URL: u32 = 3;
}

/// What these records are sent as.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// Appends a request with all these records of one resource. A request may follow another: protobuf takes that for one request with
/// the resources of both.
pub fn request<'r>(resource: &[u8], records: impl IntoIterator<Item = &'r [u8], IntoIter: Clone>, out: &mut Vec<u8>) {
    let records = records.into_iter();
    let field = wire::field_length;
    let name = "kmodtrail".as_bytes();
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let scope = field(name.len()) + field(version.len());
    let all: usize = records.clone().map(|r| field(r.len())).sum();
    let scope_logs = field(scope) + all + field(SCHEMA_URL.len());
    let resource_logs = field(resource.len()) + field(scope_logs) + field(SCHEMA_URL.len());

    out.reserve(field(resource_logs));
    wire::put_length(out, number::RESOURCE_LOGS, resource_logs);
    wire::put_bytes(out, number::RESOURCE, resource);
    wire::put_length(out, number::SCOPE_LOGS, scope_logs);
    wire::put_length(out, number::SCOPE, scope);
    wire::put_bytes(out, number::SCOPE_NAME, name);
    wire::put_bytes(out, number::SCOPE_VERSION, version);
    for record in records {
        wire::put_bytes(out, number::LOG_RECORDS, record);
    }
    wire::put_bytes(out, number::SCHEMA_URL, SCHEMA_URL.as_bytes());
    wire::put_bytes(out, number::SCHEMA_URL, SCHEMA_URL.as_bytes());
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, logs::v1::LogRecord};
    use prost::Message as _;

    use super::*;
    use crate::{event::samples, record, resource::Resource};

    #[test]
    fn a_request_is_what_opentelemetry_writes_itself_and_two_are_one() {
        let mut writer = record::Writer::default();
        let records: Vec<_> = samples::all()
            .iter()
            .map(|event| {
                let mut bytes = Vec::new();
                writer.write(event, &mut bytes);
                bytes
            })
            .collect();
        let mut resource = Resource::default();
        resource.set("host.name", "h");
        let resource = record::resource(&resource);
        let mut bytes = Vec::new();
        request(&resource, records.iter().map(Vec::as_slice), &mut bytes);
        let one = bytes.len();
        request(&resource, [&*records[0]], &mut bytes);
        let decoded = ExportLogsServiceRequest::decode(&bytes[..one]).expect("it is a request");
        assert_eq!(decoded.encoded_len(), one, "nothing is in it that does not belong to it");
        let [logs] = &decoded.resource_logs[..] else { panic!("one resource") };
        let [scope] = &logs.scope_logs[..] else { panic!("one scope") };
        assert_eq!((&*logs.schema_url, &*scope.schema_url), (SCHEMA_URL, SCHEMA_URL));
        let found = scope.scope.as_ref().map(|s| (s.name.as_str(), s.version.as_str()));
        assert_eq!(found, Some(("kmodtrail", env!("CARGO_PKG_VERSION"))));
        let expected: Vec<_> = records.iter().map(|r| LogRecord::decode(&**r).expect("it is a record")).collect();
        assert_eq!(scope.log_records, expected);
        assert_eq!(logs.resource.as_ref().map(|r| r.attributes[0].key.as_str()), Some("host.name"));
        let both = ExportLogsServiceRequest::decode(&*bytes).expect("it is a request");
        assert_eq!(both.resource_logs.len(), 2);
    }
}
