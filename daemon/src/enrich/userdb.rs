//! Names that no file has: systemd-userdbd asks LDAP, systemd-homed and others, each in a process of its own.
//! <https://systemd.io/USER_GROUP_API/>, by Varlink: JSON with a NUL behind it.
//!
//! A thread of its own asks. A record waits for the answer a moment at most, and not at all while answers do not come.

use std::{
    io::{self, Read as _, Write as _},
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use lru::LruCache;
use serde::Deserialize;
use serde_json::json;

use crate::event::Text;

/// All that there is behind one socket.
const SERVICE: &str = "io.systemd.Multiplexer";
/// So long the thread waits for an answer: the service may be starting, and may ask a network.
const ANSWER: Duration = Duration::from_secs(2);
/// So long a record waits.
const WAIT: Duration = Duration::from_millis(50);
/// After an answer that did not come in time no record waits for so long, nanoseconds.
const SLOW: u64 = 10_000_000_000;
/// So long an answer counts, nanoseconds.
const FRESH: u64 = 60_000_000_000;
/// So long it counts that there was none, nanoseconds.
const AGAIN: u64 = 10_000_000_000;
/// So long there is nobody to ask where there was nobody, nanoseconds.
const ABSENT: u64 = 1_000_000_000;
/// Answers that are remembered.
const MOST: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");
/// Questions that may wait.
const QUESTIONS: usize = 64;
/// A record has a picture in it where somebody put one there.
const LONGEST: u64 = 256 << 10;

const NO_ANSWER: &str = "systemd-userdbd has not answered yet";
const TOO_MANY: &str = "systemd-userdbd has too much to answer";

/// Whose name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// A user.
    User(u32),
    /// A group.
    Group(u32),
}

/// A name; none where there is none; or why it is not known.
type Answer = Result<Option<Text>, String>;

/// What is behind the socket, and what it said.
#[derive(Debug)]
pub(super) struct UserDb {
    socket: PathBuf,
    thread: Option<Thread>,
    known: LruCache<Id, Known>,
    slow_until: u64,
    absent_until: u64,
}

#[derive(Debug)]
struct Known {
    /// CLOCK_BOOTTIME, nanoseconds.
    at: u64,
    answer: Answer,
}

impl Known {
    fn is_current(&self, now: u64) -> bool {
        now.abs_diff(self.at) < if self.answer.is_ok() { FRESH } else { AGAIN }
    }
}

#[derive(Debug)]
struct Thread {
    questions: SyncSender<Id>,
    answers: Receiver<(Id, Answer)>,
}

impl UserDb {
    /// `folder`: where the sockets are.
    pub(super) fn new(folder: &Path) -> Self {
        Self { socket: folder.join(SERVICE), thread: None, known: LruCache::new(MOST), slow_until: 0, absent_until: 0 }
    }

    /// The name of that user or group. `now`: CLOCK_BOOTTIME, nanoseconds.
    pub(super) fn name(&mut self, id: Id, now: u64) -> Answer {
        while let Some(answer) = self.thread.as_ref().and_then(|thread| thread.answers.try_recv().ok()) {
            self.remember(answer, now);
        }
        if let Some(known) = self.known.get(&id).filter(|known| known.is_current(now)) {
            return known.answer.clone();
        }
        if now < self.absent_until {
            return Ok(None);
        }
        if !self.socket.exists() {
            self.absent_until = now + ABSENT;
            return Ok(None);
        }
        self.ask(id, now)?;
        let until = Instant::now() + if now < self.slow_until { Duration::ZERO } else { WAIT };
        while let Some(thread) = &self.thread {
            let Ok(answer) = thread.answers.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                self.slow_until = now + SLOW;
                break;
            };
            let answered = answer.0 == id;
            self.remember(answer, now);
            if answered {
                break;
            }
        }
        self.known.peek(&id).map_or_else(|| Err(NO_ANSWER.to_owned()), |known| known.answer.clone())
    }

    fn ask(&mut self, id: Id, now: u64) -> Result<(), String> {
        if self.thread.is_none() {
            self.thread = Some(Thread::start(self.socket.clone()).map_err(|error| error.to_string())?);
        }
        if self.thread.as_ref().is_none_or(|thread| thread.questions.try_send(id).is_err()) {
            return Err(TOO_MANY.to_owned());
        }
        self.known.put(id, Known { at: now, answer: Err(NO_ANSWER.to_owned()) });
        Ok(())
    }

    fn remember(&mut self, (id, answer): (Id, Answer), now: u64) {
        self.known.put(id, Known { at: now, answer });
    }
}

impl Thread {
    fn start(socket: PathBuf) -> io::Result<Self> {
        let (questions, asked) = sync_channel(QUESTIONS);
        let (tell, answers) = channel();
        thread::Builder::new().name("userdb".to_owned()).spawn(move || {
            for id in asked {
                let answer = ask(&socket, id).map_err(|error| match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        format!("systemd-userdbd: no answer within {}", humantime::format_duration(ANSWER))
                    }
                    _ => format!("systemd-userdbd: {error}"),
                });
                if tell.send((id, answer)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { questions, answers })
    }
}

/// A reply to GetUserRecord or GetGroupRecord, what is of use of it.
#[derive(Deserialize)]
struct Reply {
    error: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    record: Option<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(alias = "userName", alias = "groupName")]
    name: String,
}

