use std::path::PathBuf;

use super::disk::DiskFormat;
use crate::store::Key;

/// Where an image comes from: the checked form of an `[images.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageSource {
    /// A disk image that lies on this machine.
    Path(PathBuf),
}

/// An image on disk, ready to be the root of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// The name it was asked for by, such as `base`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: DiskFormat,
    /// Tells its content from others': the file's SHA-256, and those of the files that it lies over, where it does.
    pub digest: Key,
}

impl Image {
    /// Name and short digest, such as `base sha256:1f2e3d4c5b6a`.
    pub fn label(&self) -> String {
        const SHORT: usize = 12;
        format!("{} sha256:{}", self.name, &self.digest.as_str()[..SHORT])
    }
}
