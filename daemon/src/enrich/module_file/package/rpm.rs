//! The host's rpm, asked which package has a file.
//!
//! Its database is not read here but by the program that it belongs to: by the release it is sqlite, Berkeley DB or rpm's own ndb, at one of
//! three places, and who may only read must know how each goes on while another writes. Where rpm is, rpm can read it. It is started where
//! there is a database, once for each state of a module's file, by the thread that nobody waits for longer than for the file's hash. It
//! gets no environment, no user's configuration, no capability, and a path only that no release of it takes for anything else.

use std::{
    fs::{self, Metadata},
    io::{self, PipeReader, Read as _},
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    event::{Package, Text},
    host::Host,
};

const PROGRAM: &str = "/usr/bin/rpm";
/// Where distributions have the database, and its file by backend: sqlite, Berkeley DB, ndb.
const FOLDERS: [&str; 3] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm"];
const FILES: [&str; 3] = ["rpmdb.sqlite", "Packages", "Packages.db"];
/// It takes some hundredths of a second.
const LONGEST: Duration = Duration::from_secs(2);
/// It says two lines.
const MOST: usize = 64 << 10;
/// One that hangs is not started again for each file.
const AGAIN: Duration = Duration::from_secs(10);

/// What its answer begins with, so that nothing else that it may say is taken for it.
const OWNER: &str = "kmodtrail-owner";

#[derive(Debug)]
pub(super) struct Rpm {
    host: Host,
    failed: Option<(Instant, String)>,
}

impl Rpm {
    pub(super) const fn of(host: Host) -> Self {
        Self { host, failed: None }
    }

    /// `None` where it has no database.
    pub(super) fn owner(&mut self, path: &Path) -> Option<Package> {
        let has_database = |folder: &&Path| FILES.iter().any(|file| may_be_there(&self.host.path(&folder.join(file))));
        let folder = FOLDERS.map(Path::new).into_iter().find(has_database)?;
        Some(self.ask(folder, path).unwrap_or_else(Package::Unknown))
    }

    fn ask(&mut self, folder: &Path, path: &Path) -> Result<Package, String> {
        if let Some((when, why)) = &self.failed
            && when.elapsed() < AGAIN
        {
            return Err(why.clone());
        }
        if !is_harmless(path) {
            return Err("rpm is not asked about a path with a percent sign or a control character".to_owned());
        }
        for place in [Path::new("/"), Path::new(PROGRAM), folder] {
            self.is_ours(place)?;
        }
        inherit_no_capability().map_err(|error| format!("can't drop the capabilities for rpm: {error}"))?;
        let mut rpm = Command::new(PROGRAM);
        // in the user's home it looks for macros, Debian's for a database
        rpm.env_clear().env("LC_ALL", "C").env("HOME", "/dev/null").current_dir("/");
        rpm.arg("-qf").arg("--dbpath").arg(folder);
        rpm.arg("--queryformat").arg(format!("{OWNER}\\t%{{NAME}}\\t%{{EVR}}\\n")).arg("--").arg(path);
        let said = said_by(&mut rpm, LONGEST).and_then(|said| answer(&said, path));
        self.failed = said.as_ref().err().map(|why| (Instant::now(), why.clone()));
        said
    }

    /// A container has a rpm of its own, which knows nothing of the host's files.
    fn is_ours(&self, path: &Path) -> Result<(), String> {
        let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let host = fs::metadata(self.host.path(path)).map(place);
        let host = host.map_err(|error| format!("the host's {}: {error}", path.display()))?;
        match fs::metadata(path).map(place) {
            Ok(own) if own == host => Ok(()),
            _ => Err(format!("the host's rpm can't be started from a container: its {} is another", path.display())),
        }
    }
}

