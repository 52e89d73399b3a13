//! The ways into a broker, and who may come in.

use std::{net::Ipv4Addr, time::SystemTime};

use serde_json::json;

use crate::{guest, services::pki::Pki};

/// A port of a broker, by what it asks of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Nothing.
    Plaintext,
    /// TLS.
    Tls,
    /// TLS with a certificate of the client's.
    MutualTls,
    /// TLS and a password or a token.
    Sasl,
    /// As [`Listener::Tls`], with a certificate of the broker's that is not valid any more.
    Expired,
    /// As [`Listener::Sasl`], for clients in guests.
    Guest,
}

/// Somebody with a password.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct User {
    /// As the broker's access rights call them.
    pub(crate) name: &'static str,
    /// What must not be found anywhere else.
    pub(crate) password: &'static str,
}

impl User {
    /// A token (OAUTHBEARER) that says so for an hour, and that nobody signed.
    pub(crate) fn token(self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({"sub": self.name, "iat": now, "exp": now + 3600});
        format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(claims.to_string().as_bytes()))
    }
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = |chunk: &[u8]| {
        let bits = chunk.iter().chain([0; 2].iter()).take(3).fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        let letters = [18, 12, 6, 0].map(|shift| char::from(ALPHABET[bits >> shift & 63]));
        letters.into_iter().take(chunk.len() + 1)
    };
    bytes.chunks(3).flat_map(letters).collect()
}

/// May do everything.
pub(crate) const ALICE: User = User { name: "alice", password: "alice-secret" };
/// May do nothing.
pub(crate) const BOB: User = User { name: "bob", password: "bob-secret" };

/// Who may do everything, as the broker knows them: without a name, by password or token, by certificate.
pub(super) const SUPER_USERS: &str = "User:ANONYMOUS;User:alice;User:CN=client";
/// The mechanisms of SASL whose passwords the brokers keep, to be stored as a data folder is formatted.
pub(super) const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
/// Those that have a password.
pub(super) const USERS: [User; 2] = [ALICE, BOB];

impl Listener {
    /// All that a broker has.
    pub(super) const ALL: [Self; 6] =
        [Self::Plaintext, Self::Tls, Self::MutualTls, Self::Sasl, Self::Expired, Self::Guest];

    /// Its name in the broker's settings.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Tls => "TLS",
            Self::MutualTls => "MTLS",
            Self::Sasl => "SASL",
            Self::Expired => "EXPIRED",
            Self::Guest => "GUEST",
        }
    }

    /// Kafka's word for what it speaks (`security.protocol`).
    pub(super) const fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Tls | Self::MutualTls | Self::Expired => "SSL",
            Self::Sasl | Self::Guest => "SASL_SSL",
        }
    }

    /// Where its clients find it.
    pub(super) const fn host(self) -> Ipv4Addr {
        match self {
            Self::Guest => guest::HOST,
            _ => Ipv4Addr::LOCALHOST,
        }
    }

    /// The settings that only it has, below `listener.name.NAME.`.
    pub(super) fn properties(self, pki: &Pki) -> Vec<(String, String)> {
        match self {
            Self::Plaintext | Self::Tls => Vec::new(),
            Self::MutualTls => vec![("ssl.client.auth".to_owned(), "required".to_owned())],
            Self::Expired => vec![
                ("ssl.keystore.type".to_owned(), "PEM".to_owned()),
                ("ssl.keystore.location".to_owned(), pki.expired_server().both.display().to_string()),
            ],
            Self::Sasl | Self::Guest => logins(),
        }
    }
}

/// The login modules of each mechanism. Tokens are taken as they are, without a signature: a broker does so where nothing else is set.
fn logins() -> Vec<(String, String)> {
    const MODULES: &str = "org.apache.kafka.common.security";
    let passwords: String = USERS.iter().map(|user| format!(" user_{}=\"{}\"", user.name, user.password)).collect();
    let plain = ("PLAIN", format!("{MODULES}.plain.PlainLoginModule required{passwords};"));
    let scram = SCRAM.map(|mechanism| (mechanism, format!("{MODULES}.scram.ScramLoginModule required;")));
    let token =
        format!("{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";");
    let all = [plain].into_iter().chain(scram).chain([("OAUTHBEARER", token)]);
    all.map(|(mechanism, module)| (format!("{}.sasl.jaas.config", mechanism.to_lowercase()), module)).collect()
}
