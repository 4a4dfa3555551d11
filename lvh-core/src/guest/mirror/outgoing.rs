//! What goes to the guest: each name that is new or changed on the host.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{SeekFrom, fgetxattr, seek};
use rustix::io::Errno;

use super::listing::{Kind, Listing};
use crate::guest::protocol::{Change, MAX_CHUNK, Owner, ToGuest};
use crate::guest::wire::Bytes;

/// Room for the rest of a message: its names and numbers.
const HEADER: usize = 64;

/// The messages that bring the guest from `known` to `now`, for the directory `top`.
pub(super) fn changes(top: &Path, known: &Listing, now: &Listing) -> Vec<ToGuest> {
    let mut messages = Messages { top, messages: Vec::new() };
    for (path, _) in known.iter().rev().filter(|(path, _)| !now.contains_key(*path)) {
        messages.push(path, Change::Removed {});
    }
    let changed = now.iter().filter(|(path, stamp)| known.get(*path) != Some(stamp));
    let mut directories = Vec::new();
    for (path, stamp) in changed {
        // What vanished meanwhile, or is not to be read, is not shown.
        let _ = messages.add(path, stamp.kind);
        if stamp.kind == Kind::Directory {
            directories.push(path);
        }
    }
    for path in directories.into_iter().rev() {
        let _ = messages.add(path, Kind::Directory);
    }
    messages.messages
}

struct Messages<'a> {
    top: &'a Path,
    messages: Vec<ToGuest>,
}

impl Messages<'_> {
    fn push(&mut self, path: &Path, change: Change) {
        let bytes = |path: &Path| Bytes(path.as_os_str().as_bytes().to_vec());
        self.messages.push(ToGuest::Change { dir: bytes(self.top), path: bytes(path), change });
    }

    fn add(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        let there = self.top.join(path);
        match kind {
            Kind::Directory => {
                let (owner, modified) = owner(&fs::symlink_metadata(&there)?);
                self.push(path, Change::Directory { owner, modified });
            }
            Kind::File => self.add_file(path, &open(&there)?)?,
            Kind::Link => {
                let target = Bytes(fs::read_link(&there)?.as_os_str().as_bytes().to_vec());
                self.push(path, Change::Link { target });
            }
            Kind::Special => {}
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let (owner, modified) = owner(&metadata);
        self.push(path, Change::File { size: metadata.len() });
        let mut offset = 0;
        while let Some(start) = data_from(file, offset)? {
            let mut chunk = vec![0; (MAX_CHUNK - HEADER).saturating_sub(path.as_os_str().len()).max(1024)];
            let len = file.read_at(&mut chunk, start)?;
            // Zeros at the end of it may be a hole; the size of what was announced is the most that is taken.
            chunk.truncate(len.min(metadata.len().saturating_sub(start) as usize));
            if chunk.is_empty() {
                break;
            }
            offset = start + chunk.len() as u64;
            self.push(path, Change::Data { offset: start, data: Bytes(chunk) });
        }
        self.push(path, Change::Complete { owner, modified, capabilities: capabilities(file) });
        Ok(())
    }
}

/// Where the next bytes that are no hole are, at `offset` or behind.
fn data_from(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(_) => Ok(Some(offset)),
    }
}

/// What `setcap` gave the file: most have none, and some file systems know none.
fn capabilities(file: &File) -> Bytes {
    // Longer than any version of the kernel's structure.
    let mut value = vec![0; 64];
    let len = fgetxattr(file, c"security.capability", &mut value).unwrap_or(0);
    value.truncate(len);
    Bytes(value)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Whose it is, and when its content changed.
pub(super) fn owner(metadata: &Metadata) -> (Owner, u64) {
    let modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    (Owner { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }, modified.cast_unsigned())
}
