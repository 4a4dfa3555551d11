use std::fs;
use std::path::Path;

use super::apt::Apt;
use super::package::Package;
use super::resolve::{archive, offline};
use super::unpack::extract;
use crate::kernel::wanted::Wanted;
use crate::kernel::{DebSource, Kernel};
use crate::store::{Entry, Key};
use crate::{Arch, Error, ErrorKind, Result};

/// The kind of the store's entries for them.
const KIND: &str = "deb-headers";
/// Part of each entry's key: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";

/// The headers of `kernel`, which is of a package of `source`'s suite, from the store; else from the archive. The entry has `usr/src` and
/// `usr/lib`, with what lies there once they are installed. Blocks.
pub(in crate::kernel) fn headers(wanted: &Wanted<'_>, source: &DebSource, kernel: &Kernel) -> Result<Entry> {
    let Wanted { subject, store, events, .. } = *wanted;
    let waiting = || events.step(subject, "waiting for another process that fetches them");
    let question = Key::of([KIND, LAYOUT, &kernel.key]);
    let known = || store.recall(&question).map_or(Ok(None), |key| store.get(KIND, &key, &waiting));
    if let Some(entry) = known()? {
        return Ok(entry);
    }
    let _turn = store.lock(&format!("resolve-{question}"), &waiting)?;
    if let Some(entry) = known()? {
        return Ok(entry);
    }
    let first = format!("linux-headers-{}", kernel.release);
    if store.is_offline() {
        return Err(offline(&first, &source.suite));
    }
    let apt = Apt::open(store, &archive(source, Arch::HOST)?, &waiting)?;
    events.step(subject, format!("reading the package index of `{}`", source.suite));
    apt.update()?;
    let packages = packages(&apt, &first, &kernel.identity).map_err(|error| gone(kernel, error))?;
    let key = Key::of([KIND, LAYOUT].map(str::to_owned).into_iter().chain(packages.iter().map(Package::identity)));
    let entry = store.populate(KIND, &key, &waiting, |staging| {
        events.step(subject, "downloading");
        apt.download(&packages, &staging.scratch(), &mut || {})?;
        events.step(subject, "unpacking");
        keep(&extract(&staging.scratch())?, &staging.entry())
    })?;
    store.remember(&question, &key)?;
    Ok(entry)
}

/// The package `first` in the version of the kernel's, and those that it is built with.
fn packages(apt: &Apt, first: &str, identity: &str) -> Result<Vec<Package>> {
    let first = apt.show(first, identity.split(' ').nth(1))?;
    let others = first.headers().map(|(name, version)| apt.show(name, version)).collect::<Result<Vec<_>>>()?;
    Ok(std::iter::once(first).chain(others).collect())
}

/// Keeps what is for builds of the unpacked `tree`.
fn keep(tree: &Path, entry: &Path) -> Result<()> {
    let (from, to) = (tree.join("usr"), entry.join("usr"));
    fs::rename(&from, &to).map_err(|e| Error::path("move", &from, e))?;
    let others = fs::read_dir(&to).map_err(|e| Error::path("read", &to, e))?.flatten();
    for other in others.filter(|other| !["src", "lib"].iter().any(|name| other.file_name() == *name)) {
        fs::remove_dir_all(other.path()).map_err(|e| Error::path("remove", &other.path(), e))?;
    }
    // The link that is `build` among the modules; it is shown as a directory.
    let _ = fs::remove_dir_all(to.join("lib/modules"));
    Ok(())
}

/// A suite has the headers of its newest kernel, which may be another one by now.
fn gone(kernel: &Kernel, cause: Error) -> Error {
    let message = format!("the headers of kernel `{}` ({}) cannot be had", kernel.name, kernel.release);
    let hint = format!("a suite has those of its newest kernel: `lvh update {}` takes that", kernel.name);
    Error::new(ErrorKind::Artifact, message).with_source(cause).with_hint(hint)
}
