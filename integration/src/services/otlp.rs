//! OTLP, spoken by the tests themselves: as a client of real collectors, and as a server that follows a script.

pub(crate) mod client;
mod connection;
pub(crate) mod server;

/// A way to send OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC.
    Grpc,
    /// HTTP, with protobuf or JSON.
    Http,
}
