//! TLS, as the client.

use std::{error::Error, sync::Arc};

use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring};

use super::connect::causes;
use crate::config::{Tls, TlsError};

/// HTTP/1.1 and HTTP/2 by their names in ALPN, RFC 7301.
pub(super) const HTTP1: &[u8] = b"http/1.1";
pub(super) const HTTP2: &[u8] = b"h2";

/// Why there can't be TLS with anybody.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A certificate or a key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Then no server can be trusted.
    #[error("this system trusts no certificates ({why}); allowed: tls.ca_file, or the package ca-certificates")]
    NoAuthorities {
        /// What went wrong when they were looked for.
        why: String,
    },
}

/// All that is needed, as the files have it now.
pub(super) fn client(tls: &Tls, alpn: &[u8]) -> Result<ClientConfig, ClientError> {
    let authorities = tls.authorities()?.map_or_else(system_authorities, Ok)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_root_certificates(authorities);
    let mut config = match tls.identity()? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("they have been tried together"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

fn system_authorities() -> Result<RootCertStore, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(ClientError::NoAuthorities { why });
    }
    Ok(store)
}

/// What to do about an error; where TLS has nothing to do with it, what to do about a connection that breaks.
pub(super) fn cure(error: &(dyn Error + 'static)) -> &'static str {
    match causes(error).find_map(|e| e.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "in tls.ca_file the CA that signed the server's certificate, in `endpoint` a name that is in it, and dates that include today"
        }
        Some(rustls::Error::AlertReceived(_)) => "tls.certificate_file and tls.key of a client that the server knows",
        Some(rustls::Error::InvalidMessage(_)) => "an `endpoint` that speaks TLS, or http:// in it",
        _ => {
            "an `endpoint` that speaks the `protocol`, with TLS or without it, and nothing on the way that cuts connections"
        }
    }
}
