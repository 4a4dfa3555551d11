//! Where what is pulled is unpacked, and what is pushed is put together.

use std::fs;
use std::path::PathBuf;

use lvh_core::{Error, Result};

/// A directory that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes it, in place of what a killed process has left. Nobody else may have one of this name.
    pub(crate) fn new(dir: PathBuf) -> Result<Self> {
        let scratch = Self(dir);
        scratch.clear();
        fs::create_dir(&scratch.0).map_err(|error| Error::path("create", &scratch.0, error))?;
        Ok(scratch)
    }

    fn clear(&self) {
        // It has nothing but copies. What cannot be removed is in the way of the next one, which says so.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}
