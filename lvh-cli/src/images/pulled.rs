//! Disk images that come from a registry, and what became of them since.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lvh_core::store::Lock;
use lvh_core::{Error, Event, Events, Result};
use lvh_oci::{Compressed, Platform, Source};

use crate::oci::{self, Scratch};

/// Brings the disk images of `source` to `images/` of the data directory, and says where they are.
///
/// What is there already, as it came, is not fetched again. A file of the same name that is another is kept, under a name with the
/// date.
pub(crate) fn pull(
    source: &Source,
    platform: Platform,
    data_dir: &Path,
    compressed: Compressed,
    events: &Events,
) -> Result<Vec<PathBuf>> {
    let images = data_dir.join("images");
    fs::create_dir_all(&images).map_err(|error| Error::path("create", &images, error))?;
    let waiting = || events.note(format!("waiting for another process that pulls to `{}`", images.display()));
    let _alone = Lock::exclusive(&images.join(".pull.lock"), &waiting)?;
    events.step(format!("`{source}`"), "looking for it");
    let origin = format!("{} {platform}", oci::resolve(source)?);
    if let Some(files) = present(&images, &origin, compressed)? {
        events.note(format!("`{source}` is in `{}` already", images.display()));
        return Ok(files);
    }
    // Who has the lock finds what a killed process has left.
    let scratch = Scratch::new(images.join(".pull"))?;
    let pulled = oci::pull_images(source, platform, &scratch.0, compressed, events)?;
    let names: Vec<PathBuf> =
        pulled.files.iter().filter_map(|file| file.strip_prefix(&scratch.0).ok()).map(Path::to_owned).collect();
    let take = |name: &PathBuf| take(name, &scratch.0, &images, &origin, names.len(), events);
    let files = names.iter().map(take).collect::<Result<Vec<_>>>()?;
    let result = format!("in `{}`", images.display());
    events.send(Event::Done { subject: format!("`{source}`"), result });
    Ok(files)
}

/// The images of `origin` in the directory, if all of them are there as they came.
fn present(images: &Path, origin: &str, compressed: Compressed) -> Result<Option<Vec<PathBuf>>> {
    let (mut files, mut expected) = (Vec::new(), 0);
    for entry in fs::read_dir(images).map_err(|error| Error::path("read", images, error))?.flatten() {
        let Some(name) = entry.file_name().to_str().and_then(image_of_record).map(str::to_owned) else { continue };
        let file = images.join(name);
        let Some(record) = Record::load(&file)?.filter(|record| record.origin == origin) else { continue };
        expected = record.of;
        let has_compressed = compressed == Compressed::Removed || with_suffix(&file, ".zst").is_file();
        if has_compressed && record.stamp == stamp(&file) {
            files.push(file);
        }
    }
    files.sort();
    Ok((!files.is_empty() && files.len() == expected).then_some(files))
}

/// Gives a file that was pulled to `from` its place in the directory.
fn take(name: &Path, from: &Path, images: &Path, origin: &str, of: usize, events: &Events) -> Result<PathBuf> {
    let target = images.join(name);
    let parent = target.parent().unwrap_or(images);
    fs::create_dir_all(parent).map_err(|error| Error::path("create", parent, error))?;
    let is_ours = Record::load(&target)?.is_some_and(|record| record.stamp == stamp(&target));
    if target.exists() && !is_ours {
        let kept = keep(&target)?;
        events.note(format!(
            "`{}` was changed here, or is from elsewhere: it is `{}` now",
            target.display(),
            kept.display()
        ));
    }
    let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|error| Error::path("store", to, error));
    let zst = with_suffix(&from.join(name), ".zst");
    if zst.is_file() {
        rename(&zst, &with_suffix(&target, ".zst"))?;
    }
    rename(&from.join(name), &target)?;
    // What `lvh images build` noted of another file.
    for beside in ["made", "tree.tar"] {
        let _ = fs::remove_file(beside_of(&target, beside));
    }
    Record { origin: origin.to_owned(), of, stamp: stamp(&target) }.save(&target)?;
    Ok(target)
}

/// Gives what was changed here a name of its own.
fn keep(file: &Path) -> Result<PathBuf> {
    let names = (1_u32..).map(|number| with_suffix(file, &format!(".local-{number}")));
    let name = names.into_iter().find(|name| !name.exists()).expect("there are numbers enough");
    fs::rename(file, &name).map_err(|error| Error::path("rename", file, error))?;
    Ok(name)
}

/// What is noted of an image that was pulled, beside it.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    /// The digest of what it came from, and the platform.
    origin: String,
    /// How many came with it, itself among them.
    of: usize,
    /// What changes when it does.
    stamp: String,
}

impl Record {
    fn load(image: &Path) -> Result<Option<Self>> {
        let path = beside_of(image, "pulled");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::path("read", &path, error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, of, stamp) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Self { origin: origin.to_owned(), of: of.parse().ok()?, stamp: stamp.to_owned() })
    }

    fn save(&self, image: &Path) -> Result<()> {
        let path = beside_of(image, "pulled");
        let text = format!("{}\n{}\n{}\n", self.origin, self.of, self.stamp);
        fs::write(&path, text).map_err(|error| Error::path("write", &path, error))
    }
}

/// Size and time of the last change: a VM that writes to the image changes them. A copy that keeps times is the same.
fn stamp(image: &Path) -> String {
    fs::metadata(image).map_or_else(
        |_absent| "missing".to_owned(),
        |metadata| format!("{} {}.{}", metadata.size(), metadata.mtime(), metadata.mtime_nsec()),
    )
}

fn beside_of(image: &Path, what: &str) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    image.with_file_name(format!(".{name}.{what}"))
}

/// The image that a file of this name is a record of.
fn image_of_record(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(".pulled")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
