//! Kernels of `lvh.toml` that are built from git: at first use, and never again until something changed.
//!
//! What was built is an entry of the store, by the digest of all that it is made of; the trees that it was built in only
//! make the next build short.

use std::fs;
use std::path::Path;

use super::build::{Products, Site, was_built_in_place};
use super::git::{Checkouts, LocalWork};
use super::local::{self, LocalKernel};
use super::modules::depmod::depmod;
use super::options::OptionOutcome;
use super::wanted::Wanted;
use super::{GitSource, KernelRelease};
use crate::store::{Entry, Key, Store};
use crate::{Error, ErrorKind, Events, Result};

/// The kind of the store's entries for them.
const KIND: &str = "git-kernel";
/// Part of the question that is remembered: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";

/// A kernel that was built.
#[derive(Debug)]
pub(super) struct GitKernel {
    pub(super) key: Key,
    pub(super) identity: String,
    pub(super) release: KernelRelease,
    pub(super) entry: Entry,
}

/// The question that the store remembers the answer to.
///
/// What `lvh kernels build` makes in a tree of people's is another answer, so that it counts as soon as it is there.
pub(super) fn question(source: &GitSource, store: &Store) -> Key {
    let (strict, build) = (source.build.strict.to_string(), source.build.key());
    let url = source.url.to_string();
    let built = source.tree.as_ref().map(|tree| Checkouts::new(store.root()).last_build(tree));
    Key::of(["git", LAYOUT, &url, build.as_str(), &strict].into_iter().chain(built.as_deref()))
}

/// The tree of people's that another tool built the kernel in, with what it found there.
pub(super) fn built_in_place(source: &GitSource, store: &Store) -> Option<LocalKernel> {
    let tree = store.root().join("kernels").join(source.tree.as_ref()?);
    let in_place = was_built_in_place(&tree, source.build.arch);
    in_place.then(|| local::at(&tree).ok()).flatten()
}

/// The kernel that `source` was built to, from the store; else it is fetched and built. Blocks.
pub(super) fn resolve(wanted: &Wanted<'_>, source: &GitSource) -> Result<GitKernel> {
    let Wanted { subject, store, events, .. } = *wanted;
    let asked = question(source, store);
    let waiting = || events.step(subject, "waiting for another process that builds it");
    let known = || if wanted.newest { Ok(None) } else { known(store, &asked, &waiting) };
    if let Some(kernel) = known()? {
        return Ok(kernel);
    }
    let _turn = store.lock(&format!("resolve-{asked}"), &waiting)?;
    if let Some(kernel) = known()? {
        return Ok(kernel);
    }
    let kernel = make(wanted, source)?;
    store.remember(&question(source, store), &kernel.key)?;
    Ok(kernel)
}

fn known(store: &Store, question: &Key, waiting: &dyn Fn()) -> Result<Option<GitKernel>> {
    let Some(key) = store.recall(question) else { return Ok(None) };
    let entry = store.get(KIND, &key, waiting)?;
    entry.map(|entry| load(key, entry)).transpose()
}

fn load(key: Key, entry: Entry) -> Result<GitKernel> {
    let read = |name| {
        let path = entry.path().join(name);
        fs::read_to_string(&path).map_err(|e| Error::path("read", &path, e))
    };
    let (identity, release) = (read("identity")?, KernelRelease::new(read("release")?));
    Ok(GitKernel { key, identity, release, entry })
}

fn make(wanted: &Wanted<'_>, source: &GitSource) -> Result<GitKernel> {
    let Wanted { name, subject, store, events, newest } = *wanted;
    // Another project may give the name to another repository.
    let own = || format!("{name}-{}", &Key::of([source.url.to_string()]).as_str()[..8]);
    let tree = source.tree.clone().unwrap_or_else(own);
    let checkouts = Checkouts::new(store.root()).called(subject);
    let there = checkouts.dir(&tree)?.join(".git").exists();
    match store.is_offline() {
        // Its people say when their tree moves on.
        false if there && source.tree.is_some() && !newest => {}
        false => drop(checkouts.fetch(&tree, &source.url, LocalWork::Keep, events)?),
        true if !there => return Err(offline(source)),
        true => {}
    }
    let open = checkouts.open(&tree, events)?;
    let site = Site::new(&open, &source.build, events)?;
    let (key, outcomes) = site.plan()?;
    tell_lost(subject, &outcomes.unwrap_or_default(), events);
    let waiting = || events.step(subject, "waiting for another process that builds it");
    if let Some(entry) = store.get(KIND, &key, &waiting)? {
        return load(key, entry);
    }
    let key = site.build(Products::Kernel)?.key;
    let identity = identity(source, &site, &key);
    let entry = store.populate(KIND, &key, &waiting, |staging| keep(&site, &identity, &staging.entry()));
    site.show()?;
    load(key, entry?)
}

/// Such as `https://…/bpf-next.git#master 0123456789ab sha256:…`.
fn identity(source: &GitSource, site: &Site<'_>, key: &Key) -> String {
    let reference = source.url.reference.as_ref().map(|reference| format!("#{reference}")).unwrap_or_default();
    let commit = &site.checkout.commit[..12];
    let changed = if site.checkout.changes.is_empty() { "" } else { " with changes" };
    format!("{}{reference} {commit}{changed} sha256:{key}", source.url.repository)
}

/// Copies what makes a kernel to `entry`, in the layout of those of Debian's packages.
fn keep(site: &Site<'_>, identity: &str, entry: &Path) -> Result<()> {
    let built = site.build(Products::Kernel)?;
    let copy =
        |from: &Path, name: &str| fs::copy(from, entry.join(name)).map(drop).map_err(|e| Error::path("copy", from, e));
    copy(&built.image, "vmlinuz")?;
    copy(&built.config, "config")?;
    site.output("System.map").map_or(Ok(()), |map| copy(&map, "System.map"))?;
    site.install_modules(entry)?;
    depmod(entry, &built.release)?;
    for (name, text) in [("release", built.release.as_str()), ("identity", identity)] {
        let path = entry.join(name);
        fs::write(&path, text).map_err(|e| Error::path("write", &path, e))?;
    }
    Ok(())
}

/// Says which options the kernel does not have as they were asked for.
fn tell_lost(subject: &str, outcomes: &[OptionOutcome], events: &Events) {
    /// More than these, and nobody reads them.
    const MOST: usize = 5;
    let lost: Vec<_> = outcomes.iter().filter(|o| !o.is_honoured() && !o.option.optional).collect();
    if lost.is_empty() {
        return;
    }
    let first: Vec<String> = lost.iter().take(MOST).map(ToString::to_string).collect();
    let more = if lost.len() > MOST { "; …" } else { "" };
    let (count, all) = (lost.len(), outcomes.len());
    events.note(format!("{subject}: {count} of {all} options were not honoured: {}{more}", first.join("; ")));
}

fn offline(source: &GitSource) -> Error {
    let message = format!("the source `{}` is not in the data directory, and lvh is offline", source.url);
    Error::new(ErrorKind::Artifact, message).with_hint("run once without LVH_OFFLINE=1")
}
