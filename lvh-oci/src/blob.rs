use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::manifest::Descriptor;
use crate::names::digest::feed;
use crate::scratch::Scratch;
use crate::{Digest, Error, Result};

/// The longest that one process waits for another's download.
const PATIENCE: Duration = Duration::from_secs(3 * 60 * 60);

/// Nobody goes on with a download after so long.
const STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A directory of blobs by digest, `blobs/sha256/HEX`; any number of processes may use it at once.
///
/// Under a final name lies a complete, verified blob. What was not finished lies under `partial/HEX`, and is gone on with.
#[derive(Debug, Clone)]
pub struct BlobStore {
    dir: PathBuf,
}

/// Blobs of a store are in use for as long as this is held.
#[derive(Debug)]
pub(crate) struct InUse {
    _lock: Held,
}

/// A lock of this store.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread starts has the descriptor too until it is executed.
        let _ = self.0.unlock();
    }
}

/// A blob that is being downloaded, by us alone.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    hash: Sha256,
    length: u64,
    _alone: Held,
}

impl BlobStore {
    /// Opens the store in `dir`, making it where needed.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        for part in ["blobs/sha256", "partial", "locks", "tmp"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|e| Error::io("create", &path, e))?;
        }
        Ok(Self { dir })
    }

    /// Where the blob lies, or would lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Removes a blob and what was downloaded of it; waits for who downloads it just now.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, digest: &Digest) -> Result<()> {
        let _alone = self.lock(digest).await?;
        for path in [self.path(digest), self.dir.join("partial").join(digest.hex())] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps the blobs from [`BlobStore::clear`].
    pub(crate) fn in_use(&self) -> Result<InUse> {
        let lock = self.users()?;
        lock.0.lock_shared().map_err(|e| Error::io("lock", &self.dir, e))?;
        Ok(InUse { _lock: lock })
    }

    /// Removes the complete blobs, and what was begun a week ago and never finished; nothing where somebody uses the store.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn clear(&self) -> Result<()> {
        let lock = self.users()?;
        match lock.0.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &self.dir, e)),
        }
        remove_files(&self.dir.join("blobs/sha256"), |_| true)?;
        remove_files(&self.dir.join("partial"), |age| age > STALE)
    }

    /// Removes complete blobs, and what was begun and not gone on with for `unused`; nothing where somebody uses the store. Says how many
    /// bytes that are; with `dry_run` it removes nothing.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn collect(&self, unused: Duration, dry_run: bool) -> Result<u64> {
        let lock = self.users()?;
        if lock.0.try_lock().is_err() {
            return Ok(0);
        }
        let mut bytes = 0;
        for (dir, condemned) in [("blobs/sha256", Duration::ZERO), ("partial", unused)] {
            bytes +=
                files(&self.dir.join(dir))?.filter(|(_, age, _)| *age >= condemned).map(|(.., size)| size).sum::<u64>();
            if !dry_run {
                remove_files(&self.dir.join(dir), |age| age >= condemned)?;
            }
        }
        Ok(bytes)
    }

    fn users(&self) -> Result<Held> {
        let path = self.dir.join("locks/users");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        file.map(Held).map_err(|e| Error::io("open", &path, e))
    }

    /// The complete blob, if it is here.
    pub(crate) fn get(&self, blob: &Descriptor) -> Result<Option<PathBuf>> {
        let path = self.path(&blob.digest);
        match fs::metadata(&path) {
            Ok(file) if file.len() == blob.size => Ok(Some(path)),
            Ok(file) => {
                Err(Error::invalid(&blob.digest, format!("it has {} bytes, not {} as was said", file.len(), blob.size)))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// A directory for what is not finished; removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::new_in(&self.dir.join("tmp"))
    }

    /// Takes the blob for us alone, with what an earlier run left of it.
    pub(crate) async fn begin(&self, digest: &Digest) -> Result<Partial> {
        let alone = self.lock(digest).await?;
        let (path, target) = (self.dir.join("partial").join(digest.hex()), self.path(digest));
        blocking(move || Partial::open(path, target, alone)).await
    }

    // Polls instead of blocking in flock(2), so that the wait has an end and holds up no thread.
    async fn lock(&self, digest: &Digest) -> Result<Held> {
        let path = self.dir.join("locks").join(digest.hex());
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = Held(file.map_err(|e| Error::io("open", &path, e))?);
        let start = Instant::now();
        loop {
            match lock.0.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(e) => return Err(Error::io("lock", &path, e.into())),
            }
        }
    }
}

impl Partial {
    fn open(path: PathBuf, target: PathBuf, alone: Held) -> Result<Self> {
        let open = || {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let mut hash = Sha256::new();
            let length = feed(&mut hash, &mut file)?;
            io::Result::Ok((file, hash, length))
        };
        let (file, hash, length) = open().map_err(|e| Error::io("open", &path, e))?;
        Ok(Self { file, path, target, hash, length, _alone: alone })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        // The disk may take a part of it before it is full.
        if let Err(e) = self.file.write_all(bytes) {
            self.file.set_len(self.length).map_err(|e| Error::io("truncate", &self.path, e))?;
            return Err(Error::io("write", &self.path, e));
        }
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn restart(&mut self) -> Result<()> {
        self.hash = Sha256::new();
        self.length = 0;
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(drop).map_err(|e| Error::io("truncate", &self.path, e))
    }

    /// Whether the bytes are those that the descriptor promises.
    pub(crate) fn verify(&self, blob: &Descriptor) -> Result<()> {
        let actual = Digest::finish(self.hash.clone());
        if self.length > blob.size {
            return Err(Error::TooLarge { what: format!("`{}`", blob.digest), limit: blob.size });
        }
        match actual == blob.digest {
            true => Ok(()),
            false => Err(Error::WrongDigest { what: blob.digest.to_string(), actual: actual.hex().to_owned() }),
        }
    }

    /// Gives it its final name, once its bytes are on the disk.
    pub(crate) async fn publish(self) -> Result<PathBuf> {
        blocking(move || {
            let dir = self.target.parent().expect("a blob lies in a directory");
            let publish = || {
                self.file.sync_all()?;
                fs::rename(&self.path, &self.target)?;
                File::open(dir)?.sync_all()
            };
            publish().map_err(|e| Error::io("store", &self.target, e))?;
            Ok(self.target.clone())
        })
        .await
    }
}

/// Removes the files of `dir` whose age `condemned` says so of.
fn remove_files(dir: &Path, condemned: impl Fn(Duration) -> bool) -> Result<()> {
    for (path, ..) in files(dir)?.filter(|(_, age, _)| condemned(*age)) {
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
    }
    Ok(())
}

/// The files of `dir`, each with its age and size.
fn files(dir: &Path) -> Result<impl Iterator<Item = (PathBuf, Duration, u64)>> {
    let found = fs::read_dir(dir).map_err(|e| Error::io("read", dir, e))?.flatten();
    Ok(found.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        let age = metadata.modified().ok()?.elapsed().unwrap_or_default();
        Some((entry.path(), age, metadata.len()))
    }))
}

/// Runs what waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::io("work on", Path::new("blobs"), io::Error::other(error))),
    }
}
