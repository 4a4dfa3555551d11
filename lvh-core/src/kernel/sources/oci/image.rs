use std::path::Path;

use super::fetcher::{Fetcher, What};
use crate::kernel::OciSource;
use crate::kernel::wanted::Wanted;
use crate::store::{Entry, Key};
use crate::{Arch, Error, ErrorKind, Event, Events, Result};

/// Part of the keys: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";

const WAITING: &str = "waiting for another process that fetches it";

/// What was fetched of an image.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) key: Key,
    /// Of the image's index or manifest, without `sha256:`.
    pub(crate) digest: Key,
    pub(crate) identity: String,
    /// A kernel's has `boot/` and `lib/`, that of disks their files.
    pub(crate) entry: Entry,
}

/// The question that the store remembers the answer to: the digest of the image's index or manifest, without `sha256:`.
pub(in crate::kernel) fn question(source: &OciSource) -> Key {
    Key::of(["oci", LAYOUT, &source.image])
}

/// What is wanted of the image, from the store; else it is fetched. Blocks.
pub(crate) fn resolve(wanted: &Wanted<'_>, source: &OciSource, what: What) -> Result<Fetched> {
    if let Some(fetched) = known(wanted, source, what)? {
        return Ok(fetched);
    }
    let waiting = || wanted.events.step(wanted.subject, WAITING);
    let _turn = wanted.store.lock(&format!("resolve-{}", question(source)), &waiting)?;
    match known(wanted, source, what)? {
        Some(fetched) => Ok(fetched),
        None => fetch(wanted, source, what).map_err(|error| explain(source, error)),
    }
}

fn known(wanted: &Wanted<'_>, source: &OciSource, what: What) -> Result<Option<Fetched>> {
    let remembered = || wanted.store.recall(&question(source)).filter(|_| !wanted.newest);
    let Some(digest) = pinned(wanted, source)?.or_else(remembered) else { return Ok(None) };
    let entry = wanted.store.get(what.kind(), &key(what, &digest), &|| wanted.events.step(wanted.subject, WAITING))?;
    Ok(entry.map(|entry| loaded(source, what, &digest, entry)))
}

/// The digest that `lvh.lock` or the name itself has.
fn pinned(wanted: &Wanted<'_>, source: &OciSource) -> Result<Option<Key>> {
    let of_name = source.image.rsplit_once('@').map(|(_, digest)| digest);
    let pin = wanted.pin.map(|pin| pin.first().map_or("", String::as_str));
    let Some(digest) = pin.or(of_name) else { return Ok(None) };
    let key = digest.strip_prefix("sha256:").and_then(Key::parse);
    key.map(Some).ok_or_else(|| {
        let message =
            format!("{}: `{digest}` is no digest of an image (expected `sha256:` and 64 hex digits)", wanted.subject);
        Error::new(ErrorKind::Usage, message)
    })
}

/// What `lvh.lock` has of an image.
pub(crate) fn pin(digest: &Key) -> String {
    format!("sha256:{digest}")
}

/// An index has them for several architectures.
fn key(what: What, digest: &Key) -> Key {
    Key::of([what.kind(), LAYOUT, digest.as_str(), Arch::HOST.debian()])
}

fn loaded(source: &OciSource, what: What, digest: &Key, entry: Entry) -> Fetched {
    let image = source.image.split_once('@').map_or(source.image.as_str(), |(image, _)| image);
    Fetched { key: key(what, digest), digest: digest.clone(), identity: format!("{image}@sha256:{digest}"), entry }
}

fn fetch(wanted: &Wanted<'_>, source: &OciSource, what: What) -> Result<Fetched> {
    let Wanted { name, subject, store, events, .. } = *wanted;
    if store.is_offline() && source.is_remote() {
        return Err(offline(subject, name, source));
    }
    let fetcher = Fetcher::new(subject, name, &source.image, store)?;
    events.step(subject, format!("looking for `{}`", source.image));
    let digest = pinned(wanted, source)?.map_or_else(|| fetcher.resolve(), Ok)?;
    let entry = store.populate(what.kind(), &key(what, &digest), &|| events.step(subject, WAITING), |staging| {
        pull(&fetcher, what, &digest, &staging.entry(), subject, events)
    })?;
    store.remember(&question(source), &digest)?;
    Ok(loaded(source, what, &digest, entry))
}

/// Downloads the image of that digest, and unpacks what is wanted of it to `into`.
fn pull(fetcher: &Fetcher<'_>, what: What, digest: &Key, into: &Path, subject: &str, events: &Events) -> Result<()> {
    events.step(subject, "downloading");
    fetcher.pull(what, digest, into, &mut progress(subject, events))
}

/// Tells how far a download is.
pub(super) fn progress<'e>(subject: &'e str, events: &'e Events) -> impl FnMut(u64, u64) + use<'e> {
    let mut unpacking = false;
    move |done, total| {
        if done < total {
            let (subject, step) = (subject.to_owned(), "downloading".to_owned());
            events.send(Event::Progress { subject, step, done, total: Some(total) });
        } else if !unpacking {
            unpacking = true;
            events.step(subject, "unpacking");
        }
    }
}

fn offline(subject: &str, name: &str, source: &OciSource) -> Error {
    let message = format!("{subject}: the image `{}` is not in the data directory, and lvh is offline", source.image);
    Error::new(ErrorKind::Artifact, message).with_hint(format!("where there is a network: lvh update {name}"))
}

/// Who misspelt a name did not think of a registry.
fn explain(source: &OciSource, error: Error) -> Error {
    let Some(otherwise) = &source.otherwise else { return error };
    let message = format!("{}, nor can it be had as a published kernel", otherwise.message);
    let hint = error.hint().map_or_else(|| otherwise.hint.clone(), str::to_owned);
    Error::new(error.kind(), message).with_source(error).with_hint(hint)
}
