//! What a guest may change in a writable share.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fuse_backend_rs::abi::fuse_abi::CreateIn;
use fuse_backend_rs::api::filesystem::{Entry, SetattrValid};
use libc::stat64;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::calls;
use super::names;
use super::share::{Share, State};

/// The permission bits a guest may set. Set-user-id and set-group-id are not among them: the files are the host user's,
/// and a program that runs as that user for whoever starts it is not the guest's to make.
const MODE: u32 = 0o1777;

/// The flags of open(2) that are passed on.
const OPEN_FLAGS: u32 = (libc::O_ACCMODE | libc::O_APPEND | libc::O_TRUNC | libc::O_SYNC | libc::O_DSYNC) as u32;

impl Share {
    /// Opens a file to be read and written as `flags` say; returns its handle.
    pub(super) fn open_handle(&self, id: u64, flags: u32) -> io::Result<u64> {
        let state = &mut *self.state();
        state.handles.check_room()?;
        let file = self.open_file(&state.nodes, id, (flags & OPEN_FLAGS).cast_signed())?;
        Ok(state.handles.add(id, file))
    }

    /// Makes and opens a file, or opens it where the host made it in the meantime.
    pub(super) fn make_file(&self, parent: u64, name: &CStr, args: CreateIn) -> io::Result<(Entry, u64)> {
        names::entry_name(name)?;
        let state = &mut *self.state();
        state.handles.check_room()?;
        let directory = self.parent(&state.nodes, parent)?;
        let flags = (args.flags & OPEN_FLAGS).cast_signed();
        let created = calls::create(directory.as_fd(), name, flags, args.mode & MODE);
        let made = match created {
            Ok(file) => {
                // Exactly what the guest asked for: its own umask was applied there, ours was in the call above.
                calls::chmod(file.as_fd(), args.mode & MODE)?;
                Some(file)
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) && !has(args.flags, libc::O_EXCL) => None,
            Err(error) => return Err(error),
        };
        let entry = self.find(state, parent, name)?;
        let opened = made.map_or_else(|| self.open_file(&state.nodes, entry.inode, flags), Ok);
        match opened {
            Ok(file) => Ok((entry, state.handles.add(entry.inode, file))),
            Err(error) => {
                state.nodes.forget(entry.inode, 1);
                Err(error)
            }
        }
    }

    pub(super) fn make_directory(&self, parent: u64, name: &CStr, mode: u32) -> io::Result<Entry> {
        self.make(parent, name, |directory| {
            calls::mkdir(directory, name, mode & MODE)?;
            let made = calls::open_path(directory, name)?;
            calls::chmod(made.as_fd(), mode & MODE)
        })
    }

    pub(super) fn make_symlink(&self, target: &CStr, parent: u64, name: &CStr) -> io::Result<Entry> {
        self.make(parent, name, |directory| calls::symlink(target, directory, name))
    }

    pub(super) fn make_link(&self, id: u64, parent: u64, name: &CStr) -> io::Result<Entry> {
        let (file, _) = self.open_node(&self.state().nodes, id)?;
        self.make(parent, name, |directory| calls::link(file.as_fd(), directory, name))
    }

    fn make(&self, parent: u64, name: &CStr, make: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<Entry> {
        names::entry_name(name)?;
        let state = &mut *self.state();
        make(self.parent(&state.nodes, parent)?.as_fd())?;
        self.find(state, parent, name)
    }

    /// Removes an entry; `flags` is 0 or `AT_REMOVEDIR`.
    pub(super) fn remove(&self, parent: u64, name: &CStr, flags: libc::c_int) -> io::Result<()> {
        let bytes = names::entry_name(name)?;
        let state = &mut *self.state();
        calls::unlink(self.parent(&state.nodes, parent)?.as_fd(), name, flags)?;
        state.nodes.detach(parent, bytes);
        Ok(())
    }

    pub(super) fn move_entry(&self, from: (u64, &CStr), to: (u64, &CStr), flags: u32) -> io::Result<()> {
        let (old, new) = (names::entry_name(from.1)?, names::entry_name(to.1)?);
        if flags & !(libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE) != 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let state = &mut *self.state();
        let (source, target) = (self.parent(&state.nodes, from.0)?, self.parent(&state.nodes, to.0)?);
        calls::rename((source.as_fd(), from.1), (target.as_fd(), to.1), flags)?;
        if flags & libc::RENAME_EXCHANGE != 0 {
            state.nodes.exchange((from.0, old), (to.0, new));
        } else if (from.0, old) != (to.0, new) {
            state.nodes.rename((from.0, old), (to.0, new));
        }
        Ok(())
    }

    /// Changes what `valid` names of the attributes `wanted`.
    pub(super) fn change(
        &self,
        id: u64,
        handle: Option<u64>,
        wanted: &stat64,
        valid: SetattrValid,
    ) -> io::Result<stat64> {
        let state = &mut *self.state();
        self.check_writable(&state.nodes, id)?;
        let (file, stat) = self.reach(state, id)?;
        let same_user = !valid.contains(SetattrValid::UID) || wanted.st_uid == stat.st_uid;
        let same_group = !valid.contains(SetattrValid::GID) || wanted.st_gid == stat.st_gid;
        if !same_user || !same_group {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        if valid.contains(SetattrValid::SIZE) {
            set_size(state, file.as_fd(), handle, wanted.st_size)?;
        }
        if valid.contains(SetattrValid::MODE) {
            calls::chmod(file.as_fd(), wanted.st_mode & MODE)?;
        }
        if valid.intersects(SetattrValid::ATIME | SetattrValid::MTIME) {
            calls::set_times(file.as_fd(), &times(wanted, valid))?;
        }
        self.attributes(state, id)
    }

    /// A node by its name or, where that is gone, by what the guest has open of it.
    fn reach(&self, state: &State, id: u64) -> io::Result<(OwnedFd, stat64)> {
        self.open_node(&state.nodes, id).or_else(|error| {
            let file = state.handles.of_node(id).ok_or(error)?.try_clone()?;
            let stat = calls::stat(file.as_fd())?;
            Ok((file.into(), stat))
        })
    }
}

fn set_size(state: &mut State, file: BorrowedFd<'_>, handle: Option<u64>, size: i64) -> io::Result<()> {
    let size = u64::try_from(size).map_err(|_negative| io::Error::from_raw_os_error(libc::EINVAL))?;
    match handle.map(|handle| state.handles.get(handle)) {
        Some(open) => open?.set_len(size),
        None => calls::reopen(file, libc::O_WRONLY)?.set_len(size),
    }
}

fn times(wanted: &stat64, valid: SetattrValid) -> Timestamps {
    let time = |set, now, tv_sec, tv_nsec| match (valid.contains(set), valid.contains(now)) {
        (false, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        (true, true) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        (true, false) => Timespec { tv_sec, tv_nsec },
    };
    let (access, change) = ((wanted.st_atime, wanted.st_atime_nsec), (wanted.st_mtime, wanted.st_mtime_nsec));
    Timestamps {
        last_access: time(SetattrValid::ATIME, SetattrValid::ATIME_NOW, access.0, access.1),
        last_modification: time(SetattrValid::MTIME, SetattrValid::MTIME_NOW, change.0, change.1),
    }
}

fn has(flags: u32, flag: libc::c_int) -> bool {
    flags & flag.cast_unsigned() != 0
}
