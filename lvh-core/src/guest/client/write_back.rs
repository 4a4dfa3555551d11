//! Files that come back over the channel.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::guest::protocol::ToHost;

/// Writes the parts of files below one directory, whatever names the guest sends.
#[derive(Debug)]
pub(crate) struct WriteBack {
    directory: PathBuf,
    open: Option<(PathBuf, File)>,
}

impl WriteBack {
    /// Files go below `directory`, and nowhere else.
    pub(crate) fn into(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), open: None }
    }

    /// Takes the next part.
    pub(crate) fn take(&mut self, part: ToHost) -> io::Result<()> {
        let ToHost::File { path, mode, data, last, .. } = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a part of a file"));
        };
        let path = Path::new(OsStr::from_bytes(&path.0));
        let mut file = match self.open.take() {
            Some((open, file)) if open == path => file,
            _ => self.create(path)?,
        };
        file.write_all(&data.0)?;
        if last {
            return file.set_permissions(Permissions::from_mode(mode & 0o777));
        }
        self.open = Some((path.to_owned(), file));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let bad =
            || io::Error::new(io::ErrorKind::InvalidData, format!("the guest sent the file name `{}`", path.display()));
        if path.components().count() == 0 || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(bad());
        }
        let mut parent = self.directory.clone();
        for part in path.parent().unwrap_or(Path::new("")).components() {
            parent.push(part);
            match fs::symlink_metadata(&parent) {
                Ok(found) if found.is_dir() => {}
                // A link of the host's may lead anywhere.
                Ok(_) => return Err(bad()),
                Err(_) => fs::create_dir(&parent)?,
            }
        }
        let target = self.directory.join(path);
        File::options().write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW).open(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::wire::Bytes;

    fn part(path: &str, data: &str, last: bool) -> ToHost {
        ToHost::File { id: 1, path: Bytes(path.into()), mode: 0o640, data: Bytes(data.into()), last }
    }

    #[test]
    fn files_stay_below_their_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        fs::create_dir(dir.join("in")).unwrap();
        std::os::unix::fs::symlink("/tmp", dir.join("in/link")).unwrap();
        std::os::unix::fs::symlink("/tmp/x", dir.join("in/file-link")).unwrap();
        let mut files = WriteBack::into(&dir.join("in"));
        files.take(part("a/b", "one ", false)).unwrap();
        files.take(part("a/b", "two", true)).unwrap();
        assert_eq!(fs::read_to_string(dir.join("in/a/b")).unwrap(), "one two");
        for path in ["", "/etc/x", "../x", "a/../../x", "link/x", "file-link", "a/b/c", "."] {
            assert!(files.take(part(path, "", true)).is_err(), "{path}");
        }
    }
}
