//! The system calls about modules.

use std::{
    ffi::{CStr, CString, OsString},
    fs::{self, File},
    io::Write as _,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::memfd::{MFdFlags, memfd_create},
    time::ClockId,
};
use serde_json::{Map, Value, json};

use crate::report::{nanoseconds, operation, operation_with};

pub(crate) fn open(file: &Path) -> Result<File> {
    File::open(file).with_context(|| format!("opening {}", file.display()))
}

pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

fn c_string(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).context("a NUL byte in an argument")
}

fn finit_module(file: BorrowedFd<'_>, params: &CStr, flags: i32) -> Result<i64, Errno> {
    // SAFETY: both outlive the call, and the kernel only reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), params.as_ptr(), flags) })
}

fn delete_module(name: &CStr, flags: i32) -> Result<i64, Errno> {
    // SAFETY: the name outlives the call, and the kernel only reads it.
    Errno::result(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), flags) })
}

pub(crate) fn finit(file: &Path, params: OsString, flags: i32) -> Result<ExitCode> {
    let (file, params) = (open(file)?, c_string(params)?);
    Ok(operation_with(|more| {
        tell_file(&file, more);
        finit_module(file.as_fd(), &params, flags)
    }))
}

/// What the file is, as fstat(2) and /proc have it.
fn tell_file(file: &File, more: &mut Map<String, Value>) {
    let Ok(metadata) = file.metadata() else { return };
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
    more.insert(
        "file".into(),
        json!({
            "path": link.map(|path| path.to_string_lossy().into_owned()),
            "inode": metadata.ino(),
            "size": metadata.size(),
            "mode": metadata.mode() & 0o7777,
            "uid": metadata.uid(),
            "links": metadata.nlink(),
        }),
    );
}

pub(crate) fn deleted(path: &Path) -> Result<ExitCode> {
    let file = open(path)?;
    fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    Ok(operation_with(|more| {
        tell_file(&file, more);
        finit_module(file.as_fd(), c"", 0)
    }))
}

pub(crate) fn attempts(number: u32, path: &Path) -> Result<ExitCode> {
    let file = open(path)?;
    Ok(operation_with(|more| {
        let (mut failures, mut last) = (0_u32, None);
        for _ in 0..number {
            if let Err(errno) = finit_module(file.as_fd(), c"", 0) {
                failures += 1;
                last = Some(errno);
            }
        }
        more.insert("failures".into(), failures.into());
        last.map_or(Ok(i64::from(number)), Err)
    }))
}

pub(crate) fn init(file: &Path, params: OsString, length: Option<u64>) -> Result<ExitCode> {
    let (image, params) = (bytes(file)?, c_string(params)?);
    let length = length.unwrap_or(image.len() as u64);
    Ok(operation(|| {
        // SAFETY: both outlive the call, and the kernel only reads them, and finds out itself where there is less to be read.
        Errno::result(unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), length, params.as_ptr()) })
    }))
}

pub(crate) fn memfd(file: &Path, params: OsString) -> Result<ExitCode> {
    let (image, params) = (bytes(file)?, c_string(params)?);
    let memory = memfd_create(c"actor", MFdFlags::MFD_CLOEXEC).context("memfd_create")?;
    let mut memory = File::from(memory);
    memory.write_all(&image).context("filling the memfd")?;
    // A module is not read from a file that is open for writing (ETXTBSY).
    let readable = open(Path::new(&format!("/proc/self/fd/{}", memory.as_raw_fd())))?;
    drop(memory);
    Ok(operation_with(|more| {
        tell_file(&readable, more);
        finit_module(readable.as_fd(), &params, 0)
    }))
}

pub(crate) fn delete(name: OsString, flags: i32) -> Result<ExitCode> {
    let name = c_string(name)?;
    Ok(operation(|| delete_module(&name, flags)))
}

pub(crate) fn pairs(number: u32, file: &Path, name: OsString) -> Result<ExitCode> {
    let (path, name) = (file, c_string(name)?);
    open(path)?;
    Ok(operation_with(|more| {
        let (mut failures, mut last) = (0_u32, None);
        let cpu = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        for _ in 0..number {
            let file = File::open(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
            for result in [finit_module(file.as_fd(), c"", 0), delete_module(&name, libc::O_NONBLOCK)] {
                if let Err(errno) = result {
                    failures += 1;
                    last = Some(errno);
                }
            }
        }
        more.insert("failures".into(), failures.into());
        more.insert("cpu_ns".into(), (nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID) - cpu).into());
        last.map_or(Ok(i64::from(number)), Err)
    }))
}
