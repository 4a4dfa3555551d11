use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::whole_file::replace;
use super::{Cache, Key, Lock, Pins, Staging, manifest, unwritable};
use crate::{Error, ErrorKind, Result};

/// The data directory's store; cheap to clone, safe to use from many threads and processes at once.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    offline: bool,
    pins: Option<Pins>,
    locked: bool,
    fetcher: Option<PathBuf>,
    cache: Option<Cache>,
    /// What is to be told of damage.
    notes: Arc<Mutex<Vec<String>>>,
}

/// A complete, read-only directory of the store. It stays while this is held.
#[derive(Debug, Clone)]
pub struct Entry {
    path: PathBuf,
    _in_use: Arc<Lock>,
}

impl Entry {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What keeps it, for one who has no use for the rest.
    pub(crate) fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self._in_use)
    }
}

/// An entry that is being made; without [`Unfinished::publish`] nothing of it is kept.
#[derive(Debug)]
#[must_use = "dropped, it is gone"]
pub(crate) struct Unfinished {
    path: PathBuf,
    staging: Staging,
    _alone: Lock,
}

impl Unfinished {
    /// The directory that becomes the entry.
    pub(crate) fn dir(&self) -> PathBuf {
        self.staging.entry()
    }

    /// Makes it the entry.
    pub(crate) fn publish(self) -> Result<()> {
        publish(&self.staging.entry(), &self.path)
    }
}

