//! Descriptors that a process keeps for another one, and hands over on a unix socket: before the unit is started that has systemd keep them.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
            accept4, bind, connect, getsockopt, listen, recv, recvmsg, send, sendmsg, setsockopt, socket,
            sockopt::{PeerCredentials, ReceiveTimeout, SendTimeout},
        },
        time::{TimeVal, TimeValLike as _},
    },
};

/// Its name in the RuntimeDirectory of kmodtrail-early.service.
const SOCKET: &str = "/run/kmodtrail-early/socket";
/// So long one side waits for the other, seconds.
const PATIENCE: i64 = 5;
/// What the one says that has them.
const TAKEN: &[u8] = b"taken";
/// No name is longer.
const LONGEST_NAME: usize = 256;

fn endpoint() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?)
}

fn patient(socket: &OwnedFd) -> io::Result<()> {
    let patience = TimeVal::seconds(PATIENCE);
    setsockopt(socket, ReceiveTimeout, &patience)?;
    setsockopt(socket, SendTimeout, &patience)?;
    Ok(())
}

/// Where descriptors wait for [`take`].
#[derive(Debug)]
pub struct Holder {
    listener: OwnedFd,
    path: PathBuf,
}

impl Holder {
    /// In the folder that systemd has made for kmodtrail-early.service, which is root's.
    ///
    /// # Errors
    /// Where the socket can't be made.
    pub fn new() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let listener = endpoint()?;
        let _ = fs::remove_file(path);
        bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&listener, Backlog::new(1)?)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Waits until somebody of this process's user, or root, has taken them.
    ///
    /// # Errors
    /// Where nobody can come any more.
    pub fn hand_over(self, descriptors: &[(String, OwnedFd)]) -> io::Result<()> {
        loop {
            let peer = match accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                // SAFETY: accept4(2) has just opened it for us.
                Ok(peer) => unsafe { OwnedFd::from_raw_fd(peer) },
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            match give(&peer, descriptors) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "what is attached to the kernel was not taken over, and waits for the next one");
                }
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn give(peer: &OwnedFd, descriptors: &[(String, OwnedFd)]) -> io::Result<()> {
    let who = getsockopt(peer, PeerCredentials)?.uid();
    if who != 0 && who != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {who} has asked for it")));
    }
    patient(peer)?;
    for (name, descriptor) in descriptors {
        let right = [descriptor.as_raw_fd()];
        let right = [ControlMessage::ScmRights(&right)];
        sendmsg::<()>(peer.as_raw_fd(), &[IoSlice::new(name.as_bytes())], &right, MsgFlags::MSG_NOSIGNAL, None)?;
    }
    // what has no descriptor is the end
    send(peer.as_raw_fd(), TAKEN, MsgFlags::MSG_NOSIGNAL)?;
    let mut answer = [0; TAKEN.len()];
    let length = recv(peer.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    if answer.get(..length) == Some(TAKEN) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// What was taken, until [`Taken::confirm`] the other process keeps it, too.
#[derive(Debug)]
pub struct Taken {
    /// By their names, in the order in which they were kept.
    pub descriptors: Vec<(String, OwnedFd)>,
    peer: OwnedFd,
}

/// Asks for what a [`Holder`] has. `None` where there is none.
///
/// # Errors
/// Where it does not give it whole.
pub fn take() -> io::Result<Option<Taken>> {
    take_from(Path::new(SOCKET))
}

fn take_from(path: &Path) -> io::Result<Option<Taken>> {
    let peer = endpoint()?;
    patient(&peer)?;
    match connect(peer.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => {}
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut descriptors = Vec::new();
    loop {
        let mut name = [0; LONGEST_NAME];
        let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut name)];
        let message = recvmsg::<()>(peer.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let rights: Vec<OwnedFd> = message
            .cmsgs()?
            .filter_map(|control| if let ControlMessageOwned::ScmRights(fds) = control { Some(fds) } else { None })
            .flatten()
            // SAFETY: the kernel has just opened them for us.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect();
        let length = message.bytes;
        let text = name.get(..length).unwrap_or_default();
        match <[OwnedFd; 1]>::try_from(rights) {
            Ok([descriptor]) => descriptors.push((String::from_utf8_lossy(text).into_owned(), descriptor)),
            Err(_) if text == TAKEN => return Ok(Some(Taken { descriptors, peer })),
            Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Taken {
    /// Somebody else keeps them.
    ///
    /// # Errors
    /// Where the other process can't be told.
    pub fn confirm(self) -> io::Result<()> {
        send(self.peer.as_raw_fd(), TAKEN, MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Seek as _, Write as _},
    };

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    fn kept(text: &str) -> (String, OwnedFd) {
        let mut file = File::from(memfd_create("kept", MFdFlags::empty()).expect("it can be made"));
        file.write_all(text.as_bytes()).expect("it can be written");
        (text.to_owned(), file.into())
    }

    #[test]
    fn what_one_process_holds_another_one_takes_whole_and_one_that_fails_leaves_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        assert!(take_from(&path).expect("nobody is no error").is_none());
        let holder = Holder::at(&path).expect("it can listen");
        let giver = std::thread::spawn(move || holder.hand_over(&[kept("one"), kept("two")]));
        // the first one ends before it says that it has them
        drop(take_from(&path).expect("it is given").expect("somebody is there"));
        let taken = take_from(&path).expect("it is given").expect("somebody is there");
        let read = |(name, descriptor): &(String, OwnedFd)| {
            let mut file = File::from(descriptor.try_clone().expect("one more"));
            let mut text = String::new();
            file.rewind().and_then(|()| file.read_to_string(&mut text).map(drop)).expect("it can be read");
            (name.clone(), text)
        };
        let all: Vec<_> = taken.descriptors.iter().map(read).collect();
        assert_eq!(all, ["one", "two"].map(|text| (text.to_owned(), text.to_owned())));
        taken.confirm().expect("it listens");
        giver.join().expect("it does not panic").expect("it has handed everything over");
        assert!(take_from(&path).expect("nobody is no error").is_none(), "it is handed over once");
    }
}
