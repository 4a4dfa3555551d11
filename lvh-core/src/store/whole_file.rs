//! Files that are there as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Has `path` hold `text`, which is written as `new` first, on the same file system: at any moment there is the old file or the
/// new one, and no half of it stays, as where the disk is full.
///
/// # Errors
/// Those of the operating system; the old file stays.
pub(crate) fn replace(path: &Path, new: &Path, text: &str) -> io::Result<()> {
    let replaced = write(new, text).and_then(|()| fs::rename(new, path));
    if replaced.is_err() {
        let _ = fs::remove_file(new);
    }
    replaced
}

fn write(new: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_no_half() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("file"), dir.path().join("file.new"));
        replace(&path, &new, "one").unwrap();
        replace(&path, &new, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert!(replace(&dir.path().join("none/file"), &new, "three").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
