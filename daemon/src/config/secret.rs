//! Secrets: where they are, and how they are read. They are never in the configuration itself, and never shown.

use std::{
    env, fmt, fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use config::{Value, ValueKind};

use super::table::{FromValue, describe};

/// No password, token or PEM file is longer.
const LARGEST: u64 = 1 << 20;

/// Where a secret is: `{ credential = "NAME" }`, one that systemd hands over (LoadCredential=, systemd.exec(5)), or `{ file = "/PATH" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file of this name in $CREDENTIALS_DIRECTORY.
    Credential(String),
    /// A file.
    File(PathBuf),
}

/// What was read. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

/// Why a secret can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the secret {what}; allowed: {allowed}")]
pub struct SecretError {
    /// Its place, and what is wrong with it.
    pub(super) what: String,
    /// What would be right.
    pub(super) allowed: &'static str,
}

impl Secret {
    /// Reads it. A newline at its end does not belong to it.
    ///
    /// # Errors
    /// Where it can't be read, is empty, not UTF-8 or longer than 1 MiB.
    pub fn reveal(&self) -> Result<Revealed, SecretError> {
        let error = |why| SecretError { what: format!("{self} can't be read: {why}"), allowed: self.cure() };
        let path = self.path().ok_or_else(|| error("there is no $CREDENTIALS_DIRECTORY".to_owned()))?;
        let text = read(&path).map_err(error)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        Ok(Revealed(text.to_owned()))
    }

    /// As [`Self::reveal`], for who checks a configuration and need not be who runs with it: `None` where only the daemon can tell, for a
    /// credential outside of its unit or a file that this user may not read.
    ///
    /// # Errors
    /// As [`Self::reveal`].
    pub fn reveal_if_possible(&self) -> Result<Option<Revealed>, SecretError> {
        let possible = self.path().is_some_and(|path| match fs::File::open(path) {
            Err(e) => e.kind() != ErrorKind::PermissionDenied,
            Ok(_) => true,
        });
        if possible { self.reveal().map(Some) } else { Ok(None) }
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Credential(name) => env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(name)),
        }
    }

    const fn cure(&self) -> &'static str {
        match self {
            Self::File(_) => "a file that this user may read, with the secret alone in it",
            Self::Credential(_) => {
                "LoadCredential=NAME:/PATH in a drop-in of the unit (`systemctl edit kmodtrail`), a file with the secret alone in it"
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    let length = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if length as u64 > LARGEST {
        return Err("it is longer than 1 MiB".to_owned());
    }
    Ok(text)
}

impl fmt::Display for Secret {
    /// The place, not what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential {name:?}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Revealed {
    /// The secret itself, for whoever must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromValue for Secret {
    fn allowed() -> String {
        r#"{ credential = "NAME" } or { file = "/PATH" }: secrets are never written into the configuration"#.to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let ValueKind::Table(table) = &value.kind else {
            // what stands there may be the secret itself: it is not repeated
            return Err(match &value.kind {
                ValueKind::String(_) => "it is a string".to_owned(),
                other => format!("it is {}", describe(other)),
            });
        };
        let mut entries = table.iter();
        let (Some((kind, place)), None) = (entries.next(), entries.next()) else {
            return Err("it must have one key, credential or file".to_owned());
        };
        let place = String::from_value(place)?;
        match kind.as_str() {
            "credential" if place.is_empty() || place.contains('/') || place.starts_with('.') => {
                Err(format!("{place:?} is no credential's name"))
            }
            "credential" => Ok(Self::Credential(place)),
            "file" if !Path::new(&place).is_absolute() => Err(format!("the path {place:?} is relative")),
            "file" => Ok(Self::File(place.into())),
            other => Err(format!("there is no {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_file_without_its_newline_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("password");
        for (text, secret) in [("hunter2\n", "hunter2"), ("hunter2", "hunter2"), ("two\nlines\r\n", "two\nlines")] {
            fs::write(&path, text).expect("the test may write");
            let revealed = Secret::File(path.clone()).reveal().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(revealed.expose(), secret);
            assert_eq!(format!("{revealed:?}"), "(secret)");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_by_its_place_and_not_by_its_content() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("password");
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("the test may write");
            Secret::File(path.clone()).reveal().expect_err("it is no secret").to_string()
        };
        assert!(refused(b"\n").contains("it is empty"));
        assert!(refused(b"hunter2\xff").contains("UTF-8") && !refused(b"hunter2\xff").contains("hunter2"));
        assert!(refused(&vec![b'a'; LARGEST as usize + 1]).contains("longer than 1 MiB"));
        let gone = Secret::File(folder.path().join("gone")).reveal().expect_err("it is not there").to_string();
        assert!(gone.contains("gone") && gone.contains("No such file"), "{gone}");
    }

    #[test]
    fn a_secret_in_the_configuration_is_not_repeated() {
        let value = Value::new(None, ValueKind::String("hunter2".to_owned()));
        let what = Secret::from_value(&value).expect_err("a string is no place");
        assert!(!what.contains("hunter2"), "{what}");
    }
}
