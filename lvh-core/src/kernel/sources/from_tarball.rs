//! Kernels that are built from an archive of their source.

use std::fs;
use std::path::{Path, PathBuf};

use super::download::{download, no_digest, undeclared};
use super::from_source::{self, BuiltKernel, LAYOUT, Origin};
use crate::kernel::git::Checkouts;
use crate::kernel::wanted::Wanted;
use crate::kernel::{TarballPlace, TarballSource};
use crate::process::Tool;
use crate::store::Key;
use crate::{Error, ErrorKind, Result};

/// The kernel that `source` was built to, from the store; else it is fetched, unpacked and built. Blocks.
pub(crate) fn resolve(wanted: &Wanted<'_>, source: &TarballSource) -> Result<BuiltKernel> {
    let Some(sha256) = &source.sha256 else { return Err(missing_digest(wanted, source)) };
    let question = || {
        let (strict, build) = (source.build.strict.to_string(), source.build.key());
        Key::of(["tarball", LAYOUT, sha256.as_str(), build.as_str(), &strict])
    };
    from_source::resolve(wanted, &question, &|| make(wanted, source, sha256, question()))
}

fn make(wanted: &Wanted<'_>, source: &TarballSource, sha256: &Key, question: Key) -> Result<BuiltKernel> {
    let Wanted { name, subject, store, events, .. } = *wanted;
    let tree = format!("{name}-{}", &sha256.as_str()[..8]);
    let checkouts = Checkouts::new(store.root()).called(subject);
    let mut origin = Origin { source: source.place.to_string(), question: Some(question), is_asked: false };
    if !checkouts.dir(&tree)?.exists() {
        if let Some(kernel) = origin.cached(wanted, sha256.as_str()) {
            return Ok(kernel);
        }
        origin.is_asked = true;
    }
    let open = checkouts.unpacked(&tree, sha256, events, &mut |into| {
        let (archive, is_ours) = match &source.place {
            TarballPlace::Path(path) => (verified(path, sha256)?, None),
            TarballPlace::Url(url) => {
                let downloaded = download(wanted, url, sha256)?;
                (downloaded.path.clone(), Some(downloaded))
            }
        };
        events.step(subject, "unpacking the source");
        unpack(&archive, into)?;
        is_ours.map_or(Ok(()), |_alone| fs::remove_file(&archive).map_err(|e| Error::path("remove", &archive, e)))
    })?;
    from_source::build(wanted, &open, &source.build, &origin)
}

/// Puts the source that is in `archive` into the directory `into`, which is empty.
///
/// GNU tar takes a leading `/` and `..` off names, and makes symbolic links that lead out of the directory when all else is there, so
/// that nothing is written through one.
fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let tar = Tool::new("tar", "tar")?.args(["--extract", "--no-same-owner", "--no-same-permissions", "--file"]);
    tar.args([archive]).args(["--directory"]).args([into]).run().map_err(|error| {
        let message = format!("failed to unpack `{}`", archive.display());
        // What GNU tar says of a full disk.
        let words = error.output().unwrap_or_default();
        let is_full = words.contains("No space left on device") || words.contains("Wrote only");
        let failed = Error::new(error.kind(), message).with_source(error);
        let hint = is_full.then(|| format!("make room on the disk of `{}`", into.display()));
        hint.into_iter().fold(failed, Error::with_hint)
    })?;
    let read = |e| Error::path("read", into, e);
    let names: Vec<PathBuf> = fs::read_dir(into).map_err(read)?.flatten().map(|found| found.path()).collect();
    match names.as_slice() {
        [top] if top.is_dir() && !top.is_symlink() => lift(top, into)?,
        _ => {}
    }
    match into.join("Kconfig").is_file() {
        true => Ok(()),
        false => {
            let message = format!("`{}` holds no source of a kernel: it has no `Kconfig`", archive.display());
            Err(Error::new(ErrorKind::Usage, message))
        }
    }
}

/// Moves what is in the directory `top` of `into` to `into`.
fn lift(top: &Path, into: &Path) -> Result<()> {
    // It may hold something of its own name.
    let away = into.with_extension("top");
    let lift = || {
        if away.exists() {
            fs::remove_dir_all(&away)?;
        }
        fs::rename(top, &away)?;
        fs::remove_dir(into)?;
        fs::rename(&away, into)
    };
    lift().map_err(|e| Error::path("move", top, e))
}

fn verified(path: &Path, sha256: &Key) -> Result<PathBuf> {
    let found = Key::of_file(path)?;
    if found == *sha256 {
        return Ok(path.to_owned());
    }
    let message = format!("`{}` is not the file that `sha256` names: expected {sha256}, found {found}", path.display());
    Err(Error::new(ErrorKind::Artifact, message)
        .with_hint(format!("where it was meant to change, write sha256 = \"{found}\"")))
}

fn missing_digest(wanted: &Wanted<'_>, source: &TarballSource) -> Error {
    match &source.place {
        TarballPlace::Url(url) => undeclared(wanted, url),
        TarballPlace::Path(path) => match Key::of_file(path) {
            Ok(found) => no_digest(wanted.subject, &source.place.to_string(), &found),
            Err(error) => error,
        },
    }
}
