//! Names below a directory: whoever sends them, and whatever links lie on the way, they lead nowhere else.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Mode, OFlags, Stat, mkdirat, openat, statat};
use rustix::io::Errno;

/// The longest path that is taken, in bytes: Linux's `PATH_MAX`.
const LONGEST: usize = 4096;

/// A name in an open directory.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) directory: OwnedFd,
    pub(super) name: &'a OsStr,
}

impl<'a> Place<'a> {
    /// That of `path` below `top`. Directories that it lacks are made; a link on the way is an error.
    pub(super) fn of(top: BorrowedFd<'_>, path: &'a Path) -> io::Result<Self> {
        Self::by(top, path, open_or_make)
    }

    /// The same; none where a directory on the way does not exist.
    pub(super) fn existing(top: BorrowedFd<'_>, path: &'a Path) -> io::Result<Option<Self>> {
        match Self::by(top, path, |above, name| Ok(open(above, name)?)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            place => place.map(Some),
        }
    }

    fn by(
        top: BorrowedFd<'_>,
        path: &'a Path,
        enter: impl Fn(BorrowedFd<'_>, &OsStr) -> io::Result<OwnedFd>,
    ) -> io::Result<Self> {
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let (Some(name), true) = (path.file_name(), is_plain && path.as_os_str().len() < LONGEST) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the guest sent the name `{}`", path.display()),
            ));
        };
        let mut directory = top.try_clone_to_owned()?;
        for part in path.parent().into_iter().flat_map(Path::components) {
            directory = enter(directory.as_fd(), part.as_os_str())?;
        }
        Ok(Self { directory, name })
    }

    /// What is there; none: nothing.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        match statat(&self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Opens the directory `name` in `above` as a mere reference.
pub(super) fn open(above: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(above, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn open_or_make(above: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    match open(above, name) {
        Err(Errno::NOENT) => {
            mkdirat(above, name, Mode::from_raw_mode(0o755))?;
            Ok(open(above, name)?)
        }
        opened => Ok(opened?),
    }
}
