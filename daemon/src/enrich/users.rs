//! Names of users and groups, from /etc/passwd and /etc/group.
//!
//! Only from there: NSS would run other people's code in this process and may ask a network that is down.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use crate::event::Text;

/// Names by number, and the state of the file they come from.
#[derive(Debug)]
pub(super) struct Names {
    path: PathBuf,
    /// Fields of a line behind the number: one that was cut is none.
    fields_behind: usize,
    seen: Option<Stamp>,
    names: HashMap<u32, Text>,
}

/// Tells whether a file is still the same: vipw and useradd put a new one in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Bounds what a huge or broken file can cost.
const LARGEST_FILE: u64 = 4 << 20;
const MOST_NAMES: usize = 65_536;

impl Names {
    /// passwd(5): name:password:uid:gid:comment:home:shell
    pub(super) fn of_users(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), fields_behind: 4, seen: None, names: HashMap::new() }
    }

    /// group(5): name:password:gid:members
    pub(super) fn of_groups(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), fields_behind: 1, seen: None, names: HashMap::new() }
    }

    /// Reads the file again where it has changed. One that can't be read leaves what was known.
    pub(super) fn refresh(&mut self) {
        let stamp = fs::metadata(&self.path).ok().map(|m| Stamp {
            inode: m.ino(),
            size: m.size(),
            modified: (m.mtime(), m.mtime_nsec()),
        });
        if stamp == self.seen {
            return;
        }
        self.seen = stamp;
        match self.read() {
            Ok(names) => self.names = names,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "can't be read: new users and groups have no name in records");
            }
        }
    }

    fn read(&self) -> io::Result<HashMap<u32, Text>> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(LARGEST_FILE).read_to_end(&mut bytes)?;
        let mut names = HashMap::new();
        for (name, id) in bytes.split(|&b| b == b'\n').filter_map(|line| parse(line, self.fields_behind)) {
            if names.len() == MOST_NAMES {
                break;
            }
            // as getpwuid(3): the first of several names
            names.entry(id).or_insert_with(|| Text::from_bytes(name));
        }
        Ok(names)
    }

    pub(super) fn name(&self, id: u32) -> Option<Text> {
        self.names.get(&id).cloned()
    }
}

/// name:password:number:...
fn parse(line: &[u8], fields_behind: usize) -> Option<(&[u8], u32)> {
    let mut fields = line.split(|&b| b == b':');
    let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with(b"#"))?;
    let id = str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    fields.nth(fields_behind - 1).map(|_| (name, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &[u8]) -> (tempfile::TempDir, Names) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("passwd");
        fs::write(&path, text).expect("the test may write");
        let mut users = Names::of_users(path);
        users.refresh();
        (folder, users)
    }

    #[test]
    fn the_first_name_of_a_number_counts_and_broken_lines_do_not() {
        let (_folder, users) = users(
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n\n#no:x:1:1:::\n:x:2:2:::\nbad:x:-3:3:::\nbig:x:4294967296:1:::\n\
              caf\xe9:x:5:5:::\ncut:x:6\n+::::::\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin",
        );
        let name = |uid| users.name(uid).map(|n| n.to_string());
        assert_eq!(name(0).as_deref(), Some("root"));
        assert_eq!(name(5).as_deref(), Some(r"caf\351"));
        assert_eq!(name(65534).as_deref(), Some("nobody"));
        assert_eq!(users.names.len(), 3, "{:?}", users.names);
    }

    #[test]
    fn groups_have_fewer_fields() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("group");
        fs::write(&path, "root:x:0:\nstaff:x:50:a,b\ncut:x:6").expect("the test may write");
        let mut groups = Names::of_groups(path);
        groups.refresh();
        assert_eq!([0, 50, 6].map(|gid| groups.name(gid)), [Some("root".into()), Some("staff".into()), None]);
    }

    #[test]
    fn a_new_file_is_read_again() {
        let (folder, mut users) = users(b"a:x:7:7:::\n");
        assert_eq!(users.name(7), Some("a".into()));
        let new = folder.path().join("passwd+");
        fs::write(&new, "b:x:7:7:::\nc:x:8:8:::\n").expect("the test may write");
        fs::rename(&new, folder.path().join("passwd")).expect("the test may rename");
        users.refresh();
        assert_eq!((users.name(7), users.name(8)), (Some("b".into()), Some("c".into())));
    }

    #[test]
    fn a_file_that_is_gone_leaves_what_was_known() {
        let (folder, mut users) = users(b"a:x:7:7:::\n");
        fs::remove_file(folder.path().join("passwd")).expect("it is there");
        users.refresh();
        assert_eq!(users.name(7), Some("a".into()));
    }

    #[test]
    fn it_is_bounded() {
        let text: String = (0..MOST_NAMES + 10).map(|i| format!("u{i}:x:{i}:0:::\n")).collect();
        let (_folder, users) = users(text.as_bytes());
        assert_eq!(users.names.len(), MOST_NAMES);
    }
}
