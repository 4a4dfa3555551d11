//! The system calls that std does not offer, each confined to what an open descriptor names.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::stat64;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, SeekFrom, Timestamps};

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

/// Makes the file `name` in `dir` and opens it.
pub(super) fn create(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int, mode: u32) -> io::Result<File> {
    let flags = open_flags(flags) | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?.into())
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

pub(super) fn mkdir(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    Ok(fs::mkdirat(dir, name, Mode::from_raw_mode(mode))?)
}

pub(super) fn symlink(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(fs::symlinkat(target, dir, name)?)
}

/// Removes an entry; `flags` is 0 or `AT_REMOVEDIR`.
pub(super) fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<()> {
    Ok(fs::unlinkat(dir, name, AtFlags::from_bits_retain(flags.cast_unsigned()))?)
}

pub(super) fn rename(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr), flags: u32) -> io::Result<()> {
    Ok(fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::from_bits_retain(flags))?)
}

/// Gives what `file` refers to a second name, `name` in `dir`.
pub(super) fn link(file: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(fs::linkat(CWD, by_descriptor(file), dir, name, AtFlags::SYMLINK_FOLLOW)?)
}

pub(super) fn chmod(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    Ok(fs::chmod(by_descriptor(file), Mode::from_raw_mode(mode))?)
}

/// Sets the times of access and change; `UTIME_NOW` and `UTIME_OMIT` as in utimensat(2).
pub(super) fn set_times(file: BorrowedFd<'_>, times: &Timestamps) -> io::Result<()> {
    Ok(fs::utimensat(CWD, by_descriptor(file), times, AtFlags::empty())?)
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
