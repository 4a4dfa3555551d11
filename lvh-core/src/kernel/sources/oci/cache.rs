//! Kernels and images that were built elsewhere, out of the registry that a team shares.
//!
//! A kernel lies there under several digests: that of all that it is made of, and that of its commit and its table, which needs neither
//! source nor compiler to be known. An image lies there by what it
//! is made of. Whatever goes wrong is told once; then it is built here.

use std::fs;
use std::path::Path;

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
    ask(wanted, |fetcher| fetch(wanted, fetcher, sought))
}

/// Has the cache fill the directory `into` with the image that it knows as `asked`, and has `take` made of that what is wanted.
pub(crate) fn look_for_image<T>(
    wanted: &Wanted<'_>,
    asked: &Key,
    into: &Path,
    take: impl FnOnce() -> Result<T>,
) -> Option<T> {
    let mut progress = super::image::progress(wanted.subject, wanted.events);
    ask(wanted, |fetcher| match fetcher.cached_image(asked, into, &mut progress)? {
        true => take().map(Some),
        false => Ok(None),
    })
}

fn ask<T>(wanted: &Wanted<'_>, ask: impl FnOnce(&Fetcher<'_>) -> Result<Option<T>>) -> Option<T> {
    let cache = wanted.store.cache()?;
    let answer = Fetcher::new(wanted.subject, wanted.name, cache.repository(), wanted.store).and_then(|fetcher| {
        wanted.events.step(wanted.subject, format!("looking in `{}`", cache.repository()));
        ask(&fetcher)
    });
    answer.unwrap_or_else(|error| {
        give_up(wanted, cache, "it is built here, for it could not be looked for in", &error);
        None
    })
}

fn fetch(wanted: &Wanted<'_>, fetcher: &Fetcher<'_>, sought: Sought<'_>) -> Result<Option<(Key, Entry)>> {
    let Wanted { subject, store, events, .. } = *wanted;
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
    store(wanted, |fetcher| fetcher.store(key, entry.path(), asked));
}

/// Stores the image that `pack` lays in the directory `dir` in the cache, where it takes what is built, by each of `asked`.
pub(crate) fn offer_image(wanted: &Wanted<'_>, dir: &Path, asked: &[Key], pack: impl FnOnce() -> Result<()>) {
    store(wanted, |fetcher| pack().and_then(|()| fetcher.store_image(dir, asked)));
}

fn store(wanted: &Wanted<'_>, store: impl FnOnce(&Fetcher<'_>) -> Result<()>) {
    let Some(cache) = wanted.store.cache().filter(|cache| cache.takes_builds()) else { return };
    wanted.events.step(wanted.subject, format!("storing it in `{}`", cache.repository()));
    let fetcher = Fetcher::new(wanted.subject, wanted.name, cache.repository(), wanted.store);
    if let Err(error) = fetcher.and_then(|fetcher| store(&fetcher)) {
        give_up(wanted, cache, "it could not be stored in", &error);
    }
}

fn give_up(wanted: &Wanted<'_>, cache: &Cache, what: &str, error: &Error) {
    cache.give_up();
    let report = error.report().replace("\n\nhint: ", "; ");
    wanted.events.note(format!("{}: {what} `{}`: {report}", wanted.subject, cache.repository()));
}