/// Where that can't be found out, rpm says why.
fn may_be_there(path: &Path) -> bool {
    fs::metadata(path).map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Some releases take a path for a macro, which can run programs.
fn is_harmless(path: &Path) -> bool {
    path.is_absolute() && !path.as_os_str().as_bytes().iter().any(|byte| byte.is_ascii_control() || *byte == b'%')
}

/// The ambient capabilities are what a program gets that this thread starts; the thread keeps its own.
fn inherit_no_capability() -> io::Result<()> {
    // SAFETY: it takes numbers.
    let done = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// All that a program says on both of its outputs. It has ended then, in one way or the other.
fn said_by(command: &mut Command, longest: Duration) -> Result<Vec<u8>, String> {
    let end = Instant::now() + longest;
    let (reader, writer) = io::pipe().map_err(|error| error.to_string())?;
    let name = command.get_program().to_string_lossy().into_owned();
    let writers = writer.try_clone().map_err(|error| error.to_string())?;
    let started = command.stdin(Stdio::null()).stdout(writers).stderr(writer).spawn();
    // ours of the pipe's other end
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = started.map_err(|error| format!("{name}: {error}"))?;
    let said = read(reader, end).and_then(|said| if ends(&mut child, end) { Ok(said) } else { Err(TOO_LONG) });
    if said.is_err() {
        _ = child.kill();
        _ = child.wait();
    }
    said.map_err(|why| format!("{name} {why}"))
}

const TOO_LONG: &str = "took too long";

fn read(mut from: PipeReader, end: Instant) -> Result<Vec<u8>, &'static str> {
    let mut said = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Err(TOO_LONG),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(_) => return Err("can't be waited for"),
        }
        match from.read(&mut part) {
            Ok(0) => return Ok(said),
            Ok(count) if said.len() + count > MOST => return Err("says too much"),
            Ok(count) => said.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err("can't be read"),
        }
    }
}

