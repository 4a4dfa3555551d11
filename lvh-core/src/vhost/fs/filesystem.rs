//! The FUSE requests, each handed to what serves it.

use std::ffi::CStr;
use std::io;
use std::time::Duration;

use fuse_backend_rs::api::filesystem::{Context, DirEntry, Entry, FileSystem, FsOptions, OpenOptions, ZeroCopyWriter};
use libc::{stat64, statvfs64};

use super::nodes::Place;
use super::share::{ATTRIBUTES, NAMES, Share, State, lookup_name};

/// What an opened file is answered with: handle, options, and a passthrough number that we do not use.
type Opened = (Option<u64>, OpenOptions, Option<u32>);

/// The owner of the files is one user, whoever asks in the guest, so `_ctx` is never looked at. What is not here is
/// answered with `ENOSYS`, which a Linux guest takes as "do it yourself or without" and asks once: locks, extended
/// attributes, `SEEK_HOLE`, `access`.
impl FileSystem for Share {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, _capable: FsOptions) -> io::Result<FsOptions> {
        // A mount begins with knowing nothing.
        self.destroy();
        Ok(FsOptions::ASYNC_READ
            | FsOptions::PARALLEL_DIROPS
            | FsOptions::BIG_WRITES
            | FsOptions::MAX_PAGES
            | FsOptions::DO_READDIRPLUS
            | FsOptions::READDIRPLUS_AUTO
            | FsOptions::CACHE_SYMLINKS
            | FsOptions::AUTO_INVAL_DATA)
    }

    fn destroy(&self) {
        let mut state = self.state();
        state.nodes.clear();
        state.cache.clear();
    }

    fn lookup(&self, _ctx: &Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        match self.find(&mut self.state(), parent, name) {
            // Node 0 lets the guest remember that there is no such name.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(Entry { entry_timeout: NAMES, ..Entry::default() })
            }
            found => found,
        }
    }

    fn forget(&self, _ctx: &Context, inode: u64, count: u64) {
        let State { nodes, cache } = &mut *self.state();
        nodes.forget(inode, count);
        if !nodes.contains(inode) {
            cache.close(inode);
        }
    }

    fn getattr(&self, _ctx: &Context, inode: u64, _handle: Option<u64>) -> io::Result<(stat64, Duration)> {
        Ok((self.attributes(&mut self.state(), inode)?, ATTRIBUTES))
    }

    fn readlink(&self, _ctx: &Context, inode: u64) -> io::Result<Vec<u8>> {
        self.read_link(inode)
    }

    fn open(&self, _ctx: &Context, inode: u64, flags: u32, _fuse_flags: u32) -> io::Result<Opened> {
        let writes = (libc::O_ACCMODE | libc::O_TRUNC).cast_unsigned();
        if flags & writes != libc::O_RDONLY.cast_unsigned() {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        let State { nodes, cache } = &mut *self.state();
        let known = nodes.get(inode)?.identity;
        cache.get(inode, || self.open_file(nodes, inode))?;
        nodes.opened(inode);
        let is_known = nodes.get(inode)?.identity == known;
        Ok((None, if is_known { OpenOptions::KEEP_CACHE } else { OpenOptions::empty() }, None))
    }

    fn read(
        &self,
        _ctx: &Context,
        inode: u64,
        _handle: u64,
        w: &mut dyn ZeroCopyWriter,
        size: u32,
        offset: u64,
        _lock_owner: Option<u64>,
        _flags: u32,
    ) -> io::Result<usize> {
        let size = w.available_bytes().min(size as usize);
        let State { nodes, cache } = &mut *self.state();
        let file = cache.get(inode, || self.open_file(nodes, inode))?;
        w.write_from(file, size, offset)
    }

    fn flush(&self, _ctx: &Context, _inode: u64, _handle: u64, _lock_owner: u64) -> io::Result<()> {
        // Every write went through to the host already.
        Ok(())
    }

    fn fsyncdir(&self, _ctx: &Context, _inode: u64, _datasync: bool, _handle: u64) -> io::Result<()> {
        Ok(())
    }

    fn release(
        &self,
        _ctx: &Context,
        inode: u64,
        _flags: u32,
        _handle: u64,
        _flush: bool,
        _flock_release: bool,
        _lock_owner: Option<u64>,
    ) -> io::Result<()> {
        let State { nodes, cache } = &mut *self.state();
        if !nodes.closed(inode) {
            cache.close(inode);
        }
        Ok(())
    }

    fn statfs(&self, _ctx: &Context, _inode: u64) -> io::Result<statvfs64> {
        self.space()
    }

    fn opendir(&self, _ctx: &Context, inode: u64, _flags: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        let State { nodes, cache } = &mut *self.state();
        if nodes.get(inode)?.place != Place::Empty {
            // Its name may lead to another one since it was opened before.
            cache.close(inode);
            cache.get(inode, || self.open_directory(nodes, inode))?;
        }
        Ok((None, OpenOptions::KEEP_CACHE | OpenOptions::CACHE_DIR))
    }

    fn readdir(
        &self,
        _ctx: &Context,
        inode: u64,
        _handle: u64,
        _size: u32,
        offset: u64,
        add_entry: &mut dyn FnMut(DirEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.list(inode, offset, &mut |_state, entry| Ok(add_entry(entry)? > 0))
    }

    fn readdirplus(
        &self,
        _ctx: &Context,
        inode: u64,
        _handle: u64,
        _size: u32,
        offset: u64,
        add_entry: &mut dyn FnMut(DirEntry<'_>, Entry) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.list(inode, offset, &mut |state, entry| {
            // Node 0 lists the name alone: `.`, `..`, and what cannot be looked at.
            let found = lookup_name(&entry).and_then(|name| self.find(state, inode, &name).ok());
            let node = found.map(|entry| entry.inode);
            let added = add_entry(entry, found.unwrap_or_default());
            if let (Some(node), Ok(0) | Err(_)) = (node, &added) {
                // The guest was not told after all.
                state.nodes.forget(node, 1);
            }
            Ok(added? > 0)
        })
    }

    fn releasedir(&self, _ctx: &Context, inode: u64, _flags: u32, _handle: u64) -> io::Result<()> {
        self.state().cache.close(inode);
        Ok(())
    }
}
