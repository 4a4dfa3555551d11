//! Kernels that are built from their source: at first use, and never again until something changed.
//!
//! What was built is an entry of the store, by the digest of all that it is made of; the trees that it was built in only
//! make the next build short.

use std::fs;
use std::path::Path;

use super::oci::{self, Sought};
use crate::kernel::KernelRelease;
use crate::kernel::build::{BuildSpec, Products, Site};
use crate::kernel::git::OpenTree;
use crate::kernel::modules::depmod::depmod;
use crate::kernel::options::OptionOutcome;
use crate::kernel::wanted::Wanted;
use crate::store::{Entry, Key, Store};
use crate::{Error, Events, Result};

/// The kind of the store's entries for them.
const KIND: &str = "git-kernel";
/// Part of the questions that are remembered: to be raised when what an entry holds changes.
pub(crate) const LAYOUT: &str = "1";

/// A kernel that was built.
#[derive(Debug)]
pub(crate) struct BuiltKernel {
    pub(crate) key: Key,
    pub(crate) identity: String,
    pub(crate) release: KernelRelease,
    /// The commit, or digest, of its source; empty where an earlier lvh did not write it down.
    pub(crate) commit: String,
    pub(crate) entry: Entry,
}

/// The kernel that the store remembers as the answer to `question`; else what `make` builds. Blocks.
pub(crate) fn resolve(
    wanted: &Wanted<'_>,
    question: &dyn Fn() -> Key,
    make: &dyn Fn() -> Result<BuiltKernel>,
) -> Result<BuiltKernel> {
    let Wanted { subject, store, events, .. } = *wanted;
    let asked = question();
    let waiting = || events.step(subject, "waiting for another process that builds it");
    let known = || match wanted.newest {
        true => Ok(None),
        false => known(store, &asked, &waiting)
            .map(|kernel| kernel.filter(|kernel| !wanted.records || !kernel.commit.is_empty())),
    };
    if let Some(kernel) = known()? {
        return Ok(kernel);
    }
    let _turn = store.lock(&format!("resolve-{asked}"), &waiting)?;
    if let Some(kernel) = known()? {
        return Ok(kernel);
    }
    let kernel = make()?;
    // The question may be another one after a build.
    store.remember(&question(), &kernel.key)?;
    Ok(kernel)
}

/// Where a source is from, and what the cache may know the kernel by before it is configured.
#[derive(Debug)]
pub(crate) struct Origin {
    /// For people.
    pub(crate) source: String,
    /// Of its commit and its table.
    pub(crate) question: Option<Key>,
    /// The cache did not have it.
    pub(crate) is_asked: bool,
}

impl Origin {
    /// The kernel that the cache has.
    pub(crate) fn cached(&self, wanted: &Wanted<'_>, commit: &str) -> Option<BuiltKernel> {
        self.cached_as(self.question.as_ref()?, wanted, commit)
    }

    fn cached_as(&self, asked: &Key, wanted: &Wanted<'_>, commit: &str) -> Option<BuiltKernel> {
        let (key, entry) = oci::look(wanted, Sought { kind: KIND, asked, commit, source: &self.source })?;
        load(key, entry).ok()
    }
}

fn known(store: &Store, question: &Key, waiting: &dyn Fn()) -> Result<Option<BuiltKernel>> {
    let Some(key) = store.recall(question) else { return Ok(None) };
    let entry = store.get(KIND, &key, waiting)?;
    entry.map(|entry| load(key, entry)).transpose()
}

fn load(key: Key, entry: Entry) -> Result<BuiltKernel> {
    let read = |name| {
        let path = entry.path().join(name);
        fs::read_to_string(&path).map_err(|e| Error::path("read", &path, e))
    };
    let (identity, release) = (read("identity")?, KernelRelease::new(read("release")?));
    let commit = read("commit").unwrap_or_default();
    Ok(BuiltKernel { key, identity, release, commit, entry })
}

/// Builds what is in the tree, where that is neither in the store nor in the cache.
pub(crate) fn build(wanted: &Wanted<'_>, open: &OpenTree, spec: &BuildSpec, origin: &Origin) -> Result<BuiltKernel> {
    let Wanted { subject, store, events, .. } = *wanted;
    let site = Site::new(open, spec, events)?;
    let commit = site.checkout.commit.clone();
    if site.is_untouched()
        && !origin.is_asked
        && let Some(kernel) = origin.cached(wanted, &commit)
    {
        return Ok(kernel);
    }
    let (planned, outcomes) = site.plan()?;
    tell_lost(subject, &outcomes.unwrap_or_default(), events);
    let waiting = || events.step(subject, "waiting for another process that builds it");
    if let Some(entry) = store.get(KIND, &planned, &waiting)? {
        let kernel = load(planned.clone(), entry)?;
        if kernel.commit.is_empty() {
            store.add_to(&kernel.entry, "commit", &commit)?;
        }
        let kernel = BuiltKernel { commit, ..kernel };
        if wanted.newest {
            offer(wanted, &site, planned, &kernel, origin);
        }
        return Ok(kernel);
    }
    let is_clean = site.checkout.changes.is_empty();
    if let Some(kernel) = is_clean.then(|| origin.cached_as(&planned, wanted, &commit)).flatten() {
        return Ok(kernel);
    }
    let key = site.build(Products::Kernel)?.key;
    let identity = identity(&origin.source, &site, &key);
    let entry = store.populate(KIND, &key, &waiting, |staging| keep(&site, &identity, &staging.entry()));
    site.show()?;
    let kernel = load(key, entry?)?;
    offer(wanted, &site, planned, &kernel, origin);
    Ok(kernel)
}

/// Lets the cache have the kernel, unless people changed something that is in no commit. make may have completed what was planned.
fn offer(wanted: &Wanted<'_>, site: &Site<'_>, planned: Key, kernel: &BuiltKernel, origin: &Origin) {
    if !site.checkout.changes.is_empty() {
        return;
    }
    let mut asked = vec![kernel.key.clone(), planned];
    asked.dedup();
    asked.extend(origin.question.clone().filter(|_| !site.is_configured_by_hand()));
    oci::offer(wanted, &kernel.key, &kernel.entry, &asked);
}

/// Such as `https://…/bpf-next.git#master 0123456789ab sha256:…`.
fn identity(source: &str, site: &Site<'_>, key: &Key) -> String {
    let commit = &site.checkout.commit[..12];
    let changed = if site.checkout.changes.is_empty() { "" } else { " with changes" };
    format!("{source} {commit}{changed} sha256:{key}")
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
    for (name, text) in [("release", built.release.as_str()), ("identity", identity), ("commit", &site.checkout.commit)]
    {
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
