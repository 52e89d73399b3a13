//! `[sinks.NAME.tls]`: the same for every sink that speaks TLS.

use std::path::PathBuf;

use super::{Secret, table::Table};

/// `[sinks.NAME.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `ca_file`, default: the certificates that the system trusts. PEM: who may have signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// `certificate_file`, default: none. PEM: the client's own certificate, with those between it and its CA.
    pub certificate_file: Option<PathBuf>,
    /// `key`, needed with `certificate_file`. PEM: the client's private key.
    pub key: Option<Secret>,
}

/// Reads the table.
#[expect(dead_code, reason = "the sinks that speak TLS come next")]
pub(super) fn read(mut table: Table<'_>) -> Tls {
    let ca_file = table.absolute_path("ca_file");
    let certificate_file = table.absolute_path("certificate_file");
    let place = table.place("key");
    let key = table.optional("key");
    if certificate_file.is_some() != key.is_some() {
        let what = if key.is_some() { "there is no certificate_file for it" } else { "it is missing" };
        table.wrong(&place, "key", what, "both certificate_file and key, or none of them");
    }
    table.finish();
    Tls { ca_file, certificate_file, key }
}
