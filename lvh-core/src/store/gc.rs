//! What the store holds, and how it becomes less.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::entry::clear;
use super::{Key, Lock, Staging, Store};
use crate::{Error, Result};

/// Directories of the store that hold no entries.
const NO_KINDS: &[&str] = &["locks", "resolved", "state", "tmp"];

/// One entry, as it is found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredEntry {
    /// Such as `deb-kernel`.
    pub kind: String,
    /// Its digest.
    pub key: Key,
    /// Its directory.
    pub path: PathBuf,
    /// How many bytes of the disk it takes.
    pub size: u64,
    /// When it was made.
    pub made: SystemTime,
    /// When somebody took it last.
    pub used: SystemTime,
}

impl StoredEntry {
    /// What it says of itself, where it does.
    pub fn identity(&self) -> Option<String> {
        fs::read_to_string(self.path.join("identity")).ok()
    }
}

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What nobody took for so long goes.
    pub older_than: Duration,
    /// Then what was taken longest ago, until entries take no more bytes than this. Default: no limit.
    pub keep_size: Option<u64>,
    /// Nothing goes; what would is told.
    pub dry_run: bool,
}

/// What went, and what stayed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Entries that went.
    pub removed: Vec<StoredEntry>,
    /// How many should have gone, but are in use.
    pub in_use: usize,
    /// How many stay, those among them, and their bytes.
    pub kept: (usize, u64),
    /// Bytes of what killed processes left: half-made entries, cut downloads.
    pub leftovers: u64,
}

impl Limits {
    /// Whether what was taken at `used` goes for its age.
    pub(crate) fn is_old(&self, used: Option<SystemTime>) -> bool {
        used.is_none_or(|used| used.elapsed().is_ok_and(|unused| unused >= self.older_than))
    }
}

