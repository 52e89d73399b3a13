//! Running the ordinary tools, so that a failure can be understood without running them again.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{Read, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::progress::say;

/// After this much silence a running command says that it is still alive.
const SILENCE: Duration = Duration::from_secs(10);

/// The command line as one would type it, with its folder and the variables set for it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = String::new();
    if let Some(folder) = command.get_current_dir() {
        _ = write!(text, "cd {} && ", folder.display());
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            _ = write!(text, "{}={} ", name.display(), quoted(value));
        }
    }
    text.push_str(&quoted(command.get_program()));
    for argument in command.get_args() {
        _ = write!(text, " {}", quoted(argument));
    }
    text
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it can't be started or fails; the text has the command line and both of its streams.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command to its end and returns what it wrote to standard output, as text.
///
/// # Errors
/// As [`run`], and when the output is not UTF-8.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let bytes = output(command)?;
    String::from_utf8(bytes).with_context(|| format!("`{}` wrote something else than UTF-8", shown(command)))
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let child = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    finish(command, child)
}

/// Runs a command to its end with `input` on its standard input and returns its standard output. A command that stops
/// reading early (a decompressor that is done) is fine.
///
/// # Errors
/// As [`run`].
pub(crate) fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let (status, stdout, stderr) = filter_whatever_the_status(command, input)?;
    if status.success() { Ok(stdout) } else { Err(failure(command, status, &stdout, &stderr)) }
}

/// As [`filter`], for a caller that takes what came out whether or not the command liked all of its input.
///
/// # Errors
/// When the command can't be started.
pub(crate) fn filter_whatever_the_status(
    command: &mut Command,
    input: &[u8],
) -> Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let mut stdin = child.stdin.take().context("no pipe to the command")?;
    let output = thread::scope(|scope| {
        scope.spawn(move || _ = stdin.write_all(input));
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("waiting for `{}`", shown(command)))?;
    Ok((output.status, output.stdout, output.stderr))
}

/// Runs a command to its end on this terminal: for `cargo`, whose own progress is worth seeing.
///
/// # Errors
/// When it can't be started or fails.
pub(crate) fn run_visibly(command: &mut Command) -> Result<()> {
    say(format_args!("$ {}", shown(command)));
    let status = start(command.stdin(Stdio::null()))?.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}; its output is above", shown(command));
    }
    Ok(())
}

/// An error with its causes, one a line. A backtrace of this program explains no failure of another one.
pub(crate) fn explained(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  because: ")
}

fn start(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| {
        let program = command.get_program().display();
        format!(
            "starting `{}`: is `{program}` installed? `cargo xtask prepare` installs what is needed",
            shown(command)
        )
    })
}

fn finish(command: &Command, mut child: Child) -> Result<Vec<u8>> {
    let (done, wait) = mpsc::channel();
    let stdout = child.stdout.take().map(|pipe| drain(pipe, done.clone()));
    let stderr = child.stderr.take().map(|pipe| drain(pipe, done));
    let begun = Instant::now();
    // Both readers drop their end when the command closes its streams.
    while let Err(mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(SILENCE) {
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().display();
        say(format_args!("... {program} is still at it, {} s", begun.elapsed().as_secs()));
    }
    let collect = |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    let status = child.wait().with_context(|| format!("waiting for `{}`", shown(command)))?;
    if status.success() { Ok(stdout) } else { Err(failure(command, status, &stdout, &stderr)) }
}

fn drain(mut pipe: impl Read + Send + 'static, done: mpsc::Sender<()>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        _ = pipe.read_to_end(&mut bytes);
        drop(done);
        bytes
    })
}

fn failure(command: &Command, status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> anyhow::Error {
    let shown = shown(command);
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    anyhow::anyhow!(
        "`{shown}` failed: {status}\n--- its stdout\n{}\n--- its stderr\n{}",
        stdout.trim_end(),
        stderr.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_both_streams() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).expect_err("exit 3");
        let error = error.to_string();
        for part in ["sh -c 'echo out; echo err >&2; exit 3'", "exit status: 3", "\nout\n", "\nerr"] {
            assert!(error.contains(part), "no {part:?} in: {error}");
        }
    }

    #[test]
    fn a_filter_may_stop_reading_early() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(filter(Command::new("head").args(["-c", "3"]), &input).expect("head"), b"xxx");
    }
}
