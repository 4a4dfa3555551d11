//! The digest of what an image is made of.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::image::images_json::ImageEntry;
use crate::store::Key;
use crate::{Arch, Error, Result};

/// To be raised when images are made in another way.
const LAYOUT: &str = "2";

/// What an image is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Packages of a suite.
    Suite(String),
    /// Another image, with this content.
    Image(String),
}

/// The digest of the configuration, of what the image is made from and of the host's files that it takes.
pub(crate) fn inputs(image: &ImageEntry, base: &Base, data_dir: &Path) -> Result<Key> {
    let base = match base {
        Base::Suite(suite) => ["suite", suite],
        Base::Image(content) => ["image", content],
    };
    // As it is written, but without words that change nothing.
    let mut plain = image.clone();
    plain.actions.iter_mut().for_each(|action| action.comment.clear());
    let fixed = ["image", LAYOUT, env!("CARGO_PKG_VERSION"), Arch::HOST.as_str()].map(str::to_owned);
    let mut parts: Vec<String> = fixed.into_iter().chain(base.map(str::to_owned)).collect();
    parts.push(format!("{plain:?}"));
    for path in image.actions.iter().flat_map(|action| action.op.host_paths(data_dir)) {
        parts.push(of_path(&path)?.to_string());
    }
    Ok(Key::of(parts))
}

/// The digest of a file, or of a directory with all that is in it.
fn of_path(path: &Path) -> Result<Key> {
    let failed = |error| Error::path("read", path, error);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let mode = metadata.permissions().mode().to_le_bytes();
    let content: Vec<Vec<u8>> = if metadata.is_dir() {
        let entries: std::io::Result<Vec<_>> = fs::read_dir(path).map_err(failed)?.collect();
        let mut names: Vec<_> = entries.map_err(failed)?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort();
        let digest = |name: std::ffi::OsString| {
            Ok([name.as_bytes(), b"\0", of_path(&path.join(&name))?.as_str().as_bytes()].concat())
        };
        names.into_iter().map(digest).collect::<Result<_>>()?
    } else if metadata.is_symlink() {
        vec![fs::read_link(path).map_err(failed)?.as_os_str().as_bytes().to_owned()]
    } else if metadata.is_file() {
        vec![Key::of_file(path)?.as_str().as_bytes().to_owned()]
    } else {
        Vec::new()
    };
    Ok(Key::of_bytes([&mode[..]].into_iter().chain(content.iter().map(Vec::as_slice))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::action::{Action, Op};

    #[test]
    fn all_that_is_in_an_image_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/e")).unwrap();
        fs::write(dir.path().join("d/e/file"), "1").unwrap();
        let copy = Op::CopyIn { local_path: "d".to_owned(), remote_dir: "/".to_owned() };
        let image = ImageEntry {
            name: "a".to_owned(),
            actions: vec![Action { comment: "c".to_owned(), op: copy }],
            ..ImageEntry::default()
        };
        let suite = Base::Suite("trixie".to_owned());
        let key = |image: &ImageEntry, base: &Base| inputs(image, base, dir.path()).unwrap();
        let before = key(&image, &suite);
        let changed = |change: &dyn Fn(&mut ImageEntry)| {
            let mut image = image.clone();
            change(&mut image);
            key(&image, &suite) != before
        };
        assert!(!changed(&|image| image.actions[0].comment = "d".to_owned()));
        assert!(changed(&|image| image.packages.push("less".to_owned())));
        assert!(changed(&|image| image.image_size = "9G".to_owned()));
        assert!(changed(&|image| image.name = "b".to_owned()));
        assert!(changed(&|image| image.actions.clear()));
        assert_ne!(key(&image, &Base::Suite("sid".to_owned())), before);
        assert_ne!(key(&image, &Base::Image("trixie".to_owned())), before);
        fs::write(dir.path().join("d/e/file"), "2").unwrap();
        assert_ne!(key(&image, &suite), before);
        fs::write(dir.path().join("d/e/file"), "1").unwrap();
        assert_eq!(key(&image, &suite), before);
        fs::rename(dir.path().join("d/e/file"), dir.path().join("d/e/other")).unwrap();
        assert_ne!(key(&image, &suite), before);
    }
}
