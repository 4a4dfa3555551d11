//! The system calls that std does not offer, each confined to what an open descriptor names.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::stat64;

/// Turns the result of a system call into a result.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Opens `path` below `dir` as a mere reference (`O_PATH`). No link is followed, not even the last one, and nothing
/// leads out of `dir`.
pub(super) fn open_path(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: all zero is a valid open_how.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends with zero, and `how` is valid for its size.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<libc::open_how>())
    };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens what `reference` refers to for reading or writing. Unlike a second look at the path, this cannot meet another
/// file.
pub(super) fn reopen(reference: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<File> {
    // O_NONBLOCK: whatever the file is, opening it never waits.
    let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: the path ends with zero.
    let fd = check(unsafe { libc::open(by_descriptor(reference).as_ptr(), flags) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Makes the file `name` in `dir` and opens it.
pub(super) fn create(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int, mode: u32) -> io::Result<File> {
    let flags = flags | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name ends with zero.
    let fd = check(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, mode) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

pub(super) fn stat(file: BorrowedFd<'_>) -> io::Result<stat64> {
    // SAFETY: all zero is a valid stat64.
    let mut stat = unsafe { mem::zeroed() };
    // SAFETY: the path is empty and ends with zero; `stat` is written by the call.
    check(unsafe { libc::fstatat64(file.as_raw_fd(), c"".as_ptr(), &mut stat, libc::AT_EMPTY_PATH) })?;
    Ok(stat)
}

pub(super) fn statvfs(file: BorrowedFd<'_>) -> io::Result<libc::statvfs64> {
    // SAFETY: all zero is a valid statvfs64.
    let mut stat = unsafe { mem::zeroed() };
    // SAFETY: `stat` is written by the call.
    check(unsafe { libc::fstatvfs64(file.as_raw_fd(), &mut stat) })?;
    Ok(stat)
}

pub(super) fn readlink(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut target = vec![0; libc::PATH_MAX as usize];
    // SAFETY: the path is empty and ends with zero, the buffer is valid for its length.
    let length = unsafe { libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    target.truncate(check(length as libc::c_int)? as usize);
    Ok(target)
}

pub(super) fn mkdir(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the name ends with zero.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

pub(super) fn symlink(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both strings end with zero.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// Removes an entry; `flags` is 0 or `AT_REMOVEDIR`.
pub(super) fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the name ends with zero.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
}

pub(super) fn rename(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr), flags: u32) -> io::Result<()> {
    let (old, new) = (from.0.as_raw_fd(), to.0.as_raw_fd());
    // SAFETY: both names end with zero.
    let result = unsafe { libc::syscall(libc::SYS_renameat2, old, from.1.as_ptr(), new, to.1.as_ptr(), flags) };
    check(result as libc::c_int).map(drop)
}

/// Gives what `file` refers to a second name, `name` in `dir`.
pub(super) fn link(file: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let path = by_descriptor(file);
    let flags = libc::AT_SYMLINK_FOLLOW;
    // SAFETY: both strings end with zero.
    check(unsafe { libc::linkat(libc::AT_FDCWD, path.as_ptr(), dir.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
}

pub(super) fn chmod(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    // SAFETY: the path ends with zero.
    check(unsafe { libc::chmod(by_descriptor(file).as_ptr(), mode) }).map(drop)
}

/// Sets the times of access and change; `UTIME_NOW` and `UTIME_OMIT` as in utimensat(2).
pub(super) fn set_times(file: BorrowedFd<'_>, times: [libc::timespec; 2]) -> io::Result<()> {
    // SAFETY: the path ends with zero, and the call reads two times.
    check(unsafe { libc::utimensat(libc::AT_FDCWD, by_descriptor(file).as_ptr(), times.as_ptr(), 0) }).map(drop)
}

/// Fills `buffer` with entries of the directory from `offset` on; returns how many bytes of it.
pub(super) fn entries(dir: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = dir.as_fd().as_raw_fd();
    // SAFETY: the call touches no memory.
    if unsafe { libc::lseek64(fd, offset.cast_signed(), libc::SEEK_SET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the buffer is valid for its length.
    let count = unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) };
    check(count as libc::c_int).map(|count| count as usize)
}

/// A path that leads to what `file` refers to, and to nothing else (proc(5)).
fn by_descriptor(file: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a number holds no zero byte")
}
