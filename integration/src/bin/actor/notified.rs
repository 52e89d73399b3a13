//! The service manager's end of sd_notify(3), where there is no systemd.

use std::{fs::File, io::Write as _, os::unix::net::UnixDatagram, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

pub(crate) fn listen(socket: &Path, file: &Path) -> Result<ExitCode> {
    let receiver = UnixDatagram::bind(socket).with_context(|| format!("making the socket {}", socket.display()))?;
    let mut messages = File::create(file).with_context(|| format!("creating {}", file.display()))?;
    let mut message = [0; 4096];
    loop {
        let length = receiver.recv(&mut message).with_context(|| format!("reading from {}", socket.display()))?;
        messages
            .write_all(&message[..length])
            .and_then(|()| messages.write_all(b"\n"))
            .with_context(|| format!("writing to {}", file.display()))?;
    }
}
