//! Where things are in a data directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The paths of one image.
#[derive(Debug)]
pub(in crate::image) struct Places {
    images: PathBuf,
    pub(super) name: String,
}

impl Places {
    pub(in crate::image) fn new(data_dir: &Path, name: &str) -> Self {
        Self { images: data_dir.join("images"), name: name.to_owned() }
    }

    /// The directory of all images, which is made where it is missing.
    pub(in crate::image) fn make(&self) -> Result<()> {
        fs::create_dir_all(&self.images).map_err(|error| Error::path("create", &self.images, error))
    }

    /// The image.
    pub(in crate::image) fn image(&self) -> PathBuf {
        self.images.join(&self.name)
    }

    /// What it is made of: see `record.rs`.
    pub(in crate::image) fn record(&self) -> PathBuf {
        self.beside("made")
    }

    /// The tree of it, as an archive, for images that are made from it.
    pub(in crate::image) fn tree_archive(&self) -> PathBuf {
        self.beside("tree.tar")
    }

    /// Held by who makes it.
    pub(in crate::image) fn lock(&self) -> PathBuf {
        self.beside("lock")
    }

    /// Held by who uses it; its time is when that was last.
    pub(in crate::image) fn in_use(&self) -> PathBuf {
        self.beside("use")
    }

    /// The image whose record is called `file_name`.
    pub(in crate::image) fn of_record(file_name: &str) -> Option<&str> {
        file_name.strip_prefix('.')?.strip_suffix(".made")
    }

    /// Where it is made.
    pub(super) fn work(&self) -> PathBuf {
        self.beside("build")
    }

    /// Where what comes from a registry, or is to go there, lies meanwhile.
    pub(super) fn shared(&self) -> PathBuf {
        self.beside("shared")
    }

    /// The digest of an image that lvh did not make: see `foreign.rs`.
    pub(super) fn digest(&self) -> PathBuf {
        self.beside("digest")
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
