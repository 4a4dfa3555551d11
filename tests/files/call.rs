//! What all calls need.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a call said: some words of its own, or an error.
pub(crate) type Said = io::Result<String>;

/// The name of a call, and the call in an empty directory.
pub(crate) type Case = (&'static str, fn(&Path) -> Said);

/// As a line.
pub(crate) fn said(said: Said) -> String {
    said.unwrap_or_else(|error| format!("failed, {error}"))
}

/// What a system call returned, or its error.
pub(crate) fn check(result: impl Into<i64>) -> io::Result<i64> {
    let result = result.into();
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// open(2).
pub(crate) fn open(path: &Path, flags: i32, mode: u32) -> io::Result<File> {
    // SAFETY: a NUL-terminated path; what is returned is a new descriptor.
    unsafe {
        let fd = check(libc::open(c(path).as_ptr(), flags | libc::O_CLOEXEC, mode))?;
        Ok(OwnedFd::from_raw_fd(fd as i32).into())
    }
}

/// The word, where all went well.
pub(crate) fn ok<T>(result: io::Result<T>) -> Said {
    result.map(|_| "ok".to_owned())
}
