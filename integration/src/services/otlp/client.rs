//! A plain client of OTLP.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse, logs_service_client::LogsServiceClient,
    },
    common::v1::{AnyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
};
use prost::Message as _;
use tonic::{
    Status,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Identity as TonicIdentity},
};
use ureq::tls::{ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::services::{
    PATIENCE,
    pki::{Identity, Pki},
    runtime,
};

/// Who sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    token: Option<String>,
}

/// What a server answered by HTTP.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// What HTTP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Client {
    /// With TLS, for servers with certificates of our authority.
    ///
    /// # Errors
    /// When the authority's file can't be read.
    pub(crate) fn trusting(pki: &Pki) -> Result<Self> {
        Ok(Self { ca: Some(read(&pki.ca())?), ..Self::default() })
    }

    /// With a certificate.
    ///
    /// # Errors
    /// When its files can't be read.
    pub(crate) fn identity(self, identity: &Identity) -> Result<Self> {
        Ok(Self { identity: Some((read(&identity.certificate)?, read(&identity.key)?)), ..self })
    }

    /// With a bearer token.
    pub(crate) fn token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Sends by gRPC.
    ///
    /// # Errors
    /// What the server answers; [`tonic::Code::Unavailable`] where there is none.
    pub(crate) fn grpc(
        &self,
        endpoint: &str,
        request: ExportLogsServiceRequest,
    ) -> Result<ExportLogsServiceResponse, Status> {
        runtime().block_on(async {
            let mut request = tonic::Request::new(request);
            if let Some(token) = &self.token {
                let value = MetadataValue::try_from(format!("Bearer {token}"));
                request
                    .metadata_mut()
                    .insert("authorization", value.map_err(|error| Status::internal(error.to_string()))?);
            }
            let unavailable = |error: tonic::transport::Error| Status::from_error(Box::new(error));
            let channel = self.channel(endpoint).map_err(unavailable)?.connect().await.map_err(unavailable)?;
            let sent = LogsServiceClient::new(channel).max_encoding_message_size(usize::MAX).export(request).await;
            sent.map(tonic::Response::into_inner)
        })
    }

    /// Sends by HTTP.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn http(
        &self,
        endpoint: &str,
        request: &ExportLogsServiceRequest,
        encoding: Encoding,
    ) -> Result<HttpAnswer> {
        let body = match encoding {
            Encoding::Protobuf => request.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(request)?,
        };
        self.post(endpoint, encoding, &body)
    }

    /// Sends these bytes by HTTP, as what `encoding` says.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn post(&self, endpoint: &str, encoding: Encoding, body: &[u8]) -> Result<HttpAnswer> {
        let content_type = match encoding {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(self.tls()?)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let mut post = agent.post(format!("{endpoint}/v1/logs")).content_type(content_type);
        if let Some(token) = &self.token {
            post = post.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = post.send(body)?;
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(HttpAnswer { status: answer.status().as_u16(), retry_after, body: answer.body_mut().read_to_vec()? })
    }

    fn channel(&self, endpoint: &str) -> Result<tonic::transport::Endpoint, tonic::transport::Error> {
        let channel = Channel::from_shared(endpoint.to_owned())
            .expect("an endpoint is a URL")
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE);
        let Some(ca) = &self.ca else { return Ok(channel) };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(TonicIdentity::from_pem(certificate, key));
        }
        channel.tls_config(tls)
    }

    fn tls(&self) -> Result<TlsConfig> {
        let mut tls = TlsConfig::builder();
        if let Some(ca) = &self.ca {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(ca)?)));
        }
        if let Some((certificate, key)) = &self.identity {
            let key = PrivateKey::from_pem(key)?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates(certificate)?, key)));
        }
        Ok(tls.build())
    }
}

/// A request with a record for each of these texts.
pub(crate) fn request(texts: &[&str]) -> ExportLogsServiceRequest {
    let record = |text: &&str| {
        let body = AnyValue { value: Some(Value::StringValue((*text).to_owned())) };
        LogRecord { body: Some(body), observed_time_unix_nano: 1, ..LogRecord::default() }
    };
    let scope = ScopeLogs { log_records: texts.iter().map(record).collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

/// What [`request`] put into a record.
pub(crate) fn text(record: &LogRecord) -> &str {
    match &record.body {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        _ => "",
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let items = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error.into())),
    });
    items.collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
