use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::{Request, build};
use super::collect;
use super::disk::{self, DiskFormat};
use super::source::{BuiltImage, Image, ImageSource};
use crate::kernel::oci::{self, What};
use crate::kernel::pinning::Pinning;
use crate::kernel::wanted::Wanted;
use crate::kernel::{OciSource, digest};
use crate::machine::on_a_thread;
use crate::store::{Entry, Key, Lock, Named, Store};
use crate::{Error, ErrorKind, Event, Events, Result};

/// Turns `source` into a file on disk. `name` is what the user calls the image.
///
/// # Errors
/// When the file cannot be read, or is no disk.
pub async fn resolve(name: &str, source: &ImageSource, store: &Store, events: &Events) -> Result<Image> {
    let (name, source, store, events) = (name.to_owned(), source.clone(), store.clone(), events.clone());
    on_a_thread("lvh-image", move || resolve_blocking(&name, &source, &store, &events)).await
}

/// As [`resolve`], for callers without a runtime.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_blocking(name: &str, source: &ImageSource, store: &Store, events: &Events) -> Result<Image> {
    run(name, source, store, events, false)
}

/// As [`resolve_blocking`], but asks a registry again what a tag stands for, unless names are locked.
///
/// # Errors
/// As [`resolve`].
pub fn update_blocking(name: &str, source: &ImageSource, store: &Store, events: &Events) -> Result<Image> {
    run(name, source, store, events, true)
}

fn run(name: &str, source: &ImageSource, store: &Store, events: &Events, newest: bool) -> Result<Image> {
    found(name, source, store, events, newest).map_err(|error| error.about("image", name))
}

fn found(name: &str, source: &ImageSource, store: &Store, events: &Events, newest: bool) -> Result<Image> {
    match source {
        ImageSource::Path(path) => local(name, path, store, events),
        ImageSource::Built(built) => {
            let (path, in_use) = made(built, store, events, newest)?;
            Ok(Image { in_use, ..local(name, &path, store, events)? })
        }
        ImageSource::Oci(source) => {
            let entry = fetched(name, source, store, events, newest)?;
            let image = local(name, &only_file(name, source, entry.path())?, store, events)?;
            Ok(Image { in_use: vec![entry.lock()], ..image })
        }
    }
}

/// The disks in an image of a registry.
fn fetched(name: &str, source: &OciSource, store: &Store, events: &Events, newest: bool) -> Result<Entry> {
    let subject = format!("image `{name}`");
    let pinning = Pinning::of_image(Named::Image, name, source, store);
    let pin = pinning.as_ref().map_or(Ok(None), |pinning| pinning.pin(newest))?;
    let newest = newest && pin.is_none() && !store.is_locked();
    let records = pin.is_none() && pinning.as_ref().is_some_and(Pinning::records);
    let wanted = Wanted { name, subject: &subject, store, events, newest, pin: pin.as_deref(), records };
    let fetched = oci::resolve(&wanted, source, What::Disks);
    store.take_notes().into_iter().for_each(|note| events.note(note));
    let fetched = fetched?;
    if let Some(pinning) = pinning.filter(|_| records) {
        pinning.record(&[oci::pin(&fetched.digest)], events);
    }
    Ok(fetched.entry)
}

/// The disk that was fetched.
fn only_file(name: &str, source: &OciSource, dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut files: Vec<PathBuf> = entries
        .map_err(|error| Error::path("read", dir, error))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            path.is_file() && !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        (last, _) => {
            let mut names: Vec<_> = files.iter().chain(&last).filter_map(|path| path.file_name()?.to_str()).collect();
            names.sort_unstable();
            let image = &source.image;
            let message =
                format!("image `{name}`: `{image}` has not one disk, but {}: {}", names.len(), names.join(", "));
            Err(Error::new(ErrorKind::Usage, message).with_hint(format!(
                "`lvh images pull {image}` brings them to a data directory; `path` names one of them"
            )))
        }
    }
}

/// The disk of an image that is built, as far as it is not there as its configuration says.
fn made(built: &BuiltImage, store: &Store, events: &Events, newest: bool) -> Result<(PathBuf, Vec<Arc<Lock>>)> {
    let data_dir = match &built.data_dir {
        Some(dir) => dir.clone(),
        None => collect::dir_of(&built.base_dir, store)?,
    };
    // Those in people's own directory never go.
    let ours = built.entries.iter().filter(|_| built.data_dir.is_none());
    let in_use = ours.map(|entry| collect::in_use(&data_dir, &entry.name)).collect::<Result<_>>()?;
    let mut request = Request::new(&data_dir);
    request.names = vec![built.name.clone()];
    request.descendants = false;
    (request.store, request.offers_again) = (Some(store.clone()), newest);
    request.suite.clone_from(&built.suite);
    request.mirror.clone_from(&built.mirror);
    for outcome in build(&[&built.entries[..], &built.children].concat(), &request, events)? {
        outcome.result?;
    }
    Ok((data_dir.join("images").join(&built.name), in_use))
}

/// The image in the file at `path`.
fn local(name: &str, path: &Path, store: &Store, events: &Events) -> Result<Image> {
    let path = path.canonicalize().map_err(|error| Error::path("find the image", path, error))?;
    if !path.is_file() {
        let message = format!("image `{name}`: `{}` is no file", path.display());
        return Err(Error::new(ErrorKind::Usage, message).with_hint("name a disk image, raw or qcow2"));
    }
    let (format, chain) = (DiskFormat::of_file(&path)?, disk::chain(&path)?);
    let digests = chain.iter().map(|file| digest(file, store, || read(name, file, events)));
    let digests = digests.collect::<Result<Vec<_>>>()?;
    let digest = match &digests[..] {
        [only] => only.clone(),
        several => Key::of(several.iter().map(Key::as_str)),
    };
    Ok(Image { name: name.to_owned(), path, format, digest, in_use: Vec::new() })
}

/// Reads a file for its digest, which takes a while.
fn read(name: &str, file: &Path, events: &Events) -> Result<Key> {
    let subject = format!("image `{name}`");
    events.step(&subject, format!("reading `{}`", file.display()));
    let digest = Key::of_file(file)?;
    events.send(Event::Done { subject, result: format!("sha256:{digest}") });
    Ok(digest)
}
