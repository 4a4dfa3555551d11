use std::fs::{File, OpenOptions, TryLockError};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::unwritable;
use crate::{Error, ErrorKind, Result};

/// The longest that one process waits for another's work: a kernel build on a slow machine.
const PATIENCE: Duration = Duration::from_secs(3 * 60 * 60);

/// A held lock; dropping it releases it, and so does the death of the process.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock {
    file: File,
    is_inherited: AtomicBool,
}

impl AsFd for Lock {
    /// A process that inherits it holds the lock too: it is released when the last of them has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.is_inherited.store(true, Ordering::Relaxed);
        self.file.as_fd()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread starts has the descriptor too until it is executed.
        if !*self.is_inherited.get_mut() {
            let _ = self.file.unlock();
        }
    }
}

impl Lock {
    fn of(file: File) -> Self {
        Self { file, is_inherited: AtomicBool::new(false) }
    }

    /// Takes the lock file at `path` for this thread alone. `waiting` is called once if somebody else holds it.
    ///
    /// # Errors
    /// When the file cannot be opened or locked, or the holder does not end.
    pub fn exclusive(path: &Path, waiting: &dyn Fn()) -> Result<Self> {
        take(path, open(path)?, File::try_lock, waiting)
    }

    /// Takes the directory at `path` itself for this thread alone, so that no lock file stands in it.
    ///
    /// # Errors
    /// As [`Lock::exclusive`].
    pub(crate) fn directory(path: &Path, waiting: &dyn Fn()) -> Result<Self> {
        let dir = File::open(path).map_err(|e| Error::path("open", path, e))?;
        take(path, dir, File::try_lock, waiting)
    }

    /// As [`Lock::exclusive`], without waiting: none where somebody else holds it.
    ///
    /// # Errors
    /// When the file cannot be opened or locked.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        at_once(path, File::try_lock)
    }

    /// As [`Lock::shared`], without waiting: none where somebody holds it alone.
    ///
    /// # Errors
    /// As [`Lock::try_exclusive`].
    pub(crate) fn try_shared(path: &Path) -> Result<Option<Self>> {
        at_once(path, File::try_lock_shared)
    }

    /// Notes in the file's time that what it stands for was wanted. Where that cannot be, it counts as older than it is.
    pub(crate) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// Takes the lock file at `path` together with other readers.
    ///
    /// # Errors
    /// As [`Lock::exclusive`].
    pub fn shared(path: &Path, waiting: &dyn Fn()) -> Result<Self> {
        take(path, open(path)?, File::try_lock_shared, waiting)
    }
}

// Polls instead of blocking in flock(2), so that the wait has an end and says once that it goes on.
fn take(
    path: &Path,
    file: File,
    attempt: fn(&File) -> std::result::Result<(), TryLockError>,
    waiting: &dyn Fn(),
) -> Result<Lock> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut told = false;
    loop {
        match attempt(&file) {
            Ok(()) => return Ok(Lock::of(file)),
            Err(TryLockError::Error(e)) => return Err(Error::path("lock", path, e)),
            Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => return Err(stuck(path)),
            Err(TryLockError::WouldBlock) => {}
        }
        // Locks are often held for moments only: those are not worth a word.
        if !told && start.elapsed() > Duration::from_millis(300) {
            waiting();
            told = true;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn at_once(path: &Path, attempt: fn(&File) -> std::result::Result<(), TryLockError>) -> Result<Option<Lock>> {
    let file = open(path)?;
    match attempt(&file) {
        Ok(()) => Ok(Some(Lock::of(file))),
        Err(TryLockError::Error(e)) => Err(Error::path("lock", path, e)),
        Err(TryLockError::WouldBlock) => Ok(None),
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|e| unwritable("open the lock file", path, e))
}

fn stuck(path: &Path) -> Error {
    let hours = PATIENCE.as_secs() / 3600;
    Error::new(ErrorKind::Artifact, format!("waited {hours} h for the lock `{}`", path.display()))
        .with_hint("another process holds it: end that process (`fuser` on the file names it)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_holds_a_lock_only_where_it_is_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let is_held = || Lock::try_exclusive(&path).unwrap().is_none();
        // As a program has it that another thread starts.
        let lock = Lock::exclusive(&path, &|| {}).unwrap();
        let _copy = lock.file.try_clone().unwrap();
        drop(lock);
        assert!(!is_held());

        let lock = Lock::exclusive(&path, &|| {}).unwrap();
        let inherited = lock.as_fd().try_clone_to_owned().unwrap();
        drop(lock);
        assert!(is_held());
        drop(inherited);
        assert!(!is_held());
    }
}
