//! From a tree to a disk.

use std::path::{Path, PathBuf};

use super::loader::Loader;
use super::parent::convert;
use super::size;
use crate::image::build::places::text;
use crate::image::build::sandbox::chroot::Chroot;
use crate::image::build::sandbox::place::Job;
use crate::image::disk;
use crate::image::images_json::{ImageEntry, is_qcow2};
use crate::store::Key;
use crate::{Error, Result};

const DISK: &str = include_str!("disk.sh");
const TIMES: &str = include_str!("times.sh");

/// Makes the disk of an image of its tree: a file in the directory where it is made.
pub(crate) fn make(image: &ImageEntry, parent: Option<&Path>, inputs: &Key, chroot: &Chroot<'_>) -> Result<PathBuf> {
    let (tree, raw) = (chroot.tree(), chroot.space().join("disk.raw"));
    let loader = Loader::put(chroot)?;
    let time = time(&tree, chroot)?;
    let bytes = bytes(image, parent)?.to_string();
    let words = ["sh", "-c", DISK, "disk.sh", text(&tree)?, text(&raw)?, &bytes, &uuid(inputs), &time];
    chroot.beside("making the file system", &words).map_err(|error| match error.output() {
        Some(said) if said.contains("Could not allocate") => error.with_hint("give the image a larger `image_size`"),
        _ => error,
    })?;
    chroot.fetch("disk.raw")?;
    loader.map_or(Ok(()), |loader| loader.connect(&raw, chroot))?;
    if !is_qcow2(&image.name) {
        return Ok(raw);
    }
    let disk = chroot.work.join("disk.qcow2");
    convert(chroot, "writing qcow2", ["raw", "qcow2"], &raw, &disk)?;
    std::fs::remove_file(&raw).map_err(|error| Error::path("remove", &raw, error))?;
    Ok(disk)
}

/// Gives what is newer than the packages one time, and tells it.
fn time(tree: &Path, chroot: &Chroot<'_>) -> Result<String> {
    let mut words = vec!["sh", "-c", TIMES, "times.sh", text(tree)?];
    let asked = std::env::var("SOURCE_DATE_EPOCH").ok();
    words.extend(asked.as_deref());
    Ok(chroot.place.run(Job::of_host(&words), chroot.stop)?.trim().to_owned())
}

/// How large the disk is to be: as it says, or as its parent's.
pub(crate) fn bytes(image: &ImageEntry, parent: Option<&Path>) -> Result<u64> {
    match (image.image_size.as_str(), parent) {
        ("", None) => Ok(size::DEFAULT),
        ("", Some(parent)) => disk::size(parent),
        (text, _) => size::parse(text),
    }
}

/// An identifier for the file system, which two builds of one configuration have in common.
fn uuid(inputs: &Key) -> String {
    let digits = &inputs.as_str()[..32];
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    // Version 8 of RFC 9562: made in a way of our own.
    format!("{a}-{b}-8{}-a{}-{e}", &c[1..], &d[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_as_large_as_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let mut header = [0; 40];
        header[..4].copy_from_slice(b"QFI\xfb");
        header[24..32].copy_from_slice(&(8_u64 << 30).to_be_bytes());
        std::fs::write(&path, header).unwrap();
        let image = |size: &str| ImageEntry { image_size: size.to_owned(), ..ImageEntry::default() };
        assert_eq!(bytes(&image(""), Some(&path)).unwrap(), 8 << 30);
        assert_eq!(bytes(&image("9G"), Some(&path)).unwrap(), 9 << 30);
        assert_eq!(bytes(&image(""), None).unwrap(), 8 << 30);
    }

    #[test]
    fn an_identifier_has_its_form() {
        let uuid = uuid(&Key::of(["x"]));
        let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{uuid}");
        assert!(uuid[14..].starts_with('8') && uuid[19..].starts_with('a'), "{uuid}");
    }
}
