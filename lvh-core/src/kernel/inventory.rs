//! Kernels that a data directory holds, with what they cost.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::git::{BUILT, Checkouts};
use crate::store::{self, Store};
use crate::{Error, Result};

/// A kernel that takes room on the disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeldKernel {
    /// A kernel's name, or `uname -r`.
    pub name: String,
    /// How many bytes of the disk it takes; of one that is built here, with its source and all that make made.
    pub size: u64,
    /// When it was built or fetched last; none where it was not.
    pub made: Option<SystemTime>,
    /// The digest of what it is made of, where it is known.
    pub digest: Option<String>,
    /// Where it is from.
    pub from: String,
}

/// The kernel `name` that `lvh kernels` keeps in `data_dir`, from `url`. One whose name cannot be a kernel's takes no room.
pub fn in_tree(data_dir: &Path, name: &str, url: &str) -> HeldKernel {
    let nothing = HeldKernel { name: name.to_owned(), size: 0, made: None, digest: None, from: url.to_owned() };
    let Ok(places) = Checkouts::new(data_dir).places(name) else { return nothing };
    let (tree, built) = (places.tree(), places.own().join(BUILT));
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let digest = fs::read_to_string(&built).ok().and_then(|text| Some(text.lines().next()?.to_owned()));
    let size = store::size(&tree) + store::size(&places.own());
    HeldKernel { size, made: time(&built).or_else(|| time(&tree)), digest, ..nothing }
}

/// The kernels in the store of `data_dir`, those of Debian, of registries and of the web, and what was built for tests.
///
/// # Errors
/// When the store cannot be read.
pub fn in_store(data_dir: &Path) -> Result<Vec<HeldKernel>> {
    // Looking makes nothing.
    if !data_dir.join("store").try_exists().map_err(|e| Error::path("look at", data_dir, e))? {
        return Ok(Vec::new());
    }
    let entries = Store::open(data_dir)?.entries()?;
    let mut held: Vec<HeldKernel> = entries
        .into_iter()
        .filter_map(|entry| {
            let from = entry.identity()?;
            let release = fs::read_to_string(entry.path.join("release"));
            let name = release.unwrap_or_else(|_| entry.kind.clone());
            let (size, made, digest) = (entry.size, Some(entry.made), Some(entry.key.to_string()));
            Some(HeldKernel { name, size, made, digest, from })
        })
        .collect();
    held.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
    Ok(held)
}
