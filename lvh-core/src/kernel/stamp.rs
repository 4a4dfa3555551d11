//! Telling whether a file has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
