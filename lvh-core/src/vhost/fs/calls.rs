//! The system calls that std does not offer, each confined to what an open descriptor names.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, ResolveFlags, StatVfs};

/// What the guest is told of a file: stat(2).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    pub(super) device: u64,
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) blocks: u64,
    /// Of the last access, the last change of the content, and the last change at all: seconds since 1970, signed, and nanoseconds.
    pub(super) times: [(u64, u32); 3],
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) rdev: u32,
    pub(super) block_size: u32,
}

impl Attributes {
    pub(super) fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = fs::fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            blocks: stat.st_blocks.cast_unsigned(),
            times: [
                (stat.st_atime.cast_unsigned(), stat.st_atime_nsec as u32),
                (stat.st_mtime.cast_unsigned(), stat.st_mtime_nsec as u32),
                (stat.st_ctime.cast_unsigned(), stat.st_ctime_nsec as u32),
            ],
            mode: stat.st_mode,
            links: stat.st_nlink as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev as u32,
            block_size: stat.st_blksize as u32,
        })
    }
}

/// Opens `path` below `dir` as a mere reference (`O_PATH`). No link is followed, not even the last one, and nothing
/// leads out of `dir`.
pub(super) fn open_path(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(fs::openat2(dir, path, flags, Mode::empty(), resolve)?)
}

/// Opens what `reference` refers to for reading. Unlike a second look at the path, this cannot meet another file.
pub(super) fn reopen(reference: BorrowedFd<'_>, flags: OFlags) -> io::Result<File> {
    // O_NONBLOCK: whatever the file is, opening it never waits.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(fs::open(by_descriptor(reference), flags, Mode::empty())?.into())
}

pub(super) fn statvfs(file: BorrowedFd<'_>) -> io::Result<StatVfs> {
    Ok(fs::fstatvfs(file)?)
}

pub(super) fn readlink(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(link, c"", Vec::new())?.into_bytes())
}

/// A path that leads to what `file` refers to, and to nothing else (proc(5)).
fn by_descriptor(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
