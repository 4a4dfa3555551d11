//! FUSE as it lies in memory (Linux's `include/uapi/linux/fuse.h`): what a request says, and how an answer is written.

use std::ffi::CStr;
use std::io;
use std::time::Duration;

use rustix::fs::{FileType, StatVfs};

use super::calls::Attributes;
use super::share::{ATTRIBUTES, DirEntry, Entry, NAMES};

/// The numbers of the requests that a read-only tree answers.
pub(super) mod op {
    pub(in crate::vhost::fs) const LOOKUP: u32 = 1;
    pub(in crate::vhost::fs) const FORGET: u32 = 2;
    pub(in crate::vhost::fs) const GETATTR: u32 = 3;
    pub(in crate::vhost::fs) const READLINK: u32 = 5;
    pub(in crate::vhost::fs) const OPEN: u32 = 14;
    pub(in crate::vhost::fs) const READ: u32 = 15;
    pub(in crate::vhost::fs) const STATFS: u32 = 17;
    pub(in crate::vhost::fs) const RELEASE: u32 = 18;
    pub(in crate::vhost::fs) const FLUSH: u32 = 25;
    pub(in crate::vhost::fs) const INIT: u32 = 26;
    pub(in crate::vhost::fs) const OPENDIR: u32 = 27;
    pub(in crate::vhost::fs) const READDIR: u32 = 28;
    pub(in crate::vhost::fs) const RELEASEDIR: u32 = 29;
    pub(in crate::vhost::fs) const FSYNCDIR: u32 = 30;
    pub(in crate::vhost::fs) const INTERRUPT: u32 = 36;
    pub(in crate::vhost::fs) const DESTROY: u32 = 38;
    pub(in crate::vhost::fs) const IOCTL: u32 = 39;
    pub(in crate::vhost::fs) const BATCH_FORGET: u32 = 42;
    pub(in crate::vhost::fs) const READDIRPLUS: u32 = 44;
}

/// The bytes of a request's header.
pub(super) const IN_HEADER: usize = 40;
/// The bytes of an answer's header.
pub(super) const OUT_HEADER: usize = 16;

/// The guest may keep what it knew of a file's content; and, of a directory, what it has listed.
pub(super) const KEEP_CACHE: u32 = 1 << 1;
pub(super) const CACHE_DIR: u32 = 1 << 3;

/// The protocol's version that we speak: 7.33.
const MAJOR: u32 = 7;
const MINOR: u32 = 33;

/// What we want of the guest: `ASYNC_READ`, `BIG_WRITES`, `AUTO_INVAL_DATA`, `DO_READDIRPLUS`, `READDIRPLUS_AUTO`,
/// `PARALLEL_DIROPS`, `MAX_PAGES`, `CACHE_SYMLINKS`.
const WANTED: u32 = 1 << 0 | 1 << 5 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 18 | MANY_PAGES | 1 << 23;
const MANY_PAGES: u32 = 1 << 22;

/// How many pages of 4 KiB the guest may read at once.
const MAX_PAGES: u16 = 256;

/// A request: its header, and what follows.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) opcode: u32,
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) body: Fields<'a>,
}

impl<'a> Request<'a> {
    /// `None`: too short for its header.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(IN_HEADER)?;
        let mut fields = Fields(header);
        let (_length, opcode) = (fields.word().ok()?, fields.word().ok()?);
        let (unique, node) = (fields.long().ok()?, fields.long().ok()?);
        Some(Self { opcode, unique, node, body: Fields(body) })
    }
}

/// Fields of a request, one after the other. One that is not there is `EIO`.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn word(&mut self) -> io::Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> io::Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// A name and the zero that ends it.
    pub(super) fn name(&self) -> io::Result<&'a CStr> {
        CStr::from_bytes_until_nul(self.0).or(Err(io::Error::from_raw_os_error(libc::EINVAL)))
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk().ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        self.0 = rest;
        Ok(*field)
    }
}

/// What goes before the body of an answer; `error` is 0 or a number of errno(3).
pub(super) fn out_header(body: usize, error: i32, unique: u64) -> [u8; OUT_HEADER] {
    let mut out = Answer::default();
    out.words([(OUT_HEADER + body) as u32, (-error).cast_unsigned()]);
    out.longs([unique]);
    *out.0.first_chunk().expect("two words and a long")
}

