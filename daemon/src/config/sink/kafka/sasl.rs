//! `[sinks.NAME.sasl]`: how the daemon says who it is.

use std::path::PathBuf;

use super::super::super::{Secret, table::Table};

/// `[sinks.NAME.sasl]`, by `mechanism`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// "PLAIN"
    Plain(Login),
    /// "SCRAM-SHA-256"
    ScramSha256(Login),
    /// "SCRAM-SHA-512"
    ScramSha512(Login),
    /// "OAUTHBEARER"
    OauthBearer {
        /// `token`: what is sent to the broker, a JWT as a rule. It is read again every minute: whoever renews it writes it there.
        token: Secret,
    },
    /// "GSSAPI", in a build with the feature of that name.
    Gssapi(Kerberos),
}

/// Who the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `username`
    pub username: String,
    /// `password`
    pub password: Secret,
}

/// Who the daemon is, by Kerberos. The program kinit must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kerberos {
    /// `principal`: the daemon's own, such as "kmodtrail/web-1.example.com@EXAMPLE.COM".
    pub principal: String,
    /// `keytab`: the file with its key.
    pub keytab: PathBuf,
    /// `service_name`, default "kafka": the brokers' principal up to its slash.
    pub service_name: String,
}

/// `mechanism`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
    Gssapi,
}

impl Sasl {
    /// Whoever listens on the way to the broker can read the secret, and use it.
    pub(super) const fn shows_secret(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::OauthBearer { .. })
    }
}

pub(super) fn read(mut table: Table<'_>) -> Option<Sasl> {
    let place = table.place("mechanism");
    // without it nobody knows which keys there may be
    let sasl = match table.required("mechanism")? {
        Mechanism::Plain => login(&mut table).map(Sasl::Plain),
        Mechanism::ScramSha256 => login(&mut table).map(Sasl::ScramSha256),
        Mechanism::ScramSha512 => login(&mut table).map(Sasl::ScramSha512),
        Mechanism::OauthBearer => secret(&mut table, "token").map(|token| Sasl::OauthBearer { token }),
        Mechanism::Gssapi if cfg!(feature = "gssapi") => kerberos(&mut table).map(Sasl::Gssapi),
        Mechanism::Gssapi => {
            let what = "this kmodtrail was built without Kerberos";
            table.wrong(
                &place,
                "mechanism",
                what,
                "another mechanism, or one built with `cargo build --features gssapi`",
            );
            return None;
        }
    };
    table.finish();
    sasl
}

fn login(table: &mut Table<'_>) -> Option<Login> {
    let username = table.required("username");
    let password = secret(table, "password");
    Some(Login { username: username?, password: password? })
}

fn kerberos(table: &mut Table<'_>) -> Option<Kerberos> {
    let principal = table.required("principal");
    let place = table.place("keytab");
    let keytab = table.absolute_path("keytab");
    if keytab.is_none() {
        table.wrong(&place, "keytab", "it is missing", "the absolute path of a keytab");
    }
    let service_name = table.optional("service_name").unwrap_or_else(|| "kafka".to_owned());
    Some(Kerberos { principal: principal?, keytab: keytab?, service_name })
}

/// A secret that is there, as far as whoever checks can tell.
fn secret(table: &mut Table<'_>, key: &'static str) -> Option<Secret> {
    let place = table.place(key);
    let secret = table.required::<Secret>(key)?;
    if let Err(e) = secret.reveal_if_possible() {
        table.wrong(&place, key, e.what, e.allowed);
    }
    Some(secret)
}
