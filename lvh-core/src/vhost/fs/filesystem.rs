//! The FUSE requests, each handed to what serves it.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use rustix::fs::StatVfs;

use super::calls::Attributes;
use super::nodes::Place;
use super::share::{DirEntry, Entry, Share, State, lookup_name};
use super::wire::{Answer, CACHE_DIR, Fields, KEEP_CACHE, OUT_HEADER, Request, op};

/// The longest list of entries that one answer has.
const MAX_LIST: usize = 64 << 10;

/// How a request ends.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(Answer),
    /// So many bytes of a file, which are in the guest's buffers already.
    Content(usize),
    /// The guest waits for no answer.
    Nothing,
}

/// Where the content of a file goes: the function gets a file, a length, and an offset in the file.
pub(super) type Content<'a> = dyn FnMut(&File, usize, u64) -> io::Result<usize> + 'a;

/// The owner of the files is one user, whoever asks in the guest, so nobody looks at who asks. What is not here is
/// answered with `ENOSYS`, which a Linux guest takes as "do it yourself or without" and asks once: locks, extended
/// attributes, `SEEK_HOLE`, `access`.
impl Share {
    /// Serves a request; `room` is how many bytes its answer may have, `content` takes what is read of a file.
    pub(super) fn serve(&self, request: Request<'_>, room: usize, content: &mut Content<'_>) -> io::Result<Reply> {
        let Request { opcode, node, mut body, .. } = request;
        let done = Ok(Answer::default());
        let answer = match opcode {
            op::READ => return self.read_into(node, body, room, content).map(Reply::Content),
            op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return self.hear(opcode, node, body),
            op::INIT => {
                // A mount begins with knowing nothing.
                self.destroy();
                Answer::init(body)
            }
            op::DESTROY => {
                self.destroy();
                done
            }
            op::LOOKUP => self.lookup(node, body.name()?).map(|entry| Answer::entry(&entry)),
            op::GETATTR => self.getattr(node).map(|attributes| Answer::attributes(&attributes)),
            op::READLINK => self.read_link(node).map(Answer),
            op::STATFS => self.statfs().map(|space| Answer::space(&space)),
            op::OPEN => self.open(node, body.word()?).map(Answer::opened),
            op::OPENDIR => self.opendir(node).map(Answer::opened),
            op::READDIR | op::READDIRPLUS => self.entries(node, body, room, opcode == op::READDIRPLUS),
            op::RELEASE => {
                self.release(node);
                done
            }
            op::RELEASEDIR => {
                self.state().cache.close(node);
                done
            }
            // Nothing is ever written.
            op::FLUSH | op::FSYNCDIR => done,
            op::IOCTL => Err(io::Error::from_raw_os_error(libc::ENOTTY)),
            _ => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        };
        answer.map(Reply::Answer)
    }

    /// What the guest only says.
    fn hear(&self, opcode: u32, node: u64, mut body: Fields<'_>) -> io::Result<Reply> {
        match opcode {
            op::FORGET => self.forget(node, body.long()?),
            op::BATCH_FORGET => {
                let (count, _) = (body.word()?, body.word()?);
                // A count beyond the request's end stops there.
                for _ in 0..count {
                    self.forget(body.long()?, body.long()?);
                }
            }
            _ => {}
        }
        Ok(Reply::Nothing)
    }

    fn read_into(&self, node: u64, body: Fields<'_>, room: usize, content: &mut Content<'_>) -> io::Result<usize> {
        let (offset, size) = part_of(body)?;
        let size = room.saturating_sub(OUT_HEADER).min(size);
        let State { nodes, cache } = &mut *self.state();
        let file = cache.get(node, || self.open_file(nodes, node))?;
        content(file, size, offset)
    }

    fn entries(&self, node: u64, body: Fields<'_>, room: usize, with_attributes: bool) -> io::Result<Answer> {
        let (offset, size) = part_of(body)?;
        let room = room.saturating_sub(OUT_HEADER).min(size).min(MAX_LIST);
        let mut answer = Answer::default();
        if with_attributes {
            self.readdirplus(node, offset, &mut |entry, found| answer.add(room, entry, Some(found)))?;
        } else {
            self.list(node, offset, &mut |_state, entry| answer.add(room, entry, None))?;
        }
        Ok(answer)
    }

    pub(super) fn destroy(&self) {
        let mut state = self.state();
        state.nodes.clear();
        state.cache.clear();
    }

    pub(super) fn lookup(&self, parent: u64, name: &CStr) -> io::Result<Entry> {
        match self.find(&mut self.state(), parent, name) {
            // Node 0 lets the guest remember that there is no such name.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(Entry { node: 0, attributes: Attributes::default() })
            }
            found => found,
        }
    }

    fn forget(&self, node: u64, count: u64) {
        let State { nodes, cache } = &mut *self.state();
        nodes.forget(node, count);
        if !nodes.contains(node) {
            cache.close(node);
        }
    }

    pub(super) fn getattr(&self, node: u64) -> io::Result<Attributes> {
        self.attributes(&mut self.state(), node)
    }

    /// Opens a file; the answer is how the guest may treat what it knows of it.
    pub(super) fn open(&self, node: u64, flags: u32) -> io::Result<u32> {
        let writes = (libc::O_ACCMODE | libc::O_TRUNC).cast_unsigned();
        if flags & writes != libc::O_RDONLY.cast_unsigned() {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        let State { nodes, cache } = &mut *self.state();
        let known = nodes.get(node)?.identity;
        cache.get(node, || self.open_file(nodes, node))?;
        nodes.opened(node);
        let is_known = nodes.get(node)?.identity == known;
        Ok(if is_known { KEEP_CACHE } else { 0 })
    }

    pub(super) fn release(&self, node: u64) {
        let State { nodes, cache } = &mut *self.state();
        if !nodes.closed(node) {
            cache.close(node);
        }
    }

    fn statfs(&self) -> io::Result<StatVfs> {
        self.space()
    }

    fn opendir(&self, node: u64) -> io::Result<u32> {
        let State { nodes, cache } = &mut *self.state();
        if nodes.get(node)?.place != Place::Empty {
            // Its name may lead to another one since it was opened before.
            cache.close(node);
            cache.get(node, || self.open_directory(nodes, node))?;
        }
        Ok(KEEP_CACHE | CACHE_DIR)
    }

    /// Calls `add` for the entries of a directory and what each is, until it returns false.
    pub(super) fn readdirplus(
        &self,
        node: u64,
        offset: u64,
        add: &mut dyn FnMut(&DirEntry<'_>, Option<&Entry>) -> bool,
    ) -> io::Result<()> {
        self.list(node, offset, &mut |state, entry| {
            // The name alone: `.`, `..`, and what cannot be looked at.
            let found = lookup_name(entry).and_then(|name| self.find(state, node, &name).ok());
            let added = add(entry, found.as_ref());
            if let (Some(found), false) = (found, added) {
                // The guest was not told after all.
                state.nodes.forget(found.node, 1);
            }
            added
        })
    }
}

/// What part of a file or a list is asked for: from where, and how much at most.
fn part_of(mut body: Fields<'_>) -> io::Result<(u64, usize)> {
    let (_handle, offset, size) = (body.long()?, body.long()?, body.word()?);
    Ok((offset, size as usize))
}
