//! A share: the nodes, the shared directory, and reading.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom, StatVfs, seek};

use super::calls::{self, Attributes};
use super::exports::FsExports;
use super::files::Cache;
use super::names::{self, Hidden};
use super::nodes::{Identity, MAX_NODES, Nodes, Place};
use crate::{Error, Result};

/// How long the guest believes that a name leads where it led: until it is told to forget. Its overlay fails where a name is
/// found to be out of date.
pub(super) const NAMES: Duration = Duration::from_secs(24 * 3600);

/// How long the guest believes what it was told of a file. Where its size or time is another then, the guest forgets what
/// it has of the content.
pub(super) const ATTRIBUTES: Duration = Duration::from_secs(1);

/// What a FUSE request of the guest works on.
#[derive(Debug)]
pub(super) struct Share {
    /// The shared directory.
    top: OwnedFd,
    hidden: Hidden,
    /// The file system whose inode numbers are passed on unchanged.
    device: u64,
    state: Mutex<State>,
}

/// What changes with the guest's requests.
#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: Nodes,
    pub(super) cache: Cache,
}

/// What the guest is told of a name: the node that it leads to, 0 for none, and its attributes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: u64,
    pub(super) attributes: Attributes,
}

/// An entry of a directory.
#[derive(Debug)]
pub(super) struct DirEntry<'a> {
    pub(super) ino: u64,
    /// Where the next one begins.
    pub(super) offset: u64,
    pub(super) kind: FileType,
    pub(super) name: &'a [u8],
}

