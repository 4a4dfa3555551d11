use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::layer::Wanted;
use crate::{BlobStore, Destination, Digest, KernelTag, Limits, Options, Platform, Progress, Result, Source, pull};

/// Where kernels lie in an image, each in a directory that is called as its version.
const KERNELS: &str = "data/kernels";

/// A kernel that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledKernel {
    /// The digest of the manifest that it is of.
    pub digest: Digest,
    /// The digest of the index that this was chosen from, if the name was one of an index.
    pub index: Option<Digest>,
    /// What its maker noted of it.
    pub annotations: BTreeMap<String, String>,
    /// Links that were left out: `build` and `source` of a module tree, where they lead out of it.
    pub left_out: Vec<PathBuf>,
}

/// Brings the kernel that an image holds to `into`, which gets `boot/` and `lib/`.
///
/// It is the kernel of the version in the tag, where that is a [`KernelTag`]; else the only one of the image. Its blobs do not
/// stay: what was unpacked takes as much room already.
///
/// # Errors
/// Those of [`pull`] and of unpacking.
pub async fn pull_kernel(
    source: &Source,
    platform: Platform,
    into: Destination<'_>,
    blobs: &BlobStore,
    options: &Options,
    show: &(dyn Fn(Progress) + Sync),
) -> Result<PulledKernel> {
    let image = pull(source, platform, blobs, options, show).await?;
    let (prefix, wanted) = match source.tag().and_then(|tag| tag.parse::<KernelTag>().ok()) {
        Some(tag) => (tag.directory(), Wanted::All),
        None => (KERNELS.to_owned(), Wanted::OnlyDirectory),
    };
    let unpacked = image.unpack_wanted(&prefix, wanted, into, Limits::default()).await?;
    let (digest, index, annotations) = (image.digest.clone(), image.index.clone(), image.annotations.clone());
    drop(image);
    blobs.clear()?;
    Ok(PulledKernel { digest, index, annotations, left_out: unpacked.left_out })
}
