//! What comes home: the guest says what became of a name, and it becomes so here.
//!
//! The guest may send anything. A file takes its name when all of it is there, in one step. What somebody on the host
//! changed meanwhile is not removed; where the guest changed it too, the guest's is taken, with a word.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, chmodat, fchmod, fstat, futimens,
    mkdirat, openat, readlinkat, renameat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::listing::{Kind, Listing, Stamp};
use super::newcomer::{Newcomer, temporary_name};
use super::place::{self, Place};
use crate::guest::protocol::{Change, Owner, ToHost};
use crate::guest::wire::malformed;

/// The permission bits that files get here. Set-user-id and set-group-id are not among them: the files are the host user's,
/// and a program that runs as that user for whoever starts it is not the guest's to make.
const FILE_MODE: u32 = 0o777;
const DIRECTORY_MODE: u32 = 0o1777;
/// What the owner of a directory keeps: else nothing more could come home into it.
const DIRECTORY_LEAST: u32 = 0o700;

/// How many problems are told one by one.
const TOLD: usize = 20;

/// What has come home into a directory that the guest does not mirror.
#[derive(Debug, Default)]
pub(crate) struct Arrived(Listing);

/// Writes what the guest sends below one directory.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    top: File,
    known: &'a mut Listing,
    /// What was changed before is as the guest knows it, though it was never told.
    since: Option<(i64, i64)>,
    open: Option<(PathBuf, Newcomer)>,
    problems: Vec<String>,
}

impl<'a> Incoming<'a> {
    /// Names go below `directory`, and nowhere else; nothing in it is agreed upon.
    pub(crate) fn new(directory: &Path, arrived: &'a mut Arrived) -> io::Result<Self> {
        Self::into(directory, &mut arrived.0, None)
    }

    /// Names go below `directory`, and nowhere else. `known` is what host and guest agree upon; so is all that has not
    /// changed `since` then, where the guest sees it.
    pub(super) fn into(directory: &Path, known: &'a mut Listing, since: Option<(i64, i64)>) -> io::Result<Self> {
        Ok(Self { top: File::open(directory)?, known, since, open: None, problems: Vec::new() })
    }

    /// Takes the next message. What cannot be done of it is a problem that is told at the end.
    pub(crate) fn take(&mut self, message: ToHost) -> io::Result<()> {
        let ToHost::Change { path, change, .. } = message else {
            return Err(malformed("not a change of a file"));
        };
        let path = Path::new(OsStr::from_bytes(&path.0));
        if let Err(error) = self.apply(path, change) {
            self.tell(format!("`{}` is not on the host: {error}", path.display()));
        }
        Ok(())
    }

    /// What did not come home as it was, a line each.
    pub(crate) fn finish(self) -> Vec<String> {
        let Self { mut problems, .. } = self;
        if problems.len() > TOLD {
            let more = problems.len() - TOLD;
            problems.truncate(TOLD);
            problems.push(format!("and {more} more"));
        }
        problems
    }

