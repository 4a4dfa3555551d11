//! What is in a directory of the host, to find what changed there.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

/// The names below a directory, parents before what lies in them.
pub(super) type Listing = BTreeMap<PathBuf, Stamp>;

/// What is different when a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) kind: Kind,
    mode: u32,
    /// Inode, size, then seconds and nanoseconds of the last change to the content and to the inode. A directory's change
    /// with what is in it, and are not looked at.
    rest: [i64; 6],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Link,
    /// A socket, a FIFO, a device: stays where it is.
    Special,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        Self::new(metadata.mode(), metadata.ino(), metadata.len(), times)
    }

    pub(super) fn of_stat(stat: &Stat) -> Self {
        let times = [stat.st_mtime, stat.st_mtime_nsec as i64, stat.st_ctime, stat.st_ctime_nsec as i64];
        Self::new(stat.st_mode, stat.st_ino, stat.st_size as u64, times)
    }

    fn new(mode: u32, inode: u64, size: u64, [modified, modified_ns, changed, changed_ns]: [i64; 4]) -> Self {
        let kind = match mode & libc::S_IFMT {
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFREG => Kind::File,
            libc::S_IFLNK => Kind::Link,
            _ => Kind::Special,
        };
        let rest = match kind {
            Kind::Directory => [0; 6],
            _ => [inode as i64, size as i64, modified, modified_ns, changed, changed_ns],
        };
        Self { kind, mode: mode & 0o7777, rest }
    }

    /// When the inode was last changed, in seconds and nanoseconds since 1970.
    pub(super) fn changed(&self) -> (i64, i64) {
        (self.rest[4], self.rest[5])
    }
}

/// Lists what is below `top`, for at most `limit` names: `None` where there are more. Names that vanish meanwhile, or that
/// this user may not look at, are left out.
///
/// # Errors
/// `top` cannot be read.
pub(super) fn list(top: &Path, limit: usize) -> io::Result<Option<Listing>> {
    let mut listing = Listing::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(top.join(&directory)) {
            Ok(entries) => entries,
            Err(error) if directory.as_os_str().is_empty() => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let (path, stamp) = (directory.join(entry.file_name()), Stamp::of(&metadata));
            if stamp.kind == Kind::Directory {
                directories.push(path.clone());
            }
            listing.insert(path, stamp);
            if listing.len() > limit {
                return Ok(None);
            }
        }
    }
    Ok(Some(listing))
}
