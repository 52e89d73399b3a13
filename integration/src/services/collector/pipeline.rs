//! What a collector is told to do: from one receiver to one exporter, any number of times.

use serde_json::{Value, json};

use crate::services::pki::Pki;

/// From one receiver to one exporter. The settings are a collector's own; what is not set is off.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    signals: &'static [&'static str],
    receiver: Receiver,
    limits_memory: bool,
    exporter: Exporter,
}

/// What it asks of clients that come with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Nothing, and there is no TLS.
    Off,
    /// Nothing.
    Server,
    /// A certificate of our authority.
    Mutual,
    /// That they take a certificate that is not valid any more.
    Expired,
}

/// What is between a receiver, which answers its client, and the server that is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Nothing: the client gets the server's answer.
    Off,
    /// As many requests as this; the client is answered when it is full, too.
    Of(u32),
}

#[derive(Clone, Debug)]
enum Receiver {
    Otlp { tls: Tls, token: Option<String>, largest_request: Option<u32> },
    Kafka { brokers: String, topic: String, encoding: &'static str },
}

#[derive(Clone, Debug)]
enum Exporter {
    File,
    Grpc { endpoint: String, queue: Queue },
    Http { endpoint: String, queue: Queue },
    Kafka { brokers: String, topic: String },
}

/// Where the parts of one pipeline are.
pub(super) struct Place<'a> {
    pub(super) grpc: u16,
    pub(super) http: u16,
    pub(super) file: String,
    pub(super) pki: &'a Pki,
}

impl Pipeline {
    /// From clients of OTLP, by gRPC and by HTTP, into a file.
    pub(crate) fn otlp() -> Self {
        let receiver = Receiver::Otlp { tls: Tls::Off, token: None, largest_request: None };
        Self { signals: &["logs"], receiver, limits_memory: false, exporter: Exporter::File }
    }

    /// As [`Self::otlp`], for metrics, too.
    pub(crate) fn telemetry() -> Self {
        Self { signals: &["metrics", "logs"], ..Self::otlp() }
    }

    /// From a topic of Kafka into a file. `encoding` is `otlp_proto` or `otlp_json`.
    pub(crate) fn kafka(brokers: String, topic: &str, encoding: &'static str) -> Self {
        let receiver = Receiver::Kafka { brokers, topic: topic.to_owned(), encoding };
        Self { signals: &["logs"], receiver, limits_memory: false, exporter: Exporter::File }
    }

    /// What it asks of clients of OTLP.
    pub(crate) fn tls(mut self, asked: Tls) -> Self {
        if let Receiver::Otlp { tls, .. } = &mut self.receiver {
            *tls = asked;
        }
        self
    }

    /// Only clients of OTLP that send this bearer token.
    pub(crate) fn token(mut self, asked: &str) -> Self {
        if let Receiver::Otlp { token, .. } = &mut self.receiver {
            *token = Some(asked.to_owned());
        }
        self
    }

    /// Only requests of OTLP up to this many MiB.
    pub(crate) fn largest_request(mut self, mebibytes: u32) -> Self {
        if let Receiver::Otlp { largest_request, .. } = &mut self.receiver {
            *largest_request = Some(mebibytes);
        }
        self
    }

    /// Nothing at all: its memory is always above the limit.
    pub(crate) fn limits_memory(mut self) -> Self {
        self.limits_memory = true;
        self
    }

    /// To a server of OTLP by gRPC (`http://localhost:4317`).
    pub(crate) fn export_grpc(mut self, endpoint: String, queue: Queue) -> Self {
        self.exporter = Exporter::Grpc { endpoint, queue };
        self
    }

    /// To a server of OTLP by HTTP (`http://localhost:4318`).
    pub(crate) fn export_http(mut self, endpoint: String, queue: Queue) -> Self {
        self.exporter = Exporter::Http { endpoint, queue };
        self
    }

    /// To a topic of Kafka, acknowledged by all and compressed with zstd, with a queue on disk. A request of OTLP is a message.
    pub(crate) fn export_kafka(mut self, brokers: String, topic: &str) -> Self {
        self.exporter = Exporter::Kafka { brokers, topic: topic.to_owned() };
        self
    }

