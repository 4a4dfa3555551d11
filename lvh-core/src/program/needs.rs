//! What a dynamic program needs: its loader and its libraries.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::FileHeader;

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Elf;
use crate::process::Tool;

/// How long a loader may take to list the libraries of a program.
const LISTING: Duration = Duration::from_secs(60);

/// What a dynamic program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Its loader.
    pub(crate) loader: PathBuf,
    /// Its libraries and theirs, by the names by which they are asked for, and where the host has them.
    pub(crate) libraries: Vec<(String, PathBuf)>,
    /// What it asks of each of those that have versions, such as `GLIBC_2.34` of `libc.so.6`.
    pub(crate) versions: BTreeMap<String, Vec<String>>,
}

impl Needs {
    /// What the program `file` needs; none where it is no dynamic program.
    ///
    /// # Errors
    /// It cannot be read; its loader cannot say what it needs.
    pub(crate) fn of(file: &Path) -> Result<Option<Self>> {
        let content = fs::read(file).map_err(|error| Error::path("read", file, error))?;
        let Some(loader) = interpreter(&content) else { return Ok(None) };
        let failed = |text: &str| {
            let message = format!("failed to list the libraries of `{}`", file.display());
            Error::new(ErrorKind::Boot, message).with_output(text)
        };
        let text = match Tool::at(&loader).args([OsStr::new("--list"), file.as_os_str()]).deadline(LISTING).run() {
            Ok(text) if text.contains("not found") => return Err(failed(&text)),
            Ok(text) => text,
            Err(error) => return Err(failed(error.output().unwrap_or_default()).with_source(error)),
        };
        let libraries = listed(&text).filter(|(_, path)| *path != loader).collect();
        Ok(Some(Self { libraries, versions: versions(&content).unwrap_or_default(), loader }))
    }

    /// All files.
    pub(crate) fn files(self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.loader).chain(self.libraries.into_iter().map(|(_, path)| path))
    }
}

/// The names and paths in what a loader's `--list` prints: `libc.so.6 => /lib/…/libc.so.6 (0x7f…)`, or just a path.
fn listed(text: &str) -> impl Iterator<Item = (String, PathBuf)> {
    text.lines().filter_map(|line| {
        let (name, path) = line.split_once("=> ").map_or((None, line), |(name, path)| (Some(name.trim()), path));
        let path = path.trim();
        let path = Path::new(path.rsplit_once(" (").map_or(path, |(path, _)| path));
        let name = name.or_else(|| path.file_name()?.to_str())?;
        path.is_absolute().then(|| (name.to_owned(), path.to_owned()))
    })
}

/// The loader that a 64-bit little-endian ELF file asks for.
fn interpreter(elf: &[u8]) -> Option<PathBuf> {
    let path = Elf::parse(elf)?.interpreter()?;
    Some(PathBuf::from(str::from_utf8(path).ok()?))
}

/// The versions that an ELF file asks of libraries.
fn versions(elf: &[u8]) -> Option<BTreeMap<String, Vec<String>>> {
    let header = FileHeader64::<LittleEndian>::parse(elf).ok()?;
    let sections = header.sections(LittleEndian, elf).ok()?;
    let (mut libraries, strings) = sections.gnu_verneed(LittleEndian, elf).ok()??;
    let strings = sections.strings(LittleEndian, elf, strings).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found = BTreeMap::new();
    while let Some((library, mut versions)) = libraries.next().ok()? {
        let mut names = Vec::new();
        while let Some(version) = versions.next().ok()? {
            names.push(text(version.name(LittleEndian, strings).ok()?));
        }
        found.insert(text(library.file(LittleEndian, strings).ok()?), names);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_its_loader_and_libraries() {
        let needs = Needs::of(&std::env::current_exe().unwrap()).unwrap().expect("tests are dynamic programs");
        assert!(needs.libraries.iter().any(|(name, _)| name.starts_with("libc.so")), "{needs:?}");
        assert!(needs.versions.values().flatten().any(|version| version.starts_with("GLIBC_2.")), "{needs:?}");
        assert!(needs.files().all(|path| path.is_absolute() && path.exists()));
    }

    #[test]
    fn what_a_loader_lists() {
        let text = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld-x.so.2 (0x7f)\n";
        let expected = [("libc.so.6", "/lib/x/libc.so.6"), ("ld-x.so.2", "/lib64/ld-x.so.2")];
        let listed: Vec<_> = listed(text).collect();
        assert_eq!(listed, expected.map(|(name, path)| (name.to_owned(), PathBuf::from(path))));
    }

    #[test]
    fn what_is_no_program_needs_nothing() {
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
        let elf = fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in 0..200 {
            let _ = (interpreter(&elf[..len]), versions(&elf[..len]));
        }
    }
}
