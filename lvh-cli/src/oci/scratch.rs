//! Where an image is put together.

use std::fs;
use std::path::PathBuf;

use lvh_core::{Error, Result};

/// A directory that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes it.
    pub(crate) fn new(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).map_err(|error| Error::path("create", &dir, error))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It has nothing but copies.
        let _ = fs::remove_dir_all(&self.0);
    }
}
