//! The system calls that std does not offer, each confined to what an open descriptor names.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::stat64;
use rustix::fs::{self, Mode, OFlags, ResolveFlags, SeekFrom};

/// Turns the result of a system call into a result.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Opens `path` below `dir` as a mere reference (`O_PATH`). No link is followed, not even the last one, and nothing
/// leads out of `dir`.
pub(super) fn open_path(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(fs::openat2(dir, path, flags, Mode::empty(), resolve)?)
}

/// Opens what `reference` refers to for reading or writing. Unlike a second look at the path, this cannot meet another
/// file.
pub(super) fn reopen(reference: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<File> {
    // O_NONBLOCK: whatever the file is, opening it never waits.
    let flags = open_flags(flags) | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(fs::open(by_descriptor(reference), flags, Mode::empty())?.into())
}

fn open_flags(flags: libc::c_int) -> OFlags {
    OFlags::from_bits_retain(flags.cast_unsigned())
}

/// The attributes of nothing. libc's structures have fields that cannot be named, so they cannot be written out.
pub(super) fn no_attributes() -> stat64 {
    // SAFETY: all zero is a valid stat64.
    unsafe { mem::zeroed() }
}

pub(super) fn stat(file: BorrowedFd<'_>) -> io::Result<stat64> {
    let mut stat = no_attributes();
    // SAFETY: the path is empty and ends with zero; `stat` is written by the call.
    check(unsafe { libc::fstatat64(file.as_raw_fd(), c"".as_ptr(), &mut stat, libc::AT_EMPTY_PATH) })?;
    Ok(stat)
}

pub(super) fn statvfs(file: BorrowedFd<'_>) -> io::Result<libc::statvfs64> {
    // SAFETY: all zero is a valid statvfs64, which is written by the call.
    let (result, stat) = unsafe {
        let mut stat = mem::zeroed();
        (libc::fstatvfs64(file.as_raw_fd(), &mut stat), stat)
    };
    check(result).map(|_| stat)
}

pub(super) fn readlink(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(link, c"", Vec::new())?.into_bytes())
}

/// Fills `buffer` with entries of the directory from `offset` on; returns how many bytes of it.
pub(super) fn entries(dir: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    fs::seek(dir, SeekFrom::Start(offset))?;
    // SAFETY: the buffer is valid for its length.
    let count = unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
    check(count as libc::c_int).map(|count| count as usize)
}

/// A path that leads to what `file` refers to, and to nothing else (proc(5)).
fn by_descriptor(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