    /// Whether clients must come with TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(&self.receiver, Receiver::Otlp { tls, .. } if *tls != Tls::Off)
    }

    /// Adds the pipeline to a collector's configuration.
    pub(super) fn configure(&self, name: &str, place: &Place<'_>, configuration: &mut Value) {
        let (receiver, receiver_settings) = self.receiver(name, place, configuration);
        let (exporter, exporter_settings) = self.exporter(name, place, configuration);
        let processors: &[&str] = if self.limits_memory { &["memory_limiter"] } else { &[] };
        configuration["receivers"][&receiver] = receiver_settings;
        configuration["exporters"][&exporter] = exporter_settings;
        for signal in self.signals {
            configuration["service"]["pipelines"][format!("{signal}/{name}")] =
                json!({"receivers": [receiver], "processors": processors, "exporters": [exporter]});
        }
    }

    fn receiver(&self, name: &str, place: &Place<'_>, configuration: &mut Value) -> (String, Value) {
        match &self.receiver {
            Receiver::Otlp { tls, token, largest_request } => {
                let mut grpc = json!({"endpoint": format!("127.0.0.1:{}", place.grpc)});
                let mut http = json!({"endpoint": format!("127.0.0.1:{}", place.http)});
                if let Some(mebibytes) = largest_request {
                    grpc["max_recv_msg_size_mib"] = json!(mebibytes);
                    http["max_request_body_size"] = json!(mebibytes << 20);
                }
                for protocol in [&mut grpc, &mut http] {
                    if let Some(settings) = tls.settings(place.pki) {
                        protocol["tls"] = settings;
                    }
                    if let Some(token) = token {
                        let extension = format!("bearertokenauth/{name}");
                        protocol["auth"] = json!({"authenticator": extension});
                        configuration["extensions"][&extension] = json!({"token": token});
                    }
                }
                (format!("otlp/{name}"), json!({"protocols": {"grpc": grpc, "http": http}}))
            }
            Receiver::Kafka { brokers, topic, encoding } => {
                let brokers: Vec<_> = brokers.split(',').collect();
                let logs = json!({"topics": [topic], "encoding": encoding});
                let settings =
                    json!({"brokers": brokers, "group_id": topic, "initial_offset": "earliest", "logs": logs});
                (format!("kafka/{name}"), settings)
            }
        }
    }

    fn exporter(&self, name: &str, place: &Place<'_>, configuration: &mut Value) -> (String, Value) {
        let to = |endpoint: &str, queue: &Queue| {
            json!({
                "endpoint": endpoint,
                "tls": {"insecure": true},
                "sending_queue": queue.settings(),
                "retry_on_failure": {"enabled": *queue != Queue::Off, "initial_interval": "100ms", "max_interval": "1s"},
            })
        };
        match &self.exporter {
            // Appending, else a collector that is started again begins with an empty file.
            Exporter::File => {
                (format!("file/{name}"), json!({"path": place.file, "flush_interval": "20ms", "append": true}))
            }
            Exporter::Grpc { endpoint, queue } => (format!("otlp_grpc/{name}"), to(endpoint, queue)),
            Exporter::Http { endpoint, queue } => (format!("otlp_http/{name}"), to(endpoint, queue)),
            Exporter::Kafka { brokers, topic } => {
                let storage = format!("file_storage/{name}");
                let directory = format!("{}.queue", place.file);
                configuration["extensions"][&storage] = json!({"directory": directory, "create_directory": true});
                let brokers: Vec<_> = brokers.split(',').collect();
                let settings = json!({
                    "brokers": brokers,
                    "logs": {"topic": topic, "encoding": "otlp_proto"},
                    "producer": {"required_acks": -1, "compression": "zstd"},
                    "sending_queue": {"enabled": true, "storage": storage, "block_on_overflow": true},
                });
                (format!("kafka/{name}"), settings)
            }
        }
    }
}

impl Tls {
    fn settings(self, pki: &Pki) -> Option<Value> {
        let identity = match self {
            Self::Off => return None,
            Self::Server | Self::Mutual => pki.server(),
            Self::Expired => pki.expired_server(),
        };
        let mut settings = json!({"cert_file": identity.certificate, "key_file": identity.key});
        if self == Self::Mutual {
            settings["client_ca_file"] = json!(pki.ca());
        }
        Some(settings)
    }
}

impl Queue {
    fn settings(self) -> Value {
        match self {
            Self::Off => json!({"enabled": false}),
            Self::Of(requests) => json!({
                "enabled": true,
                "num_consumers": 1,
                "sizer": "requests",
                "queue_size": requests,
                "block_on_overflow": false,
            }),
        }
    }
}
