//! Telling whether a file has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Result;
use crate::store::{Key, Store};

/// Path, size, inode and times of a file: they change when it does.
pub(crate) fn stamp(file: &Path) -> String {
    let name = file.display();
    fs::metadata(file).map_or_else(
        |_| format!("{name} missing"),
        |m| {
            format!("{name} {} {} {}.{} {}.{}", m.size(), m.ino(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
        },
    )
}

/// The digest of a file, which `read` computes again only when the file changes.
pub(crate) fn digest(file: &Path, store: &Store, read: impl FnOnce() -> Result<Key>) -> Result<Key> {
    let question = Key::of(["digest".to_owned(), stamp(file)]);
    if let Some(digest) = store.recall(&question) {
        return Ok(digest);
    }
    let digest = read()?;
    store.remember(&question, &digest)?;
    Ok(digest)
}