    fn tell(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn apply(&mut self, path: &Path, change: Change) -> io::Result<()> {
        match change {
            Change::Directory { owner, modified } => self.directory(path, owner, modified),
            Change::File { size } => {
                self.open = None;
                let newcomer = Newcomer::new(Place::of(self.top.as_fd(), path)?.directory, size)?;
                self.open = Some((path.to_owned(), newcomer));
                Ok(())
            }
            Change::Data { offset, data } => match self.open.take_if(|(open, _)| open == path) {
                Some((open, newcomer)) => {
                    newcomer.write(&data.0, offset)?;
                    self.open = Some((open, newcomer));
                    Ok(())
                }
                // Of a file that could not be made, which was told.
                None => Ok(()),
            },
            Change::Complete { owner, modified, .. } => match self.open.take_if(|(open, _)| open == path) {
                Some((_, newcomer)) => self.complete(path, newcomer, owner, modified),
                None => Ok(()),
            },
            Change::Link { target } => self.link(path, OsStr::from_bytes(&target.0)),
            Change::Removed {} => match Place::existing(self.top.as_fd(), path)? {
                Some(place) => self.remove(&place, path),
                None => {
                    self.known.remove(path);
                    Ok(())
                }
            },
        }
    }

    fn directory(&mut self, path: &Path, owner: Owner, modified: u64) -> io::Result<()> {
        let place = Place::of(self.top.as_fd(), path)?;
        let mode = Mode::from_raw_mode(owner.mode & DIRECTORY_MODE | DIRECTORY_LEAST);
        match place.stat()? {
            Some(stat) if is_directory(&stat) => {
                chmodat(&place.directory, place.name, mode, AtFlags::empty())?;
                utimensat(&place.directory, place.name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            other => {
                if other.is_some() {
                    self.remove(&place, path)?;
                }
                mkdirat(&place.directory, place.name, mode)?;
                // Ours was the umask, the guest's was applied there.
                chmodat(&place.directory, place.name, mode, AtFlags::empty())?;
            }
        }
        self.agree(&place, path)
    }

    fn complete(&mut self, path: &Path, newcomer: Newcomer, owner: Owner, modified: u64) -> io::Result<()> {
        fchmod(newcomer.file(), Mode::from_raw_mode(owner.mode & FILE_MODE))?;
        futimens(newcomer.file(), &times(modified))?;
        let place = Place::of(self.top.as_fd(), path)?;
        self.make_way(&place, path, |file| same_content(file, newcomer.file()))?;
        newcomer.take_name(place.name)?;
        self.agree(&place, path)
    }

    fn link(&mut self, path: &Path, target: &OsStr) -> io::Result<()> {
        let place = Place::of(self.top.as_fd(), path)?;
        if readlinkat(&place.directory, place.name, Vec::new()).is_ok_and(|there| there.as_bytes() == target.as_bytes())
        {
            return self.agree(&place, path);
        }
        self.make_way(&place, path, |_| false)?;
        let name = temporary_name();
        symlinkat(target, &place.directory, &name)?;
        renameat(&place.directory, &name, &place.directory, place.name).inspect_err(|_| {
            let _ = unlinkat(&place.directory, &name, AtFlags::empty());
        })?;
        self.agree(&place, path)
    }

    /// Sees to it that a file can take the name, and tells what it replaces where the guest has not seen that: unless the
    /// host's file is the `same`.
    fn make_way(&mut self, place: &Place<'_>, path: &Path, same: impl Fn(&File) -> bool) -> io::Result<()> {
        let Some(stat) = place.stat()? else { return Ok(()) };
        if is_directory(&stat) {
            return self.remove(place, path);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || openat(&place.directory, place.name, flags, Mode::empty()).map(File::from);
        if !self.is_agreed(path, &stat) && !open().is_ok_and(|file| same(&file)) {
            self.tell(format!("`{}` was changed on the host too, and is now as the guest has it", path.display()));
        }
        Ok(())
    }

    /// Removes what is there, but for what was changed on the host.
    fn remove(&mut self, place: &Place<'_>, path: &Path) -> io::Result<()> {
        let Some(stat) = place.stat()? else {
            self.known.remove(path);
            return Ok(());
        };
        if is_directory(&stat) {
            self.empty(place, path)?;
            match unlinkat(&place.directory, place.name, AtFlags::REMOVEDIR) {
                // What stays in it was told, or is newer than what the guest removed.
                Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
                result => result?,
            }
        } else if self.is_agreed(path, &stat) {
            unlinkat(&place.directory, place.name, AtFlags::empty())?;
        } else {
            self.tell(format!("`{}` was changed on the host, and stays though the guest removed it", path.display()));
            return Ok(());
        }
        self.known.remove(path);
        Ok(())
    }

    fn empty(&mut self, place: &Place<'_>, path: &Path) -> io::Result<()> {
        let directory = place::open(place.directory.as_fd(), place.name)?;
        let readable = openat(&directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::new(readable)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                self.remove(&Place { directory: directory.try_clone()?, name }, &path.join(name))?;
            }
        }
        Ok(())
    }

    /// Whether what is there is what the guest knows.
    fn is_agreed(&self, path: &Path, stat: &Stat) -> bool {
        let stamp = Stamp::of_stat(stat);
        match self.known.get(path) {
            Some(known) => *known == stamp,
            None => self.since.is_some_and(|since| stamp.changed() < since),
        }
    }

    fn agree(&mut self, place: &Place<'_>, path: &Path) -> io::Result<()> {
        if let Some(stat) = place.stat()? {
            self.known.insert(path.to_owned(), Stamp::of_stat(&stat));
        }
        Ok(())
    }
}

fn is_directory(stat: &Stat) -> bool {
    Stamp::of_stat(stat).kind == Kind::Directory
}

/// Whether two files hold the same.
fn same_content(one: &File, other: &File) -> bool {
    let is_file =
        |file: &File| fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let length = |file: &File| file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    if !is_file(one) || length(one) != length(other) {
        return false;
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut offset = 0;
    while offset < length(other) {
        let len = (length(other) - offset).min(1 << 16) as usize;
        let read = |file: &File, buffer: &mut [u8]| file.read_exact_at(buffer, offset).is_ok();
        if !read(one, &mut left[..len]) || !read(other, &mut right[..len]) || left[..len] != right[..len] {
            return false;
        }
        offset += len as u64;
    }
    true
}

/// The time of the change to the content; that of access is left alone.
fn times(modified: u64) -> Timestamps {
    let modified = modified.cast_signed();
    let time =
        Timespec { tv_sec: modified.div_euclid(1_000_000_000), tv_nsec: modified.rem_euclid(1_000_000_000) as _ };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time }
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
