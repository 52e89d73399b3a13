//! `[sinks.NAME.tls]`: the same for every sink that speaks TLS.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

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

/// Why a certificate or a key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}; allowed: {allowed}")]
pub struct TlsError {
    what: String,
    allowed: &'static str,
}

impl TlsError {
    const AUTHORITIES: &str =
        "a PEM file that this user may read, with the certificate of the CA that signed the server's";
    const CERTIFICATE: &str = "a PEM file that this user may read, with the client's own certificate";
    const KEY: &str = "the private key that belongs to certificate_file, in PEM and without a password";

    fn of_file(path: &Path, why: impl std::fmt::Display, allowed: &'static str) -> Self {
        Self { what: format!("{}: {why}", path.display()), allowed }
    }
}

/// The client's certificate, with those between it and its CA, and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Tls {
    /// Who may have signed the server's certificate: what is in `ca_file`; `None` where the system is to say.
    ///
    /// # Errors
    /// Where it can't be read, or has no certificate in it.
    pub fn authorities(&self) -> Result<Option<RootCertStore>, TlsError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        let mut store = RootCertStore::empty();
        for certificate in certificates(path, TlsError::AUTHORITIES)? {
            store.add(certificate).map_err(|e| TlsError::of_file(path, e, TlsError::AUTHORITIES))?;
        }
        Ok(Some(store))
    }

    /// Who the client says it is.
    ///
    /// # Errors
    /// Where certificate or key can't be read or don't belong together.
    pub fn identity(&self) -> Result<Option<Identity>, TlsError> {
        let (Some(path), Some(secret)) = (&self.certificate_file, &self.key) else { return Ok(None) };
        let chain = certificates(path, TlsError::CERTIFICATE)?;
        let pem =
            secret.reveal().map_err(|e| TlsError { what: format!("the secret {}", e.what), allowed: e.allowed })?;
        // what is wrong with a key is told without what is in it
        let no_key = |why: &str| TlsError { what: format!("the secret {secret} {why}"), allowed: TlsError::KEY };
        let key =
            PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| no_key("is no private key in PEM"))?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider())
            .map_err(|e| no_key(&format!("does not go with {}: {e}", path.display())))?;
        Ok(Some((chain, key)))
    }
}

fn certificates(path: &Path, allowed: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |why: &dyn std::fmt::Display| TlsError::of_file(path, why, allowed);
    // a device or a pipe may have no end
    if !fs::metadata(path).map_err(|e| error(&e))?.is_file() {
        return Err(error(&"it is not a file"));
    }
    let pem = fs::read(path).map_err(|e| error(&e))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, pem::Error>>().map_err(|e| error(&e))?;
    if found.is_empty() { Err(error(&"there is no certificate in it")) } else { Ok(found) }
}

/// Reads the table.
pub(super) fn read(mut table: Table<'_>) -> Tls {
    let ca_place = table.place("ca_file");
    let ca_file = table.absolute_path("ca_file");
    let certificate_file = table.absolute_path("certificate_file");
    let place = table.place("key");
    let key = table.optional("key");
    if certificate_file.is_some() != key.is_some() {
        let what = if key.is_some() { "there is no certificate_file for it" } else { "it is missing" };
        table.wrong(&place, "key", what, "both certificate_file and key, or none of them");
    }
    let tls = Tls { ca_file, certificate_file, key };
    check(&tls, &table, &ca_place, &place);
    table.finish();
    tls
}

/// What can be said of files that this user may read; who checks need not be who runs.
fn check(tls: &Tls, table: &Table<'_>, ca_place: &str, key_place: &str) {
    let readable = |path: &PathBuf| {
        path.is_absolute() && !fs::File::open(path).is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
    };
    if tls.ca_file.as_ref().is_some_and(readable)
        && let Err(e) = tls.authorities()
    {
        table.wrong(ca_place, "ca_file", e.what, e.allowed);
    }
    let key_readable = |key: &Secret| !matches!(key.reveal_if_possible(), Ok(None));
    if tls.certificate_file.as_ref().is_some_and(readable)
        && tls.key.as_ref().is_some_and(key_readable)
        && let Err(e) = tls.identity()
    {
        table.wrong(key_place, "key", e.what, e.allowed);
    }
}
