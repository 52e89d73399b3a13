//! Certificates, good and bad ones.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use tempfile::TempDir;

use crate::guest::HOST;

/// The common name in [`Pki::client`].
pub(crate) const CLIENT_NAME: &str = "client";

/// The files of two certification authorities, of which nobody trusts the second.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: TempDir,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The certificate, PEM.
    pub(crate) certificate: PathBuf,
    /// The key, PKCS#8 in PEM.
    pub(crate) key: PathBuf,
    /// Both in one file, as Kafka wants them.
    pub(crate) both: PathBuf,
}

impl Pki {
    /// Makes all keys and certificates, in a folder that goes when this is dropped.
    ///
    /// # Errors
    /// When a file can't be written.
    pub(crate) fn new() -> Result<Self> {
        let pki = Self { folder: tempfile::tempdir().context("making a folder for certificates")? };
        let (ours, foreign) = (pki.authority("ca")?, pki.authority("foreign-ca")?);
        let server = || leaf("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let client = || leaf(CLIENT_NAME, ExtendedKeyUsagePurpose::ClientAuth);
        pki.issue("server", &server()?, &ours)?;
        pki.issue("expired-server", &expired(server()?), &ours)?;
        pki.issue("client", &client()?, &ours)?;
        pki.issue("expired-client", &expired(client()?), &ours)?;
        pki.issue("foreign-client", &client()?, &foreign)?;
        Ok(pki)
    }

    /// The authority that all trust, PEM.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// An authority that signed none of the servers' certificates, PEM.
    pub(crate) fn foreign_ca(&self) -> PathBuf {
        self.path("foreign-ca.crt")
    }

    /// For localhost, 127.0.0.1, and this machine as the guests see it.
    pub(crate) fn server(&self) -> Identity {
        self.identity("server")
    }

    /// As [`Self::server`], not valid any more.
    pub(crate) fn expired_server(&self) -> Identity {
        self.identity("expired-server")
    }

    /// For a client.
    pub(crate) fn client(&self) -> Identity {
        self.identity("client")
    }

    /// As [`Self::client`], not valid any more.
    pub(crate) fn expired_client(&self) -> Identity {
        self.identity("expired-client")
    }

    /// As [`Self::client`], by the foreign authority.
    pub(crate) fn foreign_client(&self) -> Identity {
        self.identity("foreign-client")
    }

    fn identity(&self, name: &str) -> Identity {
        let file = |extension: &str| self.path(&format!("{name}.{extension}"));
        Identity { certificate: file("crt"), key: file("key"), both: file("pem") }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn authority(&self, name: &str) -> Result<Issuer<'static, KeyPair>> {
        let mut parameters = named(name)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        write(&self.path(&format!("{name}.crt")), &parameters.self_signed(&key)?.pem())?;
        Ok(Issuer::new(parameters, key))
    }

    fn issue(&self, name: &str, parameters: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, issuer)?.pem();
        let (files, key) = (self.identity(name), key.serialize_pem());
        write(&files.both, &format!("{key}{certificate}"))?;
        write(&files.key, &key)?;
        write(&files.certificate, &certificate)
    }
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let mut parameters = named(name)?;
    let addresses = [Ipv4Addr::LOCALHOST, HOST].map(|address| SanType::IpAddress(IpAddr::V4(address)));
    parameters.subject_alt_names = [vec![SanType::DnsName("localhost".try_into()?)], addresses.to_vec()].concat();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![usage];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

fn expired(mut parameters: CertificateParams) -> CertificateParams {
    parameters.not_before = date_time_ymd(2001, 1, 1);
    parameters.not_after = date_time_ymd(2002, 1, 1);
    parameters
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
