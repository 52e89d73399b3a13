//! What librdkafka's errors mean for whoever has to do something about them.

use std::{sync::Arc, time::Duration};

use rdkafka::error::RDKafkaErrorCode as Code;

/// Of a record whose batch was given up.
pub(super) const UNKNOWN: &str = "nobody knows whether it was stored; it is sent again with the same log.record.uid";

/// A broker will not take that record, or one in the same batch, however often it is tried.
pub(super) const fn condemns(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize | Code::InvalidRecord
    )
}

/// Why a message was not taken. `connection`: what is known of connections that do not work.
pub(super) fn of_message(code: Code, topic: &str, connection: Option<&str>) -> String {
    let cure = match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            "it is longer than max_message_size of the sink, or than max.message.bytes of the topic: raise what is too little"
        }
        Code::InvalidRecord => {
            "see in the broker's log which rule of the topic it breaks, such as a key where cleanup.policy is compact"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "make the topic or correct `topic`; where the user may not even see it, an ACL Describe and Write on it"
        }
        Code::TopicAuthorizationFailed => "give the user that the daemon is an ACL Write on the topic",
        Code::ClusterAuthorizationFailed => "give the user that the daemon is an ACL IdempotentWrite on the cluster",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "bring the brokers back that have its replicas, or lower its min.insync.replicas"
        }
        Code::KafkaStorageError => "make room on the broker's disk or repair it, and see the broker's log",
        Code::QueueFull => "raise max_message_size",
        Code::MessageTimedOut => "see in the brokers' logs why they don't answer in time",
        // what happened to all of them is told by the connection
        Code::Fatal | Code::PurgeQueue | Code::PurgeInflight | Code::BrokerTransportFailure | Code::AllBrokersDown => {
            return connection.map_or_else(|| format!("topic \"{topic}\": {code}: {UNKNOWN}"), ToOwned::to_owned);
        }
        _ => "see the broker's log",
    };
    format!("topic \"{topic}\": {code}: {cure}")
}

/// Why a connection does not work. `reason` is what librdkafka says of it.
pub(super) fn of_connection(code: Code, reason: &str) -> String {
    let cure = if is_about_tls(code, reason) {
        "compare [sinks.NAME.tls] with what the broker wants: the CA that signed its certificate, the name and the time in that, and the \
         client's own certificate"
    } else {
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
                "correct [sinks.NAME.sasl], the secret that it names, or the user at the broker"
            }
            Code::Resolve => "correct `brokers`, or the name service",
            Code::Fatal => "a new producer takes over",
            _ => {
                "see that a broker runs there and can be reached, and that it expects TLS and SASL as [sinks.NAME.tls] and \
                 [sinks.NAME.sasl] say"
            }
        }
    };
    format!("{}: {cure}", essence(reason))
}

/// No broker answers, and librdkafka says nothing of it.
pub(super) fn silence(lasted: Duration) -> Arc<str> {
    let seconds = lasted.as_secs();
    format!(
        "no broker has acknowledged anything for {seconds} s: see whether brokers are stopped, overloaded or have too few replicas, or hold \
         this client back by a quota"
    )
    .into()
}

/// It is about secrets or certificates, which a producer reads once.
pub(super) fn is_about_security(code: Code, reason: &str) -> bool {
    matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::Fatal) || is_about_tls(code, reason)
}

fn is_about_tls(code: Code, reason: &str) -> bool {
    code == Code::SSL || reason.contains("SSL routines")
}

/// What is the same every time: the log and the error callback tell one failure in different words, and with the time it took.
fn essence(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or_default();
    // what follows speaks of librdkafka's own options
    let reason = reason.split(": broker certificate could not be verified").next().unwrap_or_default();
    reason.replace("SSL handshake failed: error:", "error:")
}

/// "[thrd:NAME]: NAME: message": a line of the log without what it begins with.
pub(super) fn without_thread(line: &str) -> &str {
    line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(line, |(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_has_one_wording_and_a_cure() {
        let logged = without_thread(
            "[thrd:ssl://k:1/bootstrap]: ssl://k:1/bootstrap: error:0A000086:SSL routines::certificate verify failed",
        );
        let told = "ssl://k:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could \
                    not be verified, verify that ssl.ca.location is correctly configured (after 2ms in state SSL_HANDSHAKE, 1 identical error(s) \
                    suppressed)";
        let why = of_connection(Code::BrokerTransportFailure, logged);
        assert_eq!(why, of_connection(Code::SSL, told));
        assert!(why.starts_with("ssl://k:1/bootstrap: error:0A000086") && why.contains("[sinks.NAME.tls]"), "{why}");
        assert!(is_about_security(Code::BrokerTransportFailure, logged));
        assert!(!is_about_security(
            Code::BrokerTransportFailure,
            "k:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused"
        ));
    }

    #[test]
    fn what_happened_to_all_messages_is_told_by_the_connection() {
        assert_eq!(of_message(Code::Fatal, "t", Some("fenced")), "fenced");
        assert!(of_message(Code::PurgeQueue, "t", None).contains("the same log.record.uid"));
        assert!(of_message(Code::NotEnoughReplicas, "t", Some("fenced")).contains("Not enough in-sync replicas"));
    }
}
