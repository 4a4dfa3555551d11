//! Images that lvh built for tests, as `lvh gc` removes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::build::Places;
use crate::store::{self, Key, Limits, Lock, Store};
use crate::{Error, Result};

/// Where the store keeps what `[images]` tables describe: a directory for each `lvh.toml`.
const IMAGES: &str = "images";

/// The directory for the images of the configuration file in `base_dir`.
pub(super) fn dir_of(base_dir: &Path, store: &Store) -> Result<PathBuf> {
    store.state(&format!("{IMAGES}/{}", Key::of([base_dir.to_string_lossy()])))
}

/// Notes that the image is wanted, and keeps it from [`collect`] for as long as this is held.
pub(super) fn in_use(data_dir: &Path, name: &str) -> Result<Arc<Lock>> {
    let places = Places::new(data_dir, name);
    places.make()?;
    let lock = Lock::shared(&places.in_use(), &|| {})?;
    lock.touch();
    Ok(Arc::new(lock))
}

/// An image that goes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CollectedImage {
    /// Its name.
    pub name: String,
    /// How many bytes of the disk it takes, with what is kept for images that are made from it.
    pub size: u64,
    /// When somebody took it last.
    pub used: SystemTime,
}

/// Removes images that were built for `[images]` tables and that nobody took for as long as `limits` say, but none in use. What lies in
/// `images/` of the data directory is people's. Also returns how many bytes failed builds have left.
///
/// # Errors
/// When something cannot be removed.
pub fn collect(store: &Store, limits: Limits) -> Result<(Vec<CollectedImage>, u64)> {
    let (mut removed, mut leftovers) = (Vec::new(), 0);
    for data_dir in entries(&store.state(IMAGES)?) {
        for record in entries(&data_dir.join("images")) {
            if let Some(name) = record.file_name().and_then(|name| name.to_str()).and_then(Places::of_record) {
                removed.extend(collect_one(&Places::new(&data_dir, name), name, limits)?);
            }
        }
        for failed in entries(&data_dir.join("images-failed")).into_iter().filter(|dir| limits.is_old(modified(dir))) {
            leftovers += store::size(&failed);
            if !limits.dry_run {
                fs::remove_dir_all(&failed).map_err(|error| Error::path("remove", &failed, error))?;
            }
        }
    }
    Ok((removed, leftovers))
}

fn collect_one(places: &Places, name: &str, limits: Limits) -> Result<Option<CollectedImage>> {
    let used = modified(&places.in_use()).or_else(|| modified(&places.image()));
    if !limits.is_old(used) {
        return Ok(None);
    }
    let (Some(_unused), Some(_unmade)) = (Lock::try_exclusive(&places.in_use())?, Lock::try_exclusive(&places.lock())?)
    else {
        return Ok(None);
    };
    // The record last: an image without one would pass for one of people's.
    let files = [places.image(), places.tree_archive(), places.record()];
    let size = files.iter().map(|file| store::size(file)).sum();
    if !limits.dry_run {
        files.iter().try_for_each(|file| remove(file))?;
    }
    Ok(Some(CollectedImage { name: name.to_owned(), size, used: used.unwrap_or(SystemTime::UNIX_EPOCH) }))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|found| found.path()).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::path("remove", file, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn images_that_nobody_takes_go() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let data_dir = dir_of(Path::new("/project"), &store).unwrap();
        fs::create_dir_all(data_dir.join("images-failed/old-1")).unwrap();
        let held = ["old", "used", "new", "peoples"].map(|name| {
            let places = Places::new(&data_dir, name);
            places.make().unwrap();
            fs::write(places.image(), vec![1; 60 << 10]).unwrap();
            if name != "peoples" {
                fs::write(places.record(), "{}").unwrap();
            }
            let held = in_use(&data_dir, name).unwrap();
            let age = if name == "new" { DAY } else { 40 * DAY };
            fs::File::options()
                .write(true)
                .open(places.in_use())
                .unwrap()
                .set_modified(SystemTime::now() - age)
                .unwrap();
            (name == "used").then_some(held)
        });
        let gone = |older_than: Duration, dry_run: bool| {
            let (removed, _) = collect(&store, Limits { older_than, keep_size: None, dry_run }).unwrap();
            removed.into_iter().map(|image| (image.name, image.size >= 60 << 10)).collect::<Vec<_>>()
        };
        let expected = [("old".to_owned(), true)];
        assert_eq!(gone(30 * DAY, true), expected);
        assert_eq!(gone(30 * DAY, false), expected);
        let mut left: Vec<_> =
            entries(&data_dir.join("images")).into_iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.retain(|name| !name.to_string_lossy().starts_with('.'));
        left.sort();
        assert_eq!(left, ["new", "peoples", "used"]);
        drop(held);
        assert_eq!(gone(Duration::ZERO, false).len(), 2);
        assert!(entries(&data_dir.join("images-failed")).is_empty());
    }
}
