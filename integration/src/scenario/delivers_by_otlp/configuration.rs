//! Configurations with a file, and with ways to deliver by OTLP.

use std::path::Path;

use crate::services::pki::{Identity, Pki};

/// A sink.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    settings: String,
}

impl Way {
    /// By gRPC, with all other settings as they are where nobody says them.
    pub(super) fn new(name: &'static str, endpoint: String) -> Self {
        Self { name, settings: format!("endpoint = {endpoint:?}\n") }
    }

    /// With a setting, or several.
    pub(super) fn with(mut self, setting: &str) -> Self {
        self.settings += setting;
        self.settings.push('\n');
        self
    }

    /// By HTTP/protobuf.
    pub(super) fn protobuf(self) -> Self {
        self.with("protocol = \"http/protobuf\"")
    }

    /// By HTTP/JSON.
    pub(super) fn json(self) -> Self {
        self.with("protocol = \"http/json\"")
    }

    /// With the credential `token`.
    pub(super) fn token(self) -> Self {
        self.with("bearer_token = { credential = \"token\" }")
    }
}

/// All records go into the file `events.jsonl`, and each of these ways.
pub(super) fn of(ways: &[Way]) -> String {
    let mut text = "[sinks.out]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n".to_owned();
    for Way { name, settings } in ways {
        text += &format!("[sinks.{name}]\ntype = \"otlp\"\n{settings}");
    }
    let names: Vec<_> = ways.iter().map(|way| way.name).chain(["out"]).collect();
    text + &format!("[[routes]]\nname = \"all\"\nto = {names:?}\n")
}

/// Trusts our servers.
pub(super) fn trusting(pki: &Pki) -> String {
    tls(&pki.ca(), None)
}

/// Trusts our servers, and has a certificate that they trust.
pub(super) fn known(pki: &Pki) -> String {
    tls(&pki.ca(), Some(&pki.client()))
}

pub(super) fn tls(ca: &Path, identity: Option<&Identity>) -> String {
    let identity = identity.map_or_else(String::new, |Identity { certificate, key, .. }| {
        format!(", certificate_file = {certificate:?}, key = {{ file = {key:?} }}")
    });
    format!("tls = {{ ca_file = {ca:?}{identity} }}")
}