impl Share {
    pub(super) fn new(FsExports { root, hidden }: &FsExports) -> Result<Self> {
        let top = open_top(root)?;
        let identity = identity(&Attributes::of(top.as_fd()).map_err(|e| Error::io("read a shared directory", e))?);
        let nodes = Nodes::new(identity, MAX_NODES);
        let state = Mutex::new(State { nodes, cache: Cache::default() });
        Ok(Self { top, hidden: Hidden::new(hidden), device: identity.0, state })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two changes may leave a node too many; nothing worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what a node's name leads to now as a reference, where that may be what the guest means. `ESTALE` makes a Linux
    /// guest look the name up again.
    pub(super) fn open_node(&self, nodes: &mut Nodes, id: u64) -> io::Result<(OwnedFd, Attributes)> {
        let file = calls::open_path(self.top.as_fd(), &nodes.path(id)?)?;
        let attributes = Attributes::of(file.as_fd())?;
        let (known, found) = (nodes.get(id)?, identity(&attributes));
        if found != known.identity {
            if !known.is_replaced_by(found) {
                return Err(io::Error::from_raw_os_error(libc::ESTALE));
            }
            nodes.replace(id, found);
        }
        Ok((file, attributes))
    }

    /// Finds the entry `name` of `parent` and tells the guest of it.
    pub(super) fn find(&self, state: &mut State, parent: u64, name: &CStr) -> io::Result<Entry> {
        let bytes = names::entry_name(name)?;
        let (place, attributes) = match state.nodes.get(parent)?.place {
            Place::Empty => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
            Place::Top | Place::Beneath => self.find_beneath(&state.nodes, parent, bytes)?,
        };
        let id = state.nodes.enter(parent, bytes, place, identity(&attributes))?;
        let attributes = if place == Place::Empty { empty_directory(id) } else { self.shown(attributes) };
        Ok(Entry { node: id, attributes })
    }

    fn find_beneath(&self, nodes: &Nodes, parent: u64, name: &[u8]) -> io::Result<(Place, Attributes)> {
        let path = nodes.path_of(parent, Some(name))?;
        if self.hidden.contains(&path) {
            return Ok((Place::Empty, empty_directory(0)));
        }
        let file = calls::open_path(self.top.as_fd(), &path)?;
        Ok((Place::Beneath, Attributes::of(file.as_fd())?))
    }

    /// The attributes of a node.
    pub(super) fn attributes(&self, state: &mut State, id: u64) -> io::Result<Attributes> {
        let State { nodes, cache } = state;
        let node = nodes.get(id)?;
        if node.place == Place::Empty {
            return Ok(empty_directory(id));
        }
        let attributes = match cache.open_one(id).filter(|_| node.opens > 0) {
            Some(file) => Attributes::of(file.as_fd())?,
            None => self.open_node(nodes, id)?.1,
        };
        Ok(self.shown(attributes))
    }

    pub(super) fn read_link(&self, id: u64) -> io::Result<Vec<u8>> {
        let (link, _) = self.open_node(&mut self.state().nodes, id)?;
        calls::readlink(link.as_fd())
    }

    pub(super) fn space(&self) -> io::Result<StatVfs> {
        calls::statvfs(self.top.as_fd())
    }

    /// Opens a regular file. Anything else is for the guest's own kernel to open, a FIFO or a device for example.
    pub(super) fn open_file(&self, nodes: &mut Nodes, id: u64) -> io::Result<File> {
        let (file, attributes) = self.open_node(nodes, id)?;
        if FileType::from_raw_mode(attributes.mode) != FileType::RegularFile {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        calls::reopen(file.as_fd(), OFlags::empty())
    }

    /// Calls `each` for the entries of a directory from `offset` on, until it returns false.
    pub(super) fn list(
        &self,
        id: u64,
        offset: u64,
        each: &mut dyn FnMut(&mut State, &DirEntry<'_>) -> bool,
    ) -> io::Result<()> {
        let state = &mut *self.state();
        match state.nodes.get(id)?.place {
            Place::Empty => Ok(()),
            Place::Top | Place::Beneath => self.list_beneath(state, id, offset, each),
        }
    }

    fn list_beneath(
        &self,
        state: &mut State,
        id: u64,
        offset: u64,
        each: &mut dyn FnMut(&mut State, &DirEntry<'_>) -> bool,
    ) -> io::Result<()> {
        let device = state.nodes.get(id)?.identity.0;
        let State { nodes, cache } = state;
        let directory = cache.get(id, || self.open_directory(nodes, id))?.try_clone()?;
        seek(&directory, SeekFrom::Start(offset))?;
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let (ino, offset) = (self.shown_number(device, entry.ino()), entry.next_entry_cookie());
            let entry = DirEntry { ino, offset, kind: entry.file_type(), name: entry.file_name().to_bytes() };
            if !each(state, &entry) {
                break;
            }
        }
        Ok(())
    }

    /// Opens a directory to be listed; this is also where its permissions are checked.
    pub(super) fn open_directory(&self, nodes: &mut Nodes, id: u64) -> io::Result<File> {
        let (directory, _) = self.open_node(nodes, id)?;
        calls::reopen(directory.as_fd(), OFlags::DIRECTORY)
    }

    /// The host's attributes as the guest sees them.
    pub(super) fn shown(&self, attributes: Attributes) -> Attributes {
        Attributes { ino: self.shown_number(attributes.device, attributes.ino), ..attributes }
    }

    /// The guest sees one file system where the host may have several mounted, each with an inode 2: find(1) calls that
    /// a loop.
    fn shown_number(&self, device: u64, number: u64) -> u64 {
        number ^ (device ^ self.device).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

fn open_top(path: &Path) -> Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let directory =
        File::options().read(true).custom_flags(flags).open(path).map_err(|e| Error::path("share", path, e))?;
    // Where openat2(2) is missing or forbidden, say so now and not with every name that the guest looks up.
    calls::open_path(directory.as_fd(), c".").map_err(|e| Error::path("openat2", path, e))?;
    Ok(directory.into())
}

pub(super) fn identity(attributes: &Attributes) -> Identity {
    (attributes.device, attributes.ino, attributes.mode & libc::S_IFMT)
}

/// The attributes of a directory that is not the host's.
fn empty_directory(id: u64) -> Attributes {
    Attributes { ino: id, mode: libc::S_IFDIR | 0o555, links: 2, block_size: 4096, ..Attributes::default() }
}

/// An entry's name to look it up.
pub(super) fn lookup_name(entry: &DirEntry<'_>) -> Option<CString> {
    CString::new(entry.name).ok().filter(|name| names::entry_name(name).is_ok())
}
