//! Ports to listen on.
//!
//! Not those that the kernel gives: they come from the range of outgoing connections, so that while a server is down for
//! a moment any connection could take its port. These lie below that range.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, bail};

const FIRST: u32 = 10_240;
/// Where the range of outgoing connections begins (net.ipv4.ip_local_port_range).
const LAST: u32 = 32_767;
const COUNT: u32 = LAST - FIRST + 1;

/// A port of 127.0.0.1 that nobody listens on. The same one is not given twice.
///
/// # Errors
/// When all are taken.
pub(crate) fn free() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // Another xtask begins somewhere else.
        let step = process::id().wrapping_mul(257).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + step % COUNT)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port from {FIRST} to {LAST}")
}