impl Store {
    /// All entries, those that were taken longest ago first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn entries(&self) -> Result<Vec<StoredEntry>> {
        let kinds = fs::read_dir(self.dir()).map_err(|e| Error::path("read", self.dir(), e))?.flatten();
        let kinds = kinds.filter_map(|kind| kind.file_name().into_string().ok());
        let kinds = kinds.filter(|kind| !NO_KINDS.contains(&kind.as_str()));
        let mut entries: Vec<StoredEntry> = kinds.flat_map(|kind| self.entries_of(&kind)).collect();
        entries.sort_by(|a, b| (a.used, &a.key).cmp(&(b.used, &b.key)));
        Ok(entries)
    }

    fn entries_of(&self, kind: &str) -> Vec<StoredEntry> {
        let found = fs::read_dir(self.dir().join(kind)).into_iter().flatten().flatten();
        found.filter_map(|found| self.entry_at(kind, found.path())).collect()
    }

    fn entry_at(&self, kind: &str, path: PathBuf) -> Option<StoredEntry> {
        let key = Key::parse(path.file_name()?.to_str()?)?;
        let made = modified(&path)?;
        let used = modified(&self.entry_lock(kind, &key)).map_or(made, |used| used.max(made));
        Some(StoredEntry { kind: kind.to_owned(), key, size: size(&path), path, made, used })
    }

    /// Removes what `limits` say, but nothing that is in use.
    ///
    /// # Errors
    /// When the store cannot be read, or something cannot be removed.
    pub fn collect(&self, limits: Limits) -> Result<Collected> {
        let mut collected = Collected { leftovers: self.collect_leftovers(limits)?, ..Collected::default() };
        let entries = self.entries()?;
        let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
        for entry in entries {
            let old = limits.is_old(Some(entry.used));
            let too_much = limits.keep_size.is_some_and(|most| bytes > most);
            match (old || too_much).then(|| self.remove_unused(&entry, limits.dry_run)).transpose()? {
                Some(true) => {
                    bytes -= entry.size;
                    collected.removed.push(entry);
                }
                taken => {
                    collected.in_use += usize::from(taken.is_some());
                    collected.kept.0 += 1;
                }
            }
        }
        collected.kept.1 = bytes;
        self.forget_unasked(limits)?;
        Ok(collected)
    }

    /// Forgets what names stood for that nobody asked for, but not where that still is an entry. It is no room worth a word, but
    /// each change of a file leaves one.
    fn forget_unasked(&self, limits: Limits) -> Result<()> {
        let kept: HashSet<Key> = self.entries()?.into_iter().map(|entry| entry.key).collect();
        for found in fs::read_dir(self.dir().join("resolved")).into_iter().flatten().flatten() {
            let path = found.path();
            let answer = fs::read_to_string(&path).ok().and_then(|text| Key::parse(text.trim_end()));
            let is_kept = answer.is_some_and(|answer| kept.contains(&answer));
            if !limits.dry_run && !is_kept && limits.is_old(modified(&path)) {
                clear(&path).map_err(|e| Error::path("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// Removes `entry`, unless somebody uses it or did since it was looked at.
    fn remove_unused(&self, entry: &StoredEntry, dry_run: bool) -> Result<bool> {
        let lock = self.entry_lock(&entry.kind, &entry.key);
        let Some(_alone) = Lock::try_exclusive(&lock)? else { return Ok(false) };
        if modified(&lock).is_some_and(|used| used > entry.used) && entry.used != entry.made {
            return Ok(false);
        }
        if dry_run {
            return Ok(true);
        }
        // It is gone at once, or not at all: half of an entry would pass for a whole one.
        let staging = Staging::new(&self.dir().join("tmp"))?;
        let away = staging.scratch().join("entry");
        fs::rename(&entry.path, &away).map_err(|e| Error::path("remove", &entry.path, e))?;
        drop(staging);
        Ok(true)
    }

    /// Removes what killed processes left; returns how many bytes.
    fn collect_leftovers(&self, limits: Limits) -> Result<u64> {
        let tmp = self.dir().join("tmp");
        let before = Staging::abandoned(&tmp).iter().map(|dir| size(dir)).sum::<u64>();
        if !limits.dry_run {
            // Who makes a new one sweeps the old ones.
            drop(Staging::new(&tmp)?);
        }
        Ok(before + self.collect_downloads(limits)?)
    }

    fn collect_downloads(&self, limits: Limits) -> Result<u64> {
        let mut bytes = 0;
        for found in fs::read_dir(self.dir().join("state/downloads")).into_iter().flatten().flatten() {
            let path = found.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let old = limits.is_old(modified(&path));
            // The name is that of the lock too.
            let name = name.split('.').next().unwrap_or(name);
            let Some(_alone) = Lock::try_exclusive(&self.lock_file(&format!("download-{name}")))?.filter(|_| old)
            else {
                continue;
            };
            bytes += size(&path);
            if !limits.dry_run {
                fs::remove_file(&path).map_err(|e| Error::path("remove", &path, e))?;
            }
        }
        Ok(bytes)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// How many bytes of the disk the files at and below `path` take, holes not counted.
pub(crate) fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let below = || fs::read_dir(path).into_iter().flatten().flatten().map(|found| size(&found.path())).sum();
    metadata.blocks() * 512 + if metadata.is_dir() { below() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct World {
        dir: tempfile::TempDir,
        store: Store,
    }

    impl World {
        /// A store with entries of 64 KiB that were taken so many days ago.
        fn new(days: &[u32]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let world = Self { store: Store::open(dir.path()).unwrap(), dir };
            for days in days {
                world
                    .store
                    .populate("kind", &key(*days), &|| {}, |staging| {
                        fs::write(staging.entry().join("file"), vec![1; 60 << 10]).unwrap();
                        Ok(())
                    })
                    .unwrap();
                world.age(*days);
            }
            world
        }

        fn age(&self, days: u32) {
            let at = SystemTime::now() - DAY * days;
            for path in
                [self.store.dir().join("kind").join(key(days).as_str()), self.store.entry_lock("kind", &key(days))]
            {
                fs::File::open(path).unwrap().set_modified(at).unwrap();
            }
        }

        /// Which go, by their age in days.
        fn gone(&self, older_than: u32, keep_size: Option<u64>, dry_run: bool) -> Vec<u32> {
            let limits = Limits { older_than: DAY * older_than, keep_size, dry_run };
            let removed = self.store.collect(limits).unwrap().removed;
            removed.iter().map(|entry| (0..100).find(|days| key(*days) == entry.key).unwrap()).collect()
        }
    }

    fn key(days: u32) -> Key {
        Key::of([days.to_string()])
    }

    #[test]
    fn what_is_old_or_too_much_goes() {
        let world = World::new(&[1, 10, 20, 40]);
        assert_eq!(world.gone(30, None, true), [40]);
        assert_eq!(world.gone(30, Some(150 << 10), true), [40, 20]);
        assert_eq!(world.gone(5, None, false), [40, 20, 10]);
        assert_eq!(world.gone(0, Some(0), false), [1]);
        assert_eq!(world.store.entries().unwrap().len(), 0);
    }

    #[test]
    fn answers_that_nobody_asks_for_are_forgotten() {
        let world = World::new(&[1]);
        let questions = ["entry", "old", "asked"].map(|text| Key::of([text]));
        for (question, answer) in questions.iter().zip([key(1), key(2), key(3)]) {
            world.store.remember(question, &answer).unwrap();
            let file = world.store.dir().join("resolved").join(question.as_str());
            fs::File::open(file).unwrap().set_modified(SystemTime::now() - DAY * 40).unwrap();
        }
        assert!(world.store.recall(&questions[2]).is_some());
        world.gone(30, None, true);
        assert_eq!(fs::read_dir(world.store.dir().join("resolved")).unwrap().count(), 3);
        world.gone(30, None, false);
        let known = questions.each_ref().map(|question| world.store.recall(question).is_some());
        assert_eq!(known, [true, false, true]);
    }

    #[test]
    fn what_is_in_use_stays_and_use_is_noticed() {
        let world = World::new(&[40, 50, 60]);
        let used = world.store.get("kind", &key(50), &|| {}).unwrap().unwrap();
        world.age(50);
        let limits = Limits { older_than: DAY, keep_size: None, dry_run: false };
        drop(world.store.get("kind", &key(60), &|| {}).unwrap().unwrap());
        let collected = world.store.collect(limits).unwrap();
        assert_eq!((collected.removed.len(), collected.in_use, collected.kept.0), (1, 1, 2));
        assert!(used.path().join("file").exists() && world.dir.path().exists());
        drop(used);
        assert_eq!(world.gone(1, None, false), [50]);
    }

    #[test]
    fn what_killed_processes_left_goes() {
        let world = World::new(&[]);
        let tmp = world.store.dir().join("tmp/1-2-3");
        fs::create_dir_all(tmp.join("entry")).unwrap();
        fs::write(tmp.join("entry/half"), vec![1; 100_000]).unwrap();
        let part = world.store.state("downloads").unwrap().join(key(1).as_str());
        fs::write(&part, vec![1; 100_000]).unwrap();
        fs::File::open(&part).unwrap().set_modified(SystemTime::now() - DAY * 40).unwrap();
        let busy = Staging::new(&world.store.dir().join("tmp")).unwrap();
        fs::create_dir_all(tmp.join("entry")).unwrap();
        fs::write(tmp.join("entry/half"), vec![1; 100_000]).unwrap();
        let limits = |dry_run| Limits { older_than: DAY * 30, keep_size: None, dry_run };
        let told = world.store.collect(limits(true)).unwrap().leftovers;
        assert!(told >= 200_000 && tmp.exists() && part.exists(), "{told}");
        let freed = world.store.collect(limits(false)).unwrap().leftovers;
        assert!(freed == told && !tmp.exists() && !part.exists() && busy.entry().exists(), "{freed}");
    }
}
