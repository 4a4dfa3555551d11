//! Where things are in a data directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The paths of one image.
#[derive(Debug)]
pub(super) struct Places {
    images: PathBuf,
    pub(super) name: String,
}

impl Places {
    pub(super) fn new(data_dir: &Path, name: &str) -> Self {
        Self { images: data_dir.join("images"), name: name.to_owned() }
    }

    /// The directory of all images, which is made where it is missing.
    pub(super) fn make(&self) -> Result<()> {
        fs::create_dir_all(&self.images).map_err(|error| Error::path("create", &self.images, error))
    }

    /// The image.
    pub(super) fn image(&self) -> PathBuf {
        self.images.join(&self.name)
    }

    /// What it is made of: see `record.rs`.
    pub(super) fn record(&self) -> PathBuf {
        self.beside("made")
    }

    /// The tree of it, as an archive, for images that are made from it.
    pub(super) fn tree_archive(&self) -> PathBuf {
        self.beside("tree.tar")
    }

    /// Held by who makes it.
    pub(super) fn lock(&self) -> PathBuf {
        self.beside("lock")
    }

    /// Where it is made.
    pub(super) fn work(&self) -> PathBuf {
        self.beside("build")
    }

    /// Where what is left of a failed build goes.
    pub(super) fn failed(&self, date: &str) -> PathBuf {
        let dir = self.images.parent().unwrap_or(Path::new("")).join("images-failed");
        dir.join(format!("{}-{date}", self.name))
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.images.join(format!(".{}.{what}", self.name))
    }
}

/// A path as a word for a program.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("the path `{}` is not UTF-8, as images need it", path.display()))
    })
}