/// The body of an answer.
#[derive(Debug, Default)]
pub(super) struct Answer(pub(super) Vec<u8>);

impl Answer {
    /// What the two sides agree on, from what the guest can do.
    pub(super) fn init(mut request: Fields<'_>) -> io::Result<Self> {
        let (major, _minor) = (request.word()?, request.word()?);
        let (readahead, capable) = (request.word()?, request.word()?);
        if major < MAJOR {
            return Err(io::Error::from_raw_os_error(libc::EPROTO));
        }
        let flags = capable & WANTED;
        let pages = if flags & MANY_PAGES != 0 { MAX_PAGES } else { 0 };
        let mut out = Self::default();
        out.words([MAJOR, MINOR, readahead, flags]);
        // As many requests on their way as there may be.
        out.halves([u16::MAX, u16::MAX / 4 * 3]);
        // The longest write, which nobody sends, but Linux wants to know; times are in nanoseconds.
        out.words([u32::from(MAX_PAGES) * 4096, 1]);
        out.halves([pages, 0]);
        out.words([0; 8]);
        Ok(out)
    }

    pub(super) fn entry(entry: &Entry) -> Self {
        let mut out = Self::default();
        out.put_entry(entry);
        out
    }

    pub(super) fn attributes(attributes: &Attributes) -> Self {
        let mut out = Self::default();
        out.longs([ATTRIBUTES.as_secs()]);
        out.words([ATTRIBUTES.subsec_nanos(), 0]);
        out.put_attributes(attributes);
        out
    }

    /// The answer to an open: files have no handle but their node.
    pub(super) fn opened(flags: u32) -> Self {
        let mut out = Self::default();
        out.longs([0]);
        out.words([flags, 0]);
        out
    }

    pub(super) fn space(space: &StatVfs) -> Self {
        let mut out = Self::default();
        out.longs([space.f_blocks, space.f_bfree, space.f_bavail, space.f_files, space.f_ffree]);
        out.words([space.f_bsize as u32, space.f_namemax as u32, space.f_frsize as u32]);
        out.words([0; 7]);
        out
    }

    /// Adds an entry of a directory, and what is known of it where that was asked for, if there is room; whether there was.
    pub(super) fn add(&mut self, room: usize, entry: &DirEntry<'_>, found: Option<Option<&Entry>>) -> bool {
        let before = self.0.len();
        match found {
            Some(Some(found)) => self.put_entry(found),
            // Node 0: the name alone.
            Some(None) => self.0.resize(before + 128, 0),
            None => {}
        }
        self.longs([entry.ino, entry.offset]);
        self.words([entry.name.len() as u32, kind_of_entry(entry.kind)]);
        self.0.extend(entry.name);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let fits = self.0.len() <= room;
        if !fits {
            self.0.truncate(before);
        }
        fits
    }

    fn put_entry(&mut self, Entry { node, attributes }: &Entry) {
        let seconds = [NAMES, ATTRIBUTES].map(|time| time.as_secs());
        // Nodes have one generation, since their numbers are never used twice.
        self.longs([*node, 0, seconds[0], seconds[1]]);
        self.words([NAMES, ATTRIBUTES].map(|time: Duration| time.subsec_nanos()));
        self.put_attributes(attributes);
    }

    fn put_attributes(&mut self, attributes: &Attributes) {
        let Attributes { ino, size, blocks, times, mode, links, uid, gid, rdev, block_size, device: _ } = *attributes;
        self.longs([ino, size, blocks]);
        self.longs(times.map(|(seconds, _)| seconds));
        self.words(times.map(|(_, nanoseconds)| nanoseconds));
        self.words([mode, links, uid, gid, rdev, block_size, 0]);
    }

    fn longs<const N: usize>(&mut self, longs: [u64; N]) {
        self.0.extend(longs.map(u64::to_le_bytes).as_flattened());
    }

    fn words<const N: usize>(&mut self, words: [u32; N]) {
        self.0.extend(words.map(u32::to_le_bytes).as_flattened());
    }

    fn halves<const N: usize>(&mut self, halves: [u16; N]) {
        self.0.extend(halves.map(u16::to_le_bytes).as_flattened());
    }
}

/// `DT_REG` and the like, which are the upper bits of a mode (include/linux/fs_types.h).
fn kind_of_entry(kind: FileType) -> u32 {
    if kind == FileType::Unknown { 0 } else { kind.as_raw_mode() >> 12 }
}
