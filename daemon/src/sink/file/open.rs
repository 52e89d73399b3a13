//! Opens the file that is meant, and nothing that somebody else has put in its place.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, readlinkat},
    libc,
    unistd::geteuid,
};

/// A regular file, open for reading and for appending.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// Where it is; where the configured path is a link, what that leads to.
    pub(super) path: PathBuf,
}

/// Opens the file, or makes it with these permissions, whatever the umask is.
///
/// A link in the last component is followed once, and only where root or this user owns it: whoever else may write in the folder could
/// make us append to any file that we may write.
pub(super) fn open(path: &Path, mode: u32) -> io::Result<Opened> {
    match open_no_link(path, mode) {
        Err(e) if is_link(&e) => {}
        other => return other,
    }
    let target = target(path)?;
    open_no_link(&target, mode).map_err(|e| if is_link(&e) { refused("it is a link to a link") } else { e })
}

fn open_no_link(path: &Path, mode: u32) -> io::Result<Opened> {
    // no waiting for the other end of a FIFO
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(mode).custom_flags(flags.bits());
    loop {
        match options.clone().create_new(true).open(path) {
            Ok(file) => {
                file.set_permissions(Permissions::from_mode(mode))?;
                return Ok(Opened { file, path: path.to_owned() });
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        // looked at before it is opened: to open some devices does something
        match fs::symlink_metadata(path).and_then(|found| regular(&found)).and_then(|()| options.open(path)) {
            Ok(file) => {
                regular(&file.metadata()?)?;
                return Ok(Opened { file, path: path.to_owned() });
            }
            // deleted since: the name is free
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
}

fn regular(found: &fs::Metadata) -> io::Result<()> {
    if found.is_file() {
        Ok(())
    } else if found.is_symlink() {
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    } else if found.is_dir() {
        Err(refused("it is a folder"))
    } else {
        Err(refused("it is a device, socket or pipe"))
    }
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why.into())
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

/// What a link leads to. Its owner and its content are those of one link, whoever changes the name meanwhile.
fn target(path: &Path) -> io::Result<PathBuf> {
    let link = OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_NOFOLLOW).bits()).open(path)?;
    let owner = link.metadata()?.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(refused(format!("it is a link of the user {owner}, not of root or the daemon's own user")));
    }
    let target = readlinkat(&link, "")?;
    Ok(path.parent().unwrap_or(Path::new("/")).join(target))
}

/// Makes durable what names the folder of `path` has.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all() {
        // this file system has no fsync for folders
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{self, fs::FileTypeExt as _};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn refusal(path: &Path) -> String {
        open(path, 0o640).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_new_file_has_the_mode_whatever_the_umask_and_an_old_one_keeps_its_own() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("events.jsonl");
        let mode = |opened: &Opened| opened.file.metadata().expect("it is open").permissions().mode() & 0o7777;
        // the umask of whoever runs the tests takes at least the write bit for others away, else this proves nothing
        let made = open(&path, 0o666).expect("it can be made");
        assert_eq!(mode(&made), 0o666);
        let found = open(&path, 0o600).expect("it can be opened");
        assert_eq!(mode(&found), 0o666);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        assert_eq!(refusal(folder.path()), "it is a folder");
        assert_eq!(refusal(Path::new("/dev/null")), "it is a device, socket or pipe");
        // without a reader: to open it for writing would wait for one
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("the test may make a FIFO");
        assert_eq!(refusal(&fifo), "it is a device, socket or pipe");
        assert!(fs::metadata(&fifo).expect("it is still there").file_type().is_fifo());
    }

    #[test]
    fn a_link_is_followed_once_also_to_what_is_not_there_yet() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let [link, second, target] = ["link", "second", "target"].map(|name| folder.path().join(name));
        unix::fs::symlink("target", &link).expect("the test may make links");
        for _ in 0..2 {
            assert_eq!(open(&link, 0o640).expect("it can be made, then opened").path, target);
            assert!(target.is_file());
        }
        unix::fs::symlink(&link, &second).expect("the test may make links");
        assert_eq!(refusal(&second), "it is a link to a link");
    }

    #[test]
    fn a_link_of_another_user_is_refused() {
        assert!(geteuid().is_root(), "run the tests as root: only root can give a link to another user");
        let folder = tempfile::tempdir().expect("a folder for the test");
        let link = folder.path().join("link");
        unix::fs::symlink("/etc/passwd", &link).expect("the test may make links");
        unix::fs::lchown(&link, Some(65_534), None).expect("root may give it away");
        assert_eq!(refusal(&link), "it is a link of the user 65534, not of root or the daemon's own user");
    }
}
