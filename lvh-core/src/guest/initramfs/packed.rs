//! Programs for a guest that cannot see the host's files: each with its loader and libraries, at their host paths.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::base::Init;
use super::cpio::Archive;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Elf;
use crate::process::Tool;

/// How long a loader may take to list the libraries of a program.
const LISTING: Duration = Duration::from_secs(60);

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
    let content = fs::read(file).map_err(|error| Error::path("read", file, error))?;
    let Some(loader) = interpreter(&content) else { return Ok(Vec::new()) };
    let failed = |text: &str| {
        let message = format!("failed to list the libraries of `{}`", file.display());
        Error::new(ErrorKind::Boot, message).with_output(text)
    };
    let text = match Tool::at(&loader).args([OsStr::new("--list"), file.as_os_str()]).deadline(LISTING).run() {
        Ok(text) if text.contains("not found") => return Err(failed(&text)),
        Ok(text) => text,
        Err(error) => return Err(failed(error.output().unwrap_or_default()).with_source(error)),
    };
    Ok(std::iter::once(loader).chain(listed(&text)).collect())
}

/// The paths in what a loader's `--list` prints: `libc.so.6 => /lib/…/libc.so.6 (0x7f…)`, or just a path.
fn listed(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    })
}

/// The loader that a 64-bit little-endian ELF file asks for.
fn interpreter(elf: &[u8]) -> Option<PathBuf> {
    let path = Elf::parse(elf)?.interpreter()?;
    Some(PathBuf::from(str::from_utf8(path).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_its_loader_and_libraries() {
        let needs = needs(&std::env::current_exe().unwrap()).unwrap();
        assert!(needs.iter().any(|path| path.to_string_lossy().contains("libc.so")), "{needs:?}");
        assert!(needs.iter().all(|path| path.is_absolute() && path.exists()), "{needs:?}");
    }

    #[test]
    fn what_is_no_program_needs_nothing() {
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
        let elf = fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in 0..200 {
            let _ = interpreter(&elf[..len]);
        }
    }
}