fn ask(socket: &Path, id: Id) -> io::Result<Option<Text>> {
    let until = Instant::now() + ANSWER;
    let (method, key, number) = match id {
        Id::User(uid) => ("GetUserRecord", "uid", uid),
        Id::Group(gid) => ("GetGroupRecord", "gid", gid),
    };
    let method = format!("io.systemd.UserDatabase.{method}");
    let mut question = json!({ "method": method, "parameters": { key: number, "service": SERVICE } }).to_string();
    question.push('\0');
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(question.as_bytes())?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\0") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece)?;
        reply.extend_from_slice(&piece[..length]);
        if length == 0 || reply.len() as u64 > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    reply.pop();
    let Reply { error, parameters } = serde_json::from_slice(&reply)?;
    match (error, parameters.and_then(|parameters| parameters.record)) {
        (None, Some(record)) => Ok(Some(Text::from_bytes(record.name.as_bytes()))),
        (Some(error), _) if error.ends_with(".NoRecordFound") => Ok(None),
        (Some(error), _) => Err(io::Error::other(error)),
        (None, None) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead as _, os::unix::net::UnixListener};

    use super::*;

    /// A service that answers each question with what `answer` makes of it; nothing where that is nothing.
    fn service(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> (tempfile::TempDir, UserDb) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let listener = UnixListener::bind(folder.path().join(SERVICE)).expect("the test may listen");
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = io::BufReader::new(stream.expect("a connection"));
                let mut question = Vec::new();
                stream.read_until(0, &mut question).expect("a question");
                match answer(&String::from_utf8_lossy(&question)) {
                    Some(answer) => stream.get_mut().write_all(&answer).expect("an answer"),
                    None => silent.push(stream),
                }
            }
        });
        let db = UserDb::new(folder.path());
        (folder, db)
    }

    /// What it says in the end.
    fn settled(db: &mut UserDb, id: Id) -> Answer {
        loop {
            let answer = db.name(id, 1);
            if answer != Err(NO_ANSWER.to_owned()) {
                return answer;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn users_and_groups_have_the_names_that_the_service_says() {
        let (_folder, mut db) = service(|question| {
            assert!(question.contains(r#""service":"io.systemd.Multiplexer""#), "{question}");
            Some(match question {
                q if q.contains(r#""uid":7"#) => {
                    b"{\"parameters\":{\"record\":{\"userName\":\"ldap\",\"uid\":7}}}\0".to_vec()
                }
                q if q.contains(r#""gid":7"#) => b"{\"parameters\":{\"record\":{\"groupName\":\"staff\"}}}\0".to_vec(),
                _ => b"{\"error\":\"io.systemd.UserDatabase.NoRecordFound\",\"parameters\":{}}\0".to_vec(),
            })
        });
        assert_eq!(settled(&mut db, Id::User(7)), Ok(Some("ldap".into())));
        assert_eq!(settled(&mut db, Id::Group(7)), Ok(Some("staff".into())));
        assert_eq!(settled(&mut db, Id::User(8)), Ok(None));
    }

    #[test]
    fn who_has_not_answered_is_asked_again_before_long() {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let (_folder, mut db) = service(move |_| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            Some(if first {
                b"nonsense\0".to_vec()
            } else {
                b"{\"parameters\":{\"record\":{\"userName\":\"ldap\"}}}\0".to_vec()
            })
        });
        settled(&mut db, Id::User(7)).expect_err("nonsense");
        assert!(db.name(Id::User(7), AGAIN).is_err(), "not at once");
        let name = loop {
            if let Ok(name) = db.name(Id::User(7), 1 + AGAIN) {
                break name;
            }
            thread::yield_now();
        };
        assert_eq!(name, Some("ldap".into()));
    }

    #[test]
    fn without_the_service_there_is_no_name_and_no_thread() {
        let mut db = UserDb::new(Path::new("/nowhere"));
        assert_eq!((db.name(Id::User(7), 1), db.thread.is_none()), (Ok(None), true));
    }

    #[test]
    fn a_service_that_says_nothing_or_nonsense_costs_the_name_and_says_so() {
        for answer in [None, Some(&b"nonsense\0"[..]), Some(b"{}\0"), Some(b"{\"error\":\"io.x.Busy\"}\0")] {
            let (_folder, mut db) = service(move |_| answer.map(<[u8]>::to_vec));
            let error = settled(&mut db, Id::User(7)).expect_err("no name");
            assert!(error.starts_with("systemd-userdbd: "), "{error}");
        }
    }

    #[test]
    fn while_answers_do_not_come_questions_are_few() {
        let (_folder, mut db) = service(|_| None);
        for uid in 0..1000 {
            assert!(db.name(Id::User(uid), 1).is_err(), "{uid}");
        }
        assert_eq!(db.name(Id::User(1), 1), Err(NO_ANSWER.to_owned()), "it is not asked again");
        assert_eq!(db.name(Id::User(999), 1), Err(TOO_MANY.to_owned()));
    }
}
