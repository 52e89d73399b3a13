//! A unix socket that tells the status to whoever connects, and closes.

use std::{
    fs,
    io::{self, ErrorKind, Read as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::Pid,
};
use tokio::{io::AsyncWriteExt as _, net::UnixListener};

/// Who asks and does not listen is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer, or nobody can ask.
#[derive(Debug, thiserror::Error)]
#[error("status socket {}: {source}; allowed: {allowed}", path.display())]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
    allowed: &'static str,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens. What an earlier process left there is taken away; must be called in a runtime.
    ///
    /// # Errors
    /// Where it can't be made, or another daemon answers there.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let error = |source: io::Error| {
            let allowed = match source.kind() {
                ErrorKind::AddrInUse => "one kmodtrail, or another `socket` in [status]",
                _ => {
                    "a path in a folder where this user may make files (systemd makes /run/kmodtrail for the service); `kmodtrail status` does not work without"
                }
            };
            SocketError { path: path.to_owned(), source, allowed }
        };
        if StdStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
            fs::remove_file(path).map_err(error)?;
        }
        let listener = StdListener::bind(path).map_err(error)?;
        // command lines are not in it, but it is nobody else's business
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        Ok(Self { listener: UnixListener::from_std(listener).map_err(error)?, path: path.to_owned() })
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) -> Question {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Question(stream),
                // too many open files, a peer that was gone at once: it does not get better by trying at once
                Err(error) => {
                    tracing::debug!(%error, "nobody can ask for the status now");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // the next daemon would do it
        let _ = fs::remove_file(&self.path);
    }
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Question(tokio::net::UnixStream);

impl Question {
    /// Sends it, without waiting for whoever does not read it.
    pub fn answer(mut self, text: String) {
        tokio::spawn(async move {
            // it is the other side's loss
            let _ = tokio::time::timeout(PATIENCE, self.0.write_all(text.as_bytes())).await;
        });
    }
}

/// Asks the daemon that listens there.
///
/// # Errors
/// Where none does, or it does not answer.
pub fn ask(path: &Path) -> Result<String, SocketError> {
    let ask = || {
        let mut stream = StdStream::connect(path)?;
        stream.set_read_timeout(Some(2 * PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        if text.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
    };
    ask().map_err(|source| nobody(path, source))
}

/// The process that listens there, by what the kernel says.
///
/// # Errors
/// Where none does.
pub fn daemon(path: &Path) -> Result<Pid, SocketError> {
    let stream = StdStream::connect(path).map_err(|source| nobody(path, source))?;
    let peer = getsockopt(&stream, PeerCredentials).map_err(|source| nobody(path, source.into()))?;
    Ok(Pid::from_raw(peer.pid()))
}

fn nobody(path: &Path, source: io::Error) -> SocketError {
    let allowed = match source.kind() {
        ErrorKind::PermissionDenied => "root, or a member of the group kmodtrail",
        _ => "a running daemon (`systemctl status kmodtrail`), and the --config that it was started with",
    };
    SocketError { path: path.to_owned(), source, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_is_answered_and_a_second_daemon_is_refused() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("status.sock");
        let nobody = ask(&path).expect_err("nobody listens").to_string();
        assert!(nobody.contains("status.sock") && nobody.contains("a running daemon"), "{nobody}");
        let socket = Socket::bind(&path).expect("it can be made");
        let asking = tokio::task::spawn_blocking({
            let path = path.clone();
            move || ask(&path)
        });
        socket.asked().await.answer("{}".to_owned());
        assert_eq!(asking.await.expect("it did not panic").expect("it is answered"), "{}");
        let second = Socket::bind(&path).expect_err("one listens already").to_string();
        assert!(second.contains("one kmodtrail"), "{second}");
        drop(socket);
        assert!(!path.exists());
        // what a killed daemon leaves
        drop(StdListener::bind(&path).expect("it can be made"));
        assert!(path.exists());
        Socket::bind(&path).expect("nobody listens there any more");
    }
}
