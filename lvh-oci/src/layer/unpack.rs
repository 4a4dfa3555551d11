use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::apply::Applier;
use super::members::Members;
use super::name::clean;
use super::{Layer, compression};
use crate::scratch::Scratch;
use crate::{Error, Result};

/// What an image may take when it is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of files that are written. Default: 64 GiB.
    pub bytes: u64,
    /// Members of all layers. Default: a million.
    pub members: u64,
    /// Bytes that a layer may have when it is decompressed, also those that are not wanted. Default: 128 GiB.
    pub layer: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 30, members: 1_000_000, layer: 128 << 30 }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links that were left out: `build` and `source` of a module tree, where they lead out of it.
    pub left_out: Vec<PathBuf>,
}

/// What of the prefix is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All.
    All,
    /// What is in the one directory there.
    OnlyDirectory,
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination<'p> {
    /// To the directory of that name, which it gets when it is complete and on the disk; one that is there is replaced.
    Final(&'p Path),
    /// To an empty directory of the caller's, who sees to the rest; after an error it may hold a part.
    Staging(&'p Path),
}

/// Unpacks what lies below `prefix` of the layers.
pub(crate) fn unpack(
    layers: &[Layer],
    image: &str,
    prefix: &str,
    wanted: Wanted,
    into: Destination<'_>,
    limits: Limits,
) -> Result<Unpacked> {
    let into = match into {
        Destination::Final(into) => into,
        Destination::Staging(dir) => {
            let scratch = Scratch::new_in(dir)?;
            let (tree, unpacked) = unpack_in(&scratch, layers, image, prefix, wanted, limits)?;
            return move_entries(&tree, dir).map(|()| unpacked);
        }
    };
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    let scratch = Scratch::new_in(parent)?;
    let (tree, unpacked) = unpack_in(&scratch, layers, image, prefix, wanted, limits)?;
    publish(&tree, into).map(|()| unpacked)
}

/// Unpacks to a directory in `scratch`; says where that is.
fn unpack_in(
    scratch: &Scratch,
    layers: &[Layer],
    image: &str,
    prefix: &str,
    wanted: Wanted,
    limits: Limits,
) -> Result<(PathBuf, Unpacked)> {
    let prefix = clean(OsStr::new(prefix)).map_err(|why| Error::invalid(prefix, why))?;
    let tree = scratch.subdirectory("tree")?;
    let mut applier = Applier::new(tree.clone(), prefix.clone(), limits);
    for layer in layers {
        apply(&mut applier, &layer.path, layer.digest.as_str(), limits)?;
    }
    if is_empty(&tree)? {
        return Err(nothing(&prefix, image, &applier));
    }
    let tree = if wanted == Wanted::OnlyDirectory { only_directory(&tree, &prefix, image)? } else { tree };
    Ok((tree, Unpacked { files: applier.files, bytes: applier.bytes, left_out: applier.left_out }))
}

/// Unpacks a whole tar file, compressed or not, into the empty directory `into`.
pub(crate) fn unpack_archive(file: &Path, into: &Path, limits: Limits) -> Result<()> {
    let mut applier = Applier::new(into.to_owned(), PathBuf::new(), limits);
    apply(&mut applier, file, &file.display().to_string(), limits)
}

fn apply(applier: &mut Applier, path: &Path, what: &str, limits: Limits) -> Result<()> {
    let stream = compression::open(path).map_err(|e| Error::io("open", path, e))?;
    applier.layer(&mut Members::new(stream, what.to_owned(), limits.layer))
}

fn nothing(prefix: &Path, image: &str, applier: &Applier) -> Error {
    let beside: Vec<_> = applier.beside.iter().map(|path| path.display().to_string()).collect();
    let known = if beside.is_empty() { String::new() } else { format!(" (it has: {})", beside.join(", ")) };
    Error::not_found_in(prefix.display(), image, known)
}

/// The one directory in `tree`.
fn only_directory(tree: &Path, prefix: &Path, image: &str) -> Result<PathBuf> {
    let read = || fs::read_dir(tree)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut found = read().map_err(|e| Error::io("read", tree, e))?;
    found.sort();
    match found.as_slice() {
        [one] if one.is_dir() => Ok(one.clone()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            let known = format!(" (it has: {})", names.join(", "));
            Err(Error::NotFound { what: format!("a single directory `{}/…` in `{image}`", prefix.display()), known })
        }
    }
}

fn is_empty(dir: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(dir).map_err(|e| Error::io("read", dir, e))?;
    Ok(entries.next().is_none())
}

/// Moves what is in `from` to `to`.
fn move_entries(from: &Path, to: &Path) -> Result<()> {
    let move_entries = || {
        fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            fs::rename(entry.path(), to.join(entry.file_name()))
        })
    };
    move_entries().map_err(|e: io::Error| Error::io("move to", to, e))
}

/// Puts the complete tree in its place at once; what was there goes with the scratch directory.
fn publish(tree: &Path, into: &Path) -> Result<()> {
    let publish = || {
        // One syncfs(2) instead of an fsync(2) for each of the thousands of files of a module tree.
        rustix::fs::syncfs(File::open(tree)?)?;
        loop {
            match renameat_with(CWD, tree, CWD, into, RenameFlags::EXCHANGE) {
                Err(Errno::NOENT) => {}
                other => return Ok(other?),
            }
            match renameat_with(CWD, tree, CWD, into, RenameFlags::NOREPLACE) {
                // Another process was faster: ours takes the place of its tree.
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    };
    publish().map_err(|e: io::Error| Error::io("store", into, e))
}