impl Store {
    /// Opens the store in the data directory `root`, making it where needed.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let dir = root.into().join("store");
        for part in ["locks", "resolved", "state", "tmp"] {
            make_dir(&dir.join(part))?;
        }
        let dir = dir.canonicalize().map_err(|e| Error::path("find", &dir, e))?;
        Ok(Self { dir, offline: false, pins: None, locked: false, fetcher: None, cache: None, notes: Arc::default() })
    }

    /// The data directory that it is in.
    pub(crate) fn root(&self) -> &Path {
        self.dir.parent().expect("the store has a name in the data directory")
    }

    /// Where the entries are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Forbids, or allows, what would use the network. Default: allowed.
    #[must_use]
    pub fn with_offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Names the program that talks to registries. Default: the `lvh` in `PATH`.
    #[must_use]
    pub fn with_fetcher(self, program: impl Into<PathBuf>) -> Self {
        Self { fetcher: Some(program.into()), ..self }
    }

    pub(crate) fn fetcher(&self) -> Option<&Path> {
        self.fetcher.as_deref()
    }

    /// Sets the registry that is asked for what would have to be built. Default: none.
    #[must_use]
    pub fn with_cache(self, cache: Option<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// That registry, where it may be asked.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref().filter(|cache| !self.offline && !cache.is_given_up())
    }

    /// A directory for half-done work, which goes away when it is dropped.
    pub(crate) fn staging(&self) -> Result<Staging> {
        Staging::new(&self.dir.join("tmp"))
    }

    /// Whether the network is forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Sets the file that says what mutable names stand for here, and takes note of what they are resolved to. Default: none.
    #[must_use]
    pub fn with_pins(self, pins: Option<Pins>) -> Self {
        Self { pins, ..self }
    }

    /// That file.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// Forbids, or allows, to resolve a mutable name that the file does not have. Default: allowed.
    #[must_use]
    pub fn with_locked(self, locked: bool) -> Self {
        Self { locked, ..self }
    }

    /// Whether that is forbidden.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// The entry `key` of `kind`, if it is there. Waits for a process that is making it just now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, kind: &str, key: &Key, waiting: &dyn Fn()) -> Result<Option<Entry>> {
        let lock = Lock::shared(&self.entry_lock(kind, key), waiting)?;
        lock.touch();
        self.sound(kind, key, lock)
    }

    /// The entry that is there, if nothing of it is damaged. Damage is told, and what can be made again is removed for that.
    fn sound(&self, kind: &str, key: &Key, lock: Lock) -> Result<Option<Entry>> {
        let path = self.dir.join(kind).join(key.as_str());
        let Some(damage) = damage(&path) else {
            return Ok(path.is_dir().then(|| Entry { path, _in_use: Arc::new(lock) }));
        };
        drop(lock);
        let Some(lock) = Lock::try_exclusive(&self.entry_lock(kind, key))? else {
            // Somebody uses it all the same, and so may we.
            let lock = Lock::shared(&self.entry_lock(kind, key), &|| {})?;
            return Ok(path.is_dir().then(|| Entry { path, _in_use: Arc::new(lock) }));
        };
        self.remove(&path, &damage)?;
        drop(lock);
        Ok(None)
    }

    /// Removes what is damaged, whoever was faster.
    fn remove(&self, path: &Path, damage: &str) -> Result<()> {
        let note = format!("`{}` in the data directory is damaged ({damage}); it is made again", path.display());
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        clear(path).map_err(|error| Error::path("remove", path, error))
    }

    /// What there is to tell of damage since this was asked last.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The entry `key` of `kind`; where it is missing, `make` fills [`Staging::entry`] and it becomes the entry.
    ///
    /// One process makes it, the others wait (`waiting` is called once where that takes a moment). If `make` fails,
    /// nothing is kept and the next one to ask tries again.
    ///
    /// # Errors
    /// Those of `make`, and when the store cannot be written.
    pub fn populate(
        &self,
        kind: &str,
        key: &Key,
        waiting: &dyn Fn(),
        make: impl FnOnce(&Staging) -> Result<()>,
    ) -> Result<Entry> {
        if let Some(entry) = self.get(kind, key, waiting)? {
            return Ok(entry);
        }
        let path = self.dir.join(kind).join(key.as_str());
        let lock = Lock::exclusive(&self.entry_lock(kind, key), waiting)?;
        if !path.is_dir() {
            let staging = Staging::new(&self.dir.join("tmp"))?;
            make(&staging)?;
            publish(&staging.entry(), &path)?;
        }
        drop(lock);
        self.get(kind, key, waiting)?.ok_or_else(|| {
            Error::new(ErrorKind::Artifact, format!("`{}` was removed while it was being made", path.display()))
        })
    }

    /// Adds the file `name` to an entry that an earlier lvh made without it.
    pub(crate) fn add_to(&self, entry: &Entry, name: &str, text: &str) -> Result<()> {
        let staging = Staging::new(&self.dir.join("tmp"))?;
        let (temp, path) = (staging.scratch().join(name), entry.path().join(name));
        fs::write(&temp, text).and_then(|()| fs::rename(&temp, &path)).map_err(|e| Error::path("write", &path, e))
    }

    /// As [`Store::get`], without waiting: what is being made just now is not there.
    pub(crate) fn peek(&self, kind: &str, key: &Key) -> Result<Option<Entry>> {
        match Lock::try_shared(&self.entry_lock(kind, key))? {
            Some(lock) => {
                lock.touch();
                self.sound(kind, key, lock)
            }
            None => Ok(None),
        }
    }

    /// As [`Store::populate`] for what takes its time to make: none where somebody else makes or uses it.
    pub(crate) fn begin(&self, kind: &str, key: &Key) -> Result<Option<Unfinished>> {
        let path = self.dir.join(kind).join(key.as_str());
        let Some(lock) = Lock::try_exclusive(&self.entry_lock(kind, key))?.filter(|_| !path.exists()) else {
            return Ok(None);
        };
        let staging = Staging::new(&self.dir.join("tmp"))?;
        Ok(Some(Unfinished { path, staging, _alone: lock }))
    }

    /// Removes an entry that nobody uses.
    pub(crate) fn discard(&self, kind: &str, key: &Key) -> Result<()> {
        self.discard_path(kind, &self.dir.join(kind).join(key.as_str()))
    }

    /// Removes the oldest entries of `kind`, but for the `keep` newest and those that somebody uses.
    pub(crate) fn prune(&self, kind: &str, keep: usize) -> Result<()> {
        let made = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let entries = fs::read_dir(self.dir.join(kind)).into_iter().flatten().flatten();
        let mut entries: Vec<_> = entries.map(|entry| entry.path()).map(|path| (made(&path), path)).collect();
        entries.sort_by(|a, b| b.cmp(a));
        entries.iter().skip(keep).try_for_each(|(_, path)| self.discard_path(kind, path))
    }

    fn discard_path(&self, kind: &str, path: &Path) -> Result<()> {
        let Some(key) = path.file_name().and_then(|name| Key::parse(name.to_str()?)) else { return Ok(()) };
        let Some(_alone) = Lock::try_exclusive(&self.entry_lock(kind, &key))? else { return Ok(()) };
        clear(path).map_err(|error| Error::path("remove", path, error))
    }

    /// Removes an entry whose content turned out to be `damage`, and tells it.
    pub(crate) fn discard_damaged(&self, kind: &str, key: &Key, damage: &str) -> Result<()> {
        let path = self.dir.join(kind).join(key.as_str());
        match Lock::try_exclusive(&self.entry_lock(kind, key))? {
            Some(_alone) => self.remove(&path, damage),
            None => Ok(()),
        }
    }

    /// Where [`Store::state`] of the store in the data directory `root` would be, which need not exist.
    pub(crate) fn state_in(root: &Path, name: &str) -> PathBuf {
        root.join("store").join("state").join(name)
    }

    /// A private directory that a tool keeps its state in, such as apt's package lists.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn state(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join("state").join(name);
        make_dir(&dir).map(|()| dir)
    }

    /// Takes the lock called `name` alone, so that one process at a time does what it stands for.
    ///
    /// # Errors
    /// As [`Lock::exclusive`].
    pub fn lock(&self, name: &str, waiting: &dyn Fn()) -> Result<Lock> {
        Lock::exclusive(&self.lock_file(name), waiting)
    }

    /// What the mutable name `question` was resolved to, if it was.
    pub fn recall(&self, question: &Key) -> Option<Key> {
        let path = self.resolved(question);
        let answer = match fs::read_to_string(&path) {
            Ok(text) => {
                // That it is wanted counts against its removal, and nothing else.
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Key::parse(text.trim_end())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => None,
        };
        if answer.is_none() {
            // What cannot be removed is told again.
            let _ = self.remove(&path, "it holds no digest");
        }
        answer
    }

    /// Remembers what `question` was resolved to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, question: &Key, answer: &Key) -> Result<()> {
        let staging = Staging::new(&self.dir.join("tmp"))?;
        let (temp, path) = (staging.scratch().join("answer"), self.resolved(question));
        replace(&path, &temp, &format!("{answer}\n")).map_err(|e| Error::path("write", &path, e))
    }

    /// Forgets what `question` was resolved to; says whether it was known.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, question: &Key) -> Result<bool> {
        let path = self.resolved(question);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::path("remove", &path, e)),
        }
    }

    fn resolved(&self, question: &Key) -> PathBuf {
        self.dir.join("resolved").join(question.as_str())
    }

    pub(super) fn entry_lock(&self, kind: &str, key: &Key) -> PathBuf {
        self.lock_file(&format!("{kind}-{key}"))
    }

    pub(super) fn lock_file(&self, name: &str) -> PathBuf {
        self.dir.join("locks").join(name)
    }
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| unwritable("create", dir, e))
}

/// Gives the finished directory `temp` its name, once its bytes are on the disk. Who shares the data directory without our locks,
/// such as the host of a VM that has it under an overlay, may have been first: one is as good as the other.
fn publish(temp: &Path, path: &Path) -> Result<()> {
    let parent = path.parent().expect("an entry lies in the directory of its kind");
    make_dir(parent)?;
    let sync_and_rename = || {
        // Times are what they will be only once everything is written.
        sync_tree(temp)?;
        manifest::write(temp)?;
        match fs::rename(temp, path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            renamed => renamed?,
        }
        File::open(parent)?.sync_all()
    };
    sync_and_rename().map_err(|e| Error::path("store", path, e))
}

/// What is wrong with what has an entry's name.
fn damage(path: &Path) -> Option<String> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => manifest::damage(path),
        Ok(_) => Some("it is no directory".to_owned()),
        Err(_) => None,
    }
}

/// Removes a directory or a file, if it is there.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// One syncfs(2) instead of an fsync(2) for each of the thousands of files of a module tree.
fn sync_tree(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
