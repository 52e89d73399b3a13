//! The configuration as librdkafka calls it.

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{BaseProducer, DefaultProducerContext},
};

use super::{super::super::SecretError, Compression, Extra, KafkaSink, Sasl};
use crate::route::template::Template;

/// What is the same for every sink. Guarantees first, then what a daemon wants that runs for years.
const ALWAYS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // librdkafka never gives a message up by itself: what it gave up could be stored all the same
    ("message.timeout.ms", "0"),
    // a refusal that lasts comes to light with the broker's words after some 8 s; too few replicas after a minute or so, as a broker of
    // Kafka 4 takes request.timeout.ms for each answer
    ("retries", "10"),
    ("topic.metadata.propagation.max.ms", "5000"),
    // a broker that is back is found soon
    ("reconnect.backoff.max.ms", "2000"),
    ("client.id", "kmodtrail"),
    ("socket.keepalive.enable", "true"),
    ("enable.metrics.push", "false"),
];

/// Why librdkafka does not take a configuration, without the value: it may be a secret.
pub(crate) fn refusal(error: KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, name, _) => format!("{name}: {why}"),
        KafkaError::ClientCreation(why) => why,
        other => other.to_string(),
    }
}

impl KafkaSink {
    /// As librdkafka calls it, with secrets in it.
    ///
    /// # Errors
    /// Where a secret can't be read.
    pub fn native(&self) -> Result<ClientConfig, SecretError> {
        let mut native = self.without_security();
        let brokers: Vec<_> = self.brokers.iter().map(ToString::to_string).collect();
        native.set("bootstrap.servers", brokers.join(","));
        native.set(
            "security.protocol",
            match (&self.sasl, &self.tls) {
                (None, None) => "plaintext",
                (None, Some(_)) => "ssl",
                (Some(_), None) => "sasl_plaintext",
                (Some(_), Some(_)) => "sasl_ssl",
            },
        );
        if let Some(tls) = &self.tls {
            let authorities = tls.ca_file.as_ref().map_or("probe".into(), |file| file.to_string_lossy());
            native.set("ssl.ca.location", authorities);
            if let (Some(certificate), Some(key)) = (&tls.certificate_file, &tls.key) {
                native.set("ssl.certificate.location", certificate.to_string_lossy());
                native.set("ssl.key.pem", key.reveal()?.expose());
            }
        }
        match &self.sasl {
            None => {}
            Some(Sasl::Plain(login) | Sasl::ScramSha256(login) | Sasl::ScramSha512(login)) => {
                native.set("sasl.username", &login.username);
                native.set("sasl.password", login.password.reveal()?.expose());
            }
            // librdkafka asks for the token when it needs it
            Some(Sasl::OauthBearer { token }) => drop(token.reveal()?),
            Some(Sasl::Gssapi(kerberos)) => {
                native.set("sasl.kerberos.principal", &kerberos.principal);
                native.set("sasl.kerberos.keytab", kerberos.keytab.to_string_lossy());
                native.set("sasl.kerberos.service.name", &kerberos.service_name);
            }
        }
        if let Some(sasl) = &self.sasl {
            native.set("sasl.mechanism", sasl.mechanism());
        }
        Ok(native)
    }

    /// Whether librdkafka takes these options together, with everything else as it is where nobody says it. Else what it says.
    pub(super) fn try_out(options: &[Extra]) -> Result<(), String> {
        let topic = Template::parse("topic").expect("it is a name");
        let sink = Self { librdkafka: options.to_vec(), ..Self::new(vec![], topic) };
        let mut native = sink.without_security();
        native.set_log_level(RDKafkaLogLevel::Emerg);
        let producer = native.create_with_context::<_, BaseProducer<_>>(DefaultProducerContext);
        producer.map(drop).map_err(refusal)
    }

    fn without_security(&self) -> ClientConfig {
        let mut native = ClientConfig::new();
        // some failures are told in the log only
        native.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in ALWAYS {
            native.set(*name, *value);
        }
        native.set("compression.type", self.compression.native());
        native.set("linger.ms", (self.linger.as_secs_f64() * 1e3).to_string());
        native.set("batch.size", self.batch_size.0.to_string());
        native.set("message.max.bytes", self.max_message_size.0.to_string());
        // one request is filled at a time; twice that, as librdkafka is late in giving memory back
        let queue = 2 * self.batch_size.0.max(self.max_message_size.0);
        native.set("queue.buffering.max.kbytes", (queue >> 10).to_string());
        for option in &self.librdkafka {
            native.set(&option.name, &option.value);
        }
        native
    }
}

impl Compression {
    const fn native(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl Sasl {
    const fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::ScramSha256(_) => "SCRAM-SHA-256",
            Self::ScramSha512(_) => "SCRAM-SHA-512",
            Self::OauthBearer { .. } => "OAUTHBEARER",
            Self::Gssapi(_) => "GSSAPI",
        }
    }
}
