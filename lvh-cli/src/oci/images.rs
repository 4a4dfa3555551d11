//! Disk images out of images.

use std::path::Path;

use lvh_core::{Event, Events, Result};
use lvh_oci::{Compressed, Digest, Pack, Place, Platform, PulledImages, Reference, Source};

use super::session::{Session, shown};

/// Brings the disk images in the image `source` (`/data/images/*.qcow2.zst`) into the directory `into`, decompressed.
///
/// Each gets its name when it is complete, and one that is there is replaced.
pub(crate) fn pull_images(
    source: &Source,
    platform: Platform,
    into: &Path,
    compressed: Compressed,
    events: &Events,
) -> Result<PulledImages> {
    let subject = format!("`{source}`");
    let session = Session::of(source)?;
    let show = shown(&subject, events);
    let work = lvh_oci::pull_images(source, platform, into, compressed, &session.blobs, &session.options, &show);
    session.run(work)
}

/// What `source` names just now.
pub(crate) fn resolve(source: &Source) -> Result<Digest> {
    let session = Session::of(source)?;
    session.run(lvh_oci::resolve(source, &session.blobs, &session.options))
}

/// Packs an image into the directory `layout` and uploads it; says which digest the tag names then.
pub(crate) fn push(pack: Pack, layout: &Path, reference: &Reference, events: &Events) -> Result<Digest> {
    let subject = format!("`{reference}`");
    let session = Session::open(Some(&reference.to_string()))?;
    events.step(&subject, "packing");
    let packed = session.run(lvh_oci::pack(pack, layout))?;
    events.step(&subject, "uploading");
    let work = lvh_oci::push(&packed, reference, Place::Index, &session.options, &|_| ());
    let pushed = session.run(work)?;
    events.send(Event::Done {
        subject,
        result: format!("{} of {} blobs uploaded", pushed.uploaded, pushed.uploaded + pushed.present),
    });
    Ok(pushed.digest)
}
