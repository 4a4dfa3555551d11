//! Kernels that were built elsewhere, out of the registry that a team shares.
//!
//! A kernel lies there under several digests: that of all that it is made of, and that of its commit and its table, which needs neither
//! source nor compiler to be known. Whatever goes wrong is told once; then the kernel is built here.

use std::fs;

use super::fetcher::Fetcher;
use crate::kernel::wanted::Wanted;
use crate::store::{Cache, Entry, Key};
use crate::{Error, Result};

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct Sought<'s> {
    /// The kind of the store's entry that it becomes.
    pub(in crate::kernel) kind: &'static str,
    /// A digest that it is known by.
    pub(in crate::kernel) asked: &'s Key,
    /// The commit, or digest, of its source, which it must be made from.
    pub(in crate::kernel) commit: &'s str,
    /// Where the source is, for its identity.
    pub(in crate::kernel) source: &'s str,
}

/// The kernel as an entry of the store, and its own digest; none where the cache does not have it, or cannot be asked.
pub(in crate::kernel) fn look(wanted: &Wanted<'_>, sought: Sought<'_>) -> Option<(Key, Entry)> {
    let cache = wanted.store.cache()?;
    fetch(wanted, cache, sought).unwrap_or_else(|error| {
        give_up(wanted, cache, "it is built here, for it could not be looked for in", &error);
        None
    })
}

fn fetch(wanted: &Wanted<'_>, cache: &Cache, sought: Sought<'_>) -> Result<Option<(Key, Entry)>> {
    let Wanted { name, subject, store, events, .. } = *wanted;
    let fetcher = Fetcher::new(subject, name, cache.repository(), store)?;
    events.step(subject, format!("looking in `{}`", cache.repository()));
    let staging = store.staging()?;
    let dir = staging.entry();
    let mut progress = super::image::progress(subject, events);
    let Some(key) = fetcher.cached(sought.asked, sought.commit, &dir, &mut progress)? else { return Ok(None) };
    let identity = dir.join("identity");
    let text = format!("{} {} sha256:{key}", sought.source, &sought.commit[..12]);
    fs::write(&identity, text).map_err(|e| Error::path("write", &identity, e))?;
    let waiting = || events.step(subject, "waiting for another process that fetches it");
    let entry = store.populate(sought.kind, &key, &waiting, |made| {
        fs::rename(&dir, made.entry()).map_err(|e| Error::path("move", &dir, e))
    })?;
    Ok(Some((key, entry)))
}

/// Stores the kernel `key`, which the store has as `entry`, in the cache, where it takes what is built; `asked` are the digests that
/// it is known by.
pub(in crate::kernel) fn offer(wanted: &Wanted<'_>, key: &Key, entry: &Entry, asked: &[Key]) {
    let Some(cache) = wanted.store.cache().filter(|cache| cache.takes_builds()) else { return };
    let store = || {
        wanted.events.step(wanted.subject, format!("storing it in `{}`", cache.repository()));
        Fetcher::new(wanted.subject, wanted.name, cache.repository(), wanted.store)?.store(key, entry.path(), asked)
    };
    if let Err(error) = store() {
        give_up(wanted, cache, "it could not be stored in", &error);
    }
}

fn give_up(wanted: &Wanted<'_>, cache: &Cache, what: &str, error: &Error) {
    cache.give_up();
    let report = error.report().replace("\n\nhint: ", "; ");
    wanted.events.note(format!("{}: {what} `{}`: {report}", wanted.subject, cache.repository()));
}