/// Who has closed its outputs is about to end.
fn ends(child: &mut Child, end: Instant) -> bool {
    while Instant::now() < end {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// What it says, in English. A file that is not there (for this process) is said to be so after the database was asked; that none owns it is
/// said also where the database could not be opened: after an error or a warning that is not known to mean no harm it does not count.
fn answer(said: &[u8], path: &Path) -> Result<Package, String> {
    let path = path.as_os_str().as_bytes();
    let not_owned = [b"file ", path, b" is not owned by any package"].concat();
    let not_there = [b"error: file ", path, b": "].concat();
    let mut asked = false;
    let mut error = None;
    // what is not a whole line is no answer
    let end = said.iter().rposition(|&byte| byte == b'\n').unwrap_or_default();
    for line in said[..end].split(|&byte| byte == b'\n') {
        if let Some(owner) = line.strip_prefix(OWNER.as_bytes()) {
            let mut fields = owner.split(|&byte| byte == b'\t').skip(1);
            let name = fields.next().filter(|name| !name.is_empty()).ok_or("rpm names no package")?;
            let version = fields.next().filter(|version| !version.is_empty() && *version != b"(none)");
            let (name, version) = (Text::from_bytes(name), version.map(Text::from_bytes));
            return Ok(Package::Owned { manager: "rpm", name, version });
        }
        if line == not_owned || line.starts_with(&not_there) {
            asked = true;
        } else if !line.starts_with(HARMLESS)
            && let Some(what) = line.strip_prefix(b"error: ").or_else(|| line.strip_prefix(b"warning: "))
        {
            error.get_or_insert(what);
        }
    }
    match error {
        Some(what) => Err(format!("rpm: {}", short(what))),
        None if asked => Ok(Package::NotOwned),
        None => Err(format!("rpm does not say: {}", short(said))),
    }
}

/// A database of an older release's kind.
const HARMLESS: &[u8] = b"warning: Found ";

/// Of somebody else's words.
fn short(words: &[u8]) -> String {
    const MOST: usize = 200;
    let words = String::from_utf8_lossy(words);
    words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(name: &str, version: Option<&str>) -> Result<Package, String> {
        Ok(Package::Owned { manager: "rpm", name: name.into(), version: version.map(Into::into) })
    }

    #[test]
    fn what_rpm_says_is_an_owner_or_none_or_that_it_does_not_know() {
        let answer = |said: &str| answer(said.as_bytes(), Path::new("/lib/a b.ko"));
        assert_eq!(answer("kmodtrail-owner\tkernel-core\t2:6.1-3\n"), owned("kernel-core", Some("2:6.1-3")));
        assert_eq!(answer("warning: old\nkmodtrail-owner\ta\t1\nkmodtrail-owner\tb\t2\n"), owned("a", Some("1")));
        assert_eq!(answer("kmodtrail-owner\ta\t(none)\n"), owned("a", None));
        assert_eq!(answer("file /lib/a b.ko is not owned by any package\n"), Ok(Package::NotOwned));
        let hidden = "warning: Found ndb Packages.db database while attempting bdb backend\nerror: file /lib/a b.ko: No such file or directory\n";
        assert_eq!(answer(hidden), Ok(Package::NotOwned));
        let closed = "error: cannot open Packages database in /var/lib/rpm\nerror: again\nfile /lib/a b.ko is not owned by any package\n";
        assert_eq!(answer(closed), Err("rpm: cannot open Packages database in /var/lib/rpm".to_owned()));

        let dummy = "warning: invalid %_db_backend: ndb\nfile /lib/a b.ko is not owned by any package\n";
        assert_eq!(answer(dummy), Err("rpm: invalid %_db_backend: ndb".to_owned()));

        // another file, nothing, half of it, what it never says
        assert!(answer("file /lib/b.ko is not owned by any package\n").is_err());
        for said in ["", "\n", "kmodtrail-owner\ta\t1", "kmodtrail-owner\t\t1\n", "kmodtrail-owner\n", "error: "] {
            assert!(answer(said).is_err(), "{said:?}");
        }
        assert!(answer("file /lib/a b.ko is not owned by any package").is_err());
    }

    #[test]
    fn a_long_or_strange_answer_stays_short_and_printable() {
        let path = Path::new("/m.ko");
        let long = [&b"error: \x1b[31m\xff"[..], &[b'x'; 9999], b"\n"].concat();
        let why = answer(&long, path).expect_err("it is an error");
        assert!(why.len() < 300 && !why.contains('\x1b') && why.starts_with("rpm:  [31m\u{fffd}xx"), "{why}");
        let bytes = answer(b"kmodtrail-owner\t\xff\xfe\t1\n", path);
        let name = Text::from_bytes(b"\xff\xfe");
        assert_eq!(bytes, Ok(Package::Owned { manager: "rpm", name, version: Some("1".into()) }));
    }

    #[test]
    fn paths_that_could_be_more_than_a_path_are_not_asked_about() {
        let harmless = |path: &str| is_harmless(Path::new(path));
        assert!(harmless("/lib/modules/6.1.0+rt~1/kernel/fs/x y-ü.ko.xz"));
        for path in ["/tmp/%(touch x).ko", "/tmp/%{name}", "/tmp/a\nkmodtrail-owner\tb", "--eval", ""] {
            assert!(!harmless(path), "{path:?}");
        }
    }

    #[test]
    fn a_program_is_bounded_in_time_and_in_what_it_says() {
        let said = |script: &str, longest: u64| {
            let start = Instant::now();
            let said = said_by(Command::new("/bin/sh").args(["-c", script]), Duration::from_millis(longest));
            (said, start.elapsed())
        };
        let (both, _) = said("echo one; echo two >&2; exit 1", 60_000);
        assert_eq!(both, Ok(b"one\ntwo\n".to_vec()));
        let (endless, time) = said("while :; do echo more; done", 60_000);
        assert_eq!(endless, Err("/bin/sh says too much".to_owned()));
        assert!(time < Duration::from_secs(60));
        for slow in ["exec sleep 1000", "echo first; exec sleep 1000", "exec >&- 2>&-; exec sleep 1000"] {
            let (slow, time) = said(slow, 100);
            assert_eq!(slow, Err("/bin/sh took too long".to_owned()));
            assert!(time < Duration::from_secs(60));
        }
        let missing = said_by(&mut Command::new("/nowhere/rpm"), Duration::from_secs(60));
        assert!(missing.is_err_and(|why| why.starts_with("/nowhere/rpm: ")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(said in prop::collection::vec(any::<u8>(), 0..200), owner in any::<bool>()) {
            let said = if owner { [b"kmodtrail-owner", &said[..]].concat() } else { said };
            let _ = answer(&said, Path::new("/m.ko"));
        }
    }
}
