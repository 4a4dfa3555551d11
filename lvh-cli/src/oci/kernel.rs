//! Kernels out of images.

use std::path::Path;

use lvh_core::{Event, Events, Result};
use lvh_oci::{Destination, Platform, PulledKernel, Source};

use super::session::{Session, shown};

/// Brings the kernel in the image `source` into the directory `into`, which gets `boot/` and `lib/`.
///
/// `into` gets its name when it is complete, and one that is there is replaced.
pub(crate) fn pull_kernel(source: &Source, platform: Platform, into: &Path, events: &Events) -> Result<PulledKernel> {
    let subject = format!("`{source}`");
    let session = Session::of(source)?;
    events.step(&subject, "looking for it");
    let show = shown(&subject, events);
    let work =
        lvh_oci::pull_kernel(source, platform, Destination::Final(into), &session.blobs, &session.options, &show);
    let pulled = session.run(work)?;
    events.send(Event::Done { subject, result: format!("in `{}`", into.display()) });
    Ok(pulled)
}
