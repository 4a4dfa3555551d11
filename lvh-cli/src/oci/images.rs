//! Disk images out of images.

use std::path::Path;

use lvh_core::{Event, Events, Result};
use lvh_oci::{Compressed, Platform, PulledImages, Source};

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
    events.step(&subject, "looking for it");
    let show = shown(&subject, events);
    let work = lvh_oci::pull_images(source, platform, into, compressed, &session.blobs, &session.options, &show);
    let pulled = session.run(work)?;
    events.send(Event::Done { subject, result: format!("in `{}`", into.display()) });
    Ok(pulled)
}
