//! What is in a directory, to find what changed there.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::guest::protocol::Owner;
use crate::sys;

/// The names below a directory, parents before what lies in them.
pub type Listing = BTreeMap<PathBuf, Stamp>;

/// What is different when a file is. What a program writes through a page that it has mapped and read before changes none
/// of it (mm/memory.c, vma_needs_dirty_tracking): such a change to a file of an earlier command stays here.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp {
    pub kind: Kind,
    pub owner: Owner,
    inode: u64,
    /// Size, then seconds and nanoseconds of the last change. A directory's change with what is in it, and are not looked at.
    rest: [i64; 3],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory {
        /// In the upper layer of an overlay: nothing of the lower one is seen through it.
        opaque: bool,
    },
    File,
    Link,
    /// In the upper layer of an overlay: the lower layer's name is gone.
    Whiteout,
    /// A socket, a FIFO, a device: stays here.
    Special,
}

impl Kind {
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// Whether the host has its like.
    pub fn travels(self) -> bool {
        self != Self::Special
    }
}

impl Stamp {
    /// That of what is at `path`; `layered`: in the upper layer of an overlay.
    pub fn of(path: &Path, metadata: &Metadata, layered: bool) -> Self {
        let kind = kind(path, metadata, layered);
        let rest = match kind {
            Kind::Directory { .. } => [0; 3],
            _ => [metadata.len() as i64, metadata.ctime(), metadata.ctime_nsec()],
        };
        Self { kind, owner: owner(metadata), inode: metadata.ino(), rest }
    }

    /// Whether it is another file than `other` was.
    pub fn is_another(&self, other: &Self) -> bool {
        self.inode != other.inode
    }
}

fn kind(path: &Path, metadata: &Metadata, layered: bool) -> Kind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        // Documentation/filesystems/overlayfs.rst.
        let opaque = layered && sys::attribute(path, c"trusted.overlay.opaque").is_ok_and(|value| value == b"y");
        Kind::Directory { opaque }
    } else if kind.is_file() {
        Kind::File
    } else if kind.is_symlink() {
        Kind::Link
    } else if layered && kind.is_char_device() && metadata.rdev() == 0 {
        Kind::Whiteout
    } else {
        Kind::Special
    }
}

/// Whose it is.
pub fn owner(metadata: &Metadata) -> Owner {
    Owner { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
}

/// When its content changed, as it travels.
pub fn modified(metadata: &Metadata) -> u64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()).cast_unsigned()
}

/// Lists what is below `top`. What cannot be looked at, and what lies in another file system that a command mounted there, is
/// as it was in `known`. What is `unread` is told with the reason.
pub fn list(top: &Path, layered: bool, known: &Listing, mut unread: impl FnMut(&Path, io::Error)) -> Listing {
    let mut listing = Listing::new();
    let Ok(device) = fs::metadata(top).map(|metadata| metadata.dev()) else { return known.clone() };
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(top.join(&directory)) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    unread(&directory, error);
                }
                keep(known, &directory, &mut listing);
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = directory.join(entry.file_name());
            let there = top.join(&path);
            match fs::symlink_metadata(&there) {
                Ok(metadata) if metadata.dev() == device => {
                    let stamp = Stamp::of(&there, &metadata, layered);
                    if stamp.kind.is_directory() {
                        directories.push(path.clone());
                    }
                    listing.insert(path, stamp);
                }
                Ok(_) => keep(known, &path, &mut listing),
                // It vanished.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => unread(&path, error),
            }
        }
    }
    listing
}

fn keep(known: &Listing, path: &Path, listing: &mut Listing) {
    let below = known.iter().filter(|(name, _)| name.starts_with(path));
    listing.extend(below.map(|(name, stamp)| (name.clone(), stamp.clone())));
}
