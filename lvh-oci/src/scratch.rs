use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, Result};

const PREFIX: &str = ".lvh-oci-";

/// A directory for what is not finished. It is removed when dropped; after a kill, by the next one made beside it.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    _in_use: File,
}

impl Scratch {
    pub(crate) fn new_in(parent: &Path) -> Result<Self> {
        let make = || {
            sweep(parent);
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            // It has its name when it is locked: others remove what they can lock.
            let (new, name) = (dir.path().join("new-lock"), dir.path().join("lock"));
            let lock = File::create(&new)?;
            lock.lock()?;
            fs::rename(new, name)?;
            Ok(Self { dir, _in_use: lock })
        };
        make().map_err(|e| Error::io("create a directory in", parent, e))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A fresh directory in it.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
        Ok(path)
    }
}

/// Removes what killed processes left: their locks are free. One without a lock file is just being made.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let free = File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if free {
            // Another process may remove it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
