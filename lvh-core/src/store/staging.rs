use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::lock::Lock;
use super::unwritable;
use crate::{Error, Result};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where an entry grows before it gets its name: a locked directory that is gone when this is dropped.
#[derive(Debug)]
pub struct Staging {
    dir: PathBuf,
    // flock on the directory itself: it says that the owner lives.
    _alive: File,
}

impl Staging {
    /// Makes a new one below `tmp`, after sweeping what killed processes have left there.
    pub(super) fn new(tmp: &Path) -> Result<Self> {
        let gate = tmp.join(".gate");
        sweep(tmp, &gate)?;
        // A sweeper must not see the directory between its creation and its lock.
        let _gate = Lock::shared(&gate, &|| {})?;
        let dir = tmp.join(fresh_name());
        let make = || {
            fs::create_dir(&dir)?;
            fs::create_dir(dir.join("entry"))?;
            fs::create_dir(dir.join("scratch"))
        };
        make().map_err(|e| unwritable("create", &dir, e))?;
        let alive = File::open(&dir).map_err(|e| Error::path("open", &dir, e))?;
        alive.lock().map_err(|e| Error::path("lock", &dir, e))?;
        Ok(Self { dir, _alive: alive })
    }

    /// Those below `tmp` whose owners are dead.
    pub(super) fn abandoned(tmp: &Path) -> Vec<PathBuf> {
        let found = fs::read_dir(tmp).into_iter().flatten().flatten().map(|found| found.path());
        found.filter(|dir| dir.is_dir() && File::open(dir).is_ok_and(|dir| dir.try_lock().is_ok())).collect()
    }

    /// The directory that becomes the entry.
    pub fn entry(&self) -> PathBuf {
        self.dir.join("entry")
    }

    /// A directory on the same file system for downloads and half-done work; it goes away with the staging.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

// The process id alone may be another process's too, in a container that shares this directory.
fn fresh_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{}", process::id(), now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn sweep(tmp: &Path, gate: &Path) -> Result<()> {
    let _gate = Lock::exclusive(gate, &|| {})?;
    for found in fs::read_dir(tmp).map_err(|e| Error::path("read", tmp, e))?.flatten() {
        let dir = found.path();
        if dir.is_dir() && File::open(&dir).is_ok_and(|f| f.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(&dir);
        }
    }
    Ok(())
}
