//! A file that is being written and has no name yet: whoever is killed meanwhile leaves nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::guest::wire::malformed;

/// The file.
#[derive(Debug)]
pub(super) struct Newcomer {
    directory: OwnedFd,
    file: File,
    size: u64,
    /// Its name meanwhile, where the file system has no files without one.
    temporary: Option<String>,
}

impl Newcomer {
    /// A file of `size` zeros that is to have a name in `directory`.
    pub(super) fn new(directory: OwnedFd, size: u64) -> io::Result<Self> {
        let (private, common) = (Mode::from_raw_mode(0o600), OFlags::RDWR | OFlags::CLOEXEC);
        let (file, temporary) = match openat(&directory, ".", common | OFlags::TMPFILE, private) {
            Ok(file) => (file, None),
            Err(_) => {
                let name = temporary_name();
                let exclusive = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                (openat(&directory, &name, common | exclusive, private)?, Some(name))
            }
        };
        let newcomer = Self { directory, file: file.into(), size, temporary };
        newcomer.file.set_len(size)?;
        Ok(newcomer)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes bytes of it.
    pub(super) fn write(&self, data: &[u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > self.size) {
            return Err(malformed("more than the file's size"));
        }
        self.file.write_all_at(data, offset)
    }

    /// Gives it its name, in place of the file that has it.
    pub(super) fn take_name(mut self, name: &OsStr) -> io::Result<()> {
        if self.temporary.is_none() {
            match self.link(name) {
                Err(Errno::EXIST) => {}
                linked => return Ok(linked?),
            }
            let temporary = temporary_name();
            self.link(OsStr::new(&temporary))?;
            self.temporary = Some(temporary);
        }
        let temporary = self.temporary.as_deref().expect("it has one, or was given one");
        renameat(&self.directory, temporary, &self.directory, name)?;
        self.temporary = None;
        Ok(())
    }

    fn link(&self, name: &OsStr) -> rustix::io::Result<()> {
        // proc(5): the way to what a descriptor refers to, also where that has no name.
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, file, &self.directory, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

/// A name that no file of the user's has.
pub(super) fn temporary_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(".lvh-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
