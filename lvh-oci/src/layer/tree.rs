use std::collections::HashSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The directory that layers are unpacked to: nobody else writes to it. All paths are clean and relative to it.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// What the present layer has made: its own whiteouts do not hide that.
    own: HashSet<PathBuf>,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, own: HashSet::new() }
    }

    /// From here on another layer is applied.
    pub(super) fn next_layer(&mut self) {
        self.own.clear();
    }

    pub(super) fn directory(&mut self, path: &Path, mode: u32) -> Result<()> {
        self.parents(path)?;
        let target = self.root.join(path);
        if !is_real_directory(&target) {
            self.clear_way(path)?;
            fs::create_dir(&target).map_err(|e| Error::io("create", &target, e))?;
        }
        // We have to write in it.
        set_mode(&target, mode | 0o700)?;
        self.own.insert(path.to_owned());
        Ok(())
    }

    pub(super) fn file(&mut self, path: &Path, mode: u32, size: u64, bytes: &mut impl Read) -> Result<()> {
        self.parents(path)?;
        self.clear_way(path)?;
        let target = self.root.join(path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&target)
            .map_err(|e| Error::io("create", &target, e))?;
        let mut bytes = Tagged { bytes, failed: None };
        let copied = io::copy(&mut bytes, &mut file);
        if let Some(error) = bytes.failed {
            return Err(Error::invalid("the layer", error));
        }
        let copied = copied.map_err(|e| Error::io("write", &target, e))?;
        debug_assert_eq!(copied, size, "the reader is an error before that");
        set_mode(&target, mode | 0o400)?;
        self.own.insert(path.to_owned());
        Ok(())
    }

    pub(super) fn symlink(&mut self, path: &Path, to: &Path) -> Result<()> {
        self.parents(path)?;
        self.clear_way(path)?;
        let target = self.root.join(path);
        symlink(to, &target).map_err(|e| Error::io("create", &target, e))?;
        self.own.insert(path.to_owned());
        Ok(())
    }

    /// Another name of the regular file `to`.
    pub(super) fn hard_link(&mut self, path: &Path, to: &Path) -> Result<()> {
        self.parents(path)?;
        self.parents(to)?;
        let (target, original) = (self.root.join(path), self.root.join(to));
        if !fs::symlink_metadata(&original).is_ok_and(|metadata| metadata.is_file()) {
            return Err(refused(path, format!("it is a hard link to `{}`, which is no file here", to.display())));
        }
        if path != to {
            self.clear_way(path)?;
            fs::hard_link(&original, &target).map_err(|e| Error::io("create", &target, e))?;
        }
        self.own.insert(path.to_owned());
        Ok(())
    }

    /// Removes what lower layers have at `path`; all that they have where it is empty.
    pub(super) fn hide(&self, path: &Path) -> Result<()> {
        let target = self.root.join(path);
        let Ok(metadata) = fs::symlink_metadata(&target) else { return Ok(()) };
        if !self.is_reached_by_directories(path) {
            return Ok(());
        }
        if metadata.is_dir() {
            self.hide_children(path)?;
        }
        if self.own.contains(path) || path.as_os_str().is_empty() {
            return Ok(());
        }
        match metadata.is_dir() {
            true => match fs::remove_dir(&target) {
                // The present layer has something in it.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                other => other.map_err(|e| Error::io("remove", &target, e)),
            },
            false => fs::remove_file(&target).map_err(|e| Error::io("remove", &target, e)),
        }
    }

    /// Removes what lower layers have in the directory at `path`.
    pub(super) fn hide_children(&self, path: &Path) -> Result<()> {
        let target = self.root.join(path);
        if !is_real_directory(&target) || !self.is_reached_by_directories(path) {
            return Ok(());
        }
        for entry in fs::read_dir(&target).map_err(|e| Error::io("read", &target, e))? {
            let entry = entry.map_err(|e| Error::io("read", &target, e))?;
            self.hide(&path.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Whether no link is on the way to `path`.
    fn is_reached_by_directories(&self, path: &Path) -> bool {
        path.ancestors().skip(1).all(|parent| is_real_directory(&self.root.join(parent)))
    }

    /// Makes the directories above `path` where they are missing; nothing else may be in their place, a symlink least of all.
    fn parents(&self, path: &Path) -> Result<()> {
        let mut above: Vec<_> = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        above.reverse();
        for parent in above {
            let target = self.root.join(parent);
            match fs::symlink_metadata(&target) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    return Err(refused(path, format!("`{}` is no directory, but a link or file", parent.display())));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&target).map_err(|e| Error::io("create", &target, e))?;
                }
                Err(e) => return Err(Error::io("read", &target, e)),
            }
        }
        Ok(())
    }

    /// Removes what lies at `path`.
    fn clear_way(&self, path: &Path) -> Result<()> {
        let target = self.root.join(path);
        let removed = match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&target),
            Ok(_) => fs::remove_file(&target),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        };
        removed.map_err(|e| Error::io("replace", &target, e))
    }
}

/// A member that is not taken.
pub(super) fn refused(path: &Path, why: impl Into<String>) -> Error {
    Error::Refused { entry: path.display().to_string(), why: why.into() }
}

/// Tells an error of the archive from one of the disk.
struct Tagged<'a, R> {
    bytes: &'a mut R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Tagged<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = (kind != io::ErrorKind::Interrupted).then_some(error);
            kind.into()
        })
    }
}

fn is_real_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    // Neither setuid nor setgid nor sticky.
    fs::set_permissions(path, Permissions::from_mode(mode & 0o777))
        .map_err(|e| Error::io("change the mode of", path, e))
}
