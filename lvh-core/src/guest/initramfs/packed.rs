//! Programs for a guest that cannot see the host's files: each with its loader and libraries, at their host paths.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::base::Init;
use super::cpio::Archive;
use crate::error::{Error, Result};
use crate::program::needs::Needs;

/// The initramfs segment that holds `files`, what those of them that are programs need to run, the empty
/// `directories`, and what is to be at another path than on the host: `renamed`, from and to.
///
/// # Errors
/// A file cannot be read; a program's loader cannot say what it needs.
pub(crate) fn segment(files: &[PathBuf], directories: &[PathBuf], renamed: &[(PathBuf, PathBuf)]) -> Result<Vec<u8>> {
    let mut closure = BTreeSet::new();
    for file in files {
        closure.extend(needs(file)?);
        closure.insert(file.clone());
    }
    let mut archive = Archive::default();
    let renamed = renamed.iter().map(|(from, to)| (from, to));
    for (path, target) in closure.iter().map(|path| (path, path)).chain(renamed) {
        let content = fs::read(path).map_err(|error| Error::path("read", path, error))?;
        let mode = fs::metadata(path).map_err(|error| Error::path("read", path, error))?.permissions().mode();
        archive.file(&target.to_string_lossy(), mode & 0o777, &content);
    }
    for directory in directories {
        archive.directory(&directory.to_string_lossy());
    }
    Ok(archive.finish())
}

/// The initramfs segment that lvh-init needs where it is dynamic. It uses the libraries of every Rust program, so the
/// running one says where they are.
///
/// # Errors
/// The running program cannot be read.
pub(crate) fn libraries_of_init(init: Init) -> Result<Vec<u8>> {
    if !init.is_dynamic() {
        return Ok(Vec::new());
    }
    let program = std::env::current_exe().map_err(|error| Error::io("find the running program", error))?;
    segment(&needs(&program)?, &[], &[])
}

/// The loader and libraries of a dynamic program; nothing for anything else.
fn needs(file: &Path) -> Result<Vec<PathBuf>> {
    Ok(Needs::of(file)?.into_iter().flat_map(Needs::files).collect())
}
