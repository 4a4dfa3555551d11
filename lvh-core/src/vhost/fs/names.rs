//! Names that come from the guest.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, PathBuf};

/// The longest path Linux takes, with its zero.
const PATH_MAX: usize = 4096;

/// Checks that `name` is the name of one entry of a directory.
pub(super) fn entry_name(name: &CStr) -> io::Result<&[u8]> {
    let name = name.to_bytes();
    let is_entry = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
    if is_entry { Ok(name) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
}

/// The path of `names`, innermost first, below a shared directory; `.` for the directory itself.
pub(super) fn join(names: &[&[u8]]) -> io::Result<CString> {
    let mut path = Vec::new();
    for name in names.iter().rev() {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'.');
    }
    if path.len() >= PATH_MAX {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    CString::new(path).map_err(|_nul| io::Error::from_raw_os_error(libc::EINVAL))
}

/// The paths below the top of a tree that are served as empty directories.
#[derive(Debug, Default)]
pub(super) struct Hidden(HashSet<Vec<u8>>);

impl Hidden {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let relative = |path: &PathBuf| {
            let names: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
            names.as_os_str().as_bytes().to_vec()
        };
        Self(paths.iter().map(relative).collect())
    }

    pub(super) fn contains(&self, path: &CStr) -> bool {
        self.0.contains(path.to_bytes())
    }
}
