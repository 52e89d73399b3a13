//! Watching a file that somebody else appends to.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub(crate) fn wait_for(file: &Path, text: &str, wanted: usize, seconds: u64) -> Result<ExitCode> {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let found = lines_with(file, &[text.to_owned()])?;
        if found >= wanted {
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= until {
            eprintln!("actor: after {seconds} s {found} lines of {} have `{text}`, not {wanted}", file.display());
            return Ok(ExitCode::FAILURE);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn count(file: &Path, texts: &[String]) -> Result<ExitCode> {
    println!("{}", lines_with(file, texts)?);
    Ok(ExitCode::SUCCESS)
}

/// How many lines have all of the texts; a line without its end counts, a file that is not there yet has none.
fn lines_with(file: &Path, texts: &[String]) -> Result<usize> {
    match fs::read(file) {
        Ok(content) => {
            let content = String::from_utf8_lossy(&content);
            Ok(content.lines().filter(|line| texts.iter().all(|text| line.contains(text.as_str()))).count())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) if error.kind() == ErrorKind::IsADirectory => bail!("{} is a folder", file.display()),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}
