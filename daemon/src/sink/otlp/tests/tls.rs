//! TLS, with certificates made here.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer, server::WebPkiClientVerifier},
};

use super::*;
use crate::config::{Secret, Tls};

/// A CA, and the folder with what it made.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).expect("there are no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is entropy");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it can sign itself");
        let folder = tempfile::tempdir().expect("a folder for the test");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("the test may write");
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificate(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("there is entropy");
        (params.signed_by(&key, &self.issuer).expect("it can sign"), key)
    }

    /// For a server of that name, that wants clients to show a certificate or not.
    fn acceptor(&self, name: &str, alpn: &[&[u8]], clients: bool) -> TlsAcceptor {
        let (certificate, key) = self.certificate(name, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring has what it needs");
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).expect("it is a certificate");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("there is a CA"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).expect("it is its key");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config).into()
    }

    /// As a client that trusts this CA, with the certificate that it made.
    fn client(&self) -> Tls {
        let (certificate, key) = self.certificate("client", ExtendedKeyUsagePurpose::ClientAuth);
        fs::write(self.file("client.pem"), certificate.pem()).expect("the test may write");
        fs::write(self.file("client.key"), key.serialize_pem()).expect("the test may write");
        Tls {
            ca_file: Some(self.file("ca.pem")),
            certificate_file: Some(self.file("client.pem")),
            key: Some(Secret::File(self.file("client.key"))),
        }
    }

    /// As a client that trusts this CA and shows nothing.
    fn trusted(&self) -> Tls {
        Tls { ca_file: Some(self.file("ca.pem")), ..Tls::default() }
    }
}

const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

async fn try_it(server: &Server, protocol: Protocol, tls: Tls) -> Vec<Verdict> {
    let config = Config { tls, ..config(protocol, format_args!("https://localhost:{}", server.address.port())) };
    deliver(&mut sink(&config), &Records::numbered(2)).await
}

#[tokio::test]
async fn a_server_that_the_ca_vouches_for_gets_the_records_and_another_one_not() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    for protocol in PROTOCOLS {
        let server = Server::taking(protocol, Some(ca.acceptor("localhost", ALPN, false))).await;
        all(&try_it(&server, protocol, ca.trusted()).await, 2, "delivered");
        for untrusted in [other.trusted(), Tls::default()] {
            let verdicts = try_it(&server, protocol, untrusted).await;
            let why = &trouble(&verdicts).why;
            assert!(why.contains("invalid peer certificate: UnknownIssuer; allowed: in tls.ca_file the CA"), "{why}");
        }
        let other_name = Server::taking(protocol, Some(ca.acceptor("else.where", ALPN, false))).await;
        let verdicts = try_it(&other_name, protocol, ca.trusted()).await;
        let why = &trouble(&verdicts).why;
        assert!(why.contains("not valid for name") && why.contains("in `endpoint` a name that is in it"), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it_and_without_it_the_trouble_says_so() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    for protocol in PROTOCOLS {
        let server = Server::taking(protocol, Some(ca.acceptor("localhost", ALPN, true))).await;
        all(&try_it(&server, protocol, ca.client()).await, 2, "delivered");
        let stranger = Tls { ca_file: Some(ca.file("ca.pem")), ..other.client() };
        for unknown in [ca.trusted(), stranger] {
            let verdicts = try_it(&server, protocol, unknown).await;
            let why = &trouble(&verdicts).why;
            assert!(why.contains("fatal alert") && why.contains("allowed: tls.certificate_file and tls.key"), "{why}");
        }
    }
}

#[tokio::test]
async fn certificates_are_read_again_for_each_connection() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let server = Server::taking(Protocol::Grpc, Some(ca.acceptor("localhost", ALPN, false))).await;
    let tls = other.trusted();
    let config = Config { tls, ..config(Protocol::Grpc, format_args!("https://localhost:{}", server.address.port())) };
    let mut sink = sink(&config);
    all(&deliver(&mut sink, &Records::numbered(2)).await, 2, "retry: no TLS with https://localhost:");
    fs::copy(ca.file("ca.pem"), other.file("ca.pem")).expect("the test may write");
    all(&deliver(&mut sink, &Records::numbered(2)).await, 2, "delivered");
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_with_another_certificate() {
    let ca = Ca::new("ca");
    let server = Server::taking(Protocol::HttpProtobuf, None).await;
    let verdicts = try_it(&server, Protocol::HttpProtobuf, ca.trusted()).await;
    let why = &trouble(&verdicts).why;
    assert!(why.ends_with("allowed: an `endpoint` that speaks TLS, or http:// in it"), "{why}");
}

#[tokio::test]
async fn a_server_without_http2_is_no_receiver_of_grpc() {
    let ca = Ca::new("ca");
    let server = Server::taking(Protocol::Grpc, Some(ca.acceptor("localhost", &[], false))).await;
    let verdicts = try_it(&server, Protocol::Grpc, ca.trusted()).await;
    assert!(trouble(&verdicts).why.contains("does not speak HTTP/2, as gRPC needs it"), "{verdicts:?}");
}

#[test]
fn certificates_that_can_not_be_used_are_told_at_the_start() {
    let ca = Ca::new("ca");
    let client = ca.client();
    let refused = |tls: Tls| {
        let config = Config { tls, ..config(Protocol::Grpc, "https://localhost:4317") };
        OtlpSink::open("test", &config).expect_err("it can't be used").to_string()
    };
    let gone = refused(Tls { ca_file: Some(ca.file("gone")), ..Tls::default() });
    assert!(gone.contains("gone: No such file") && gone.contains("; allowed: "), "{gone}");
    let other = KeyPair::generate().expect("there is entropy").serialize_pem();
    fs::write(ca.file("client.key"), other).expect("the test may write");
    let wrong = refused(client);
    assert!(wrong.contains("client.key does not go with") && wrong.contains("client.pem"), "{wrong}");
}
