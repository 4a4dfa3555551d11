use std::path::PathBuf;
use std::sync::Arc;

use super::disk::DiskFormat;
use super::images_json::ImageEntry;
use crate::kernel::OciSource;
use crate::store::{Key, Lock};

/// Where an image comes from: the checked form of an `[images.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageSource {
    /// A disk image that lies on this machine.
    Path(PathBuf),
    /// One that is built of packages and actions, when it is first needed and whenever its configuration has changed.
    Built(Box<BuiltImage>),
    /// The disk in `/data/images` of an OCI image.
    Oci(OciSource),
}

/// What an image is built of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuiltImage {
    /// Its name among `entries`.
    pub name: String,
    /// It, then its parent, and so on.
    pub entries: Vec<ImageEntry>,
    /// Others that are made from one of these.
    pub children: Vec<ImageEntry>,
    /// Debian's or Ubuntu's suite. Default: `trixie`.
    pub suite: String,
    /// The directory that `images/` is in. Default: one of the store's, for the configuration file.
    pub data_dir: Option<PathBuf>,
    /// The configuration file's directory, where there is none of the data.
    pub base_dir: PathBuf,
    /// The archive that packages come from. Default: that of this machine's apt.
    pub mirror: Option<String>,
}

impl BuiltImage {
    /// The image called `name` of `all`, with those that it is made from up to one that `stays` as it is, and their children:
    /// a parent is built with what its children will need.
    pub(crate) fn of_family<'e>(
        name: &str,
        all: impl Iterator<Item = &'e ImageEntry> + Clone,
        stays: &dyn Fn(&ImageEntry) -> bool,
    ) -> Self {
        let mut entries: Vec<ImageEntry> = Vec::new();
        let mut next = all.clone().find(|entry| entry.name == name);
        // A circle is told by who builds them.
        while let Some(entry) = next.filter(|entry| !entries.contains(entry)) {
            entries.push(entry.clone());
            next = all.clone().find(|parent| parent.name == entry.parent && !stays(parent));
        }
        let is_child =
            |entry: &&ImageEntry| !entries.contains(entry) && entries.iter().any(|parent| parent.name == entry.parent);
        let children = all.filter(is_child).cloned().collect();
        let (name, suite) = (name.to_owned(), "trixie".to_owned());
        Self { name, entries, children, suite, data_dir: None, base_dir: PathBuf::new(), mirror: None }
    }
}

/// An image on disk, ready to be the root of a VM.
#[derive(Debug, Clone)]
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
    /// Keeps it, and what it was made from, from being removed.
    pub(crate) in_use: Vec<Arc<Lock>>,
}

impl Image {
    /// Name and short digest, such as `base sha256:1f2e3d4c5b6a`.
    pub fn label(&self) -> String {
        const SHORT: usize = 12;
        format!("{} sha256:{}", self.name, &self.digest.as_str()[..SHORT])
    }
}
