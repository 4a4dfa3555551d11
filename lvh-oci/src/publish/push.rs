use std::fs;

use crate::local::{Layout, to_json};
use crate::manifest::{
    Descriptor, Document, ImageConfig, Index, LARGEST_DOCUMENT, OCI_INDEX, OCI_MANIFEST, PlatformWords,
};
use crate::progress::Meter;
use crate::registry::{Operation, Remote};
use crate::{Digest, Error, Options, Packed, Progress, Reference, Result};

/// What a tag names after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The image itself: one platform.
    Manifest,
    /// An index: the image takes the place of its platform in it, what it has for others stays. One that is not there is made; a single
    /// image of another platform becomes part of it.
    Index,
}

/// What a push has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The digest that `reference` names now: the manifest's or the index's.
    pub digest: Digest,
    /// Blobs that the registry did not have.
    pub uploaded: usize,
    /// Blobs that it had.
    pub present: usize,
}

/// Uploads a packed image, under the tag of `reference`.
///
/// # Errors
/// Those of talking to the registry. Blobs go first, the tag last: a push that fails changes nothing that a puller sees.
pub async fn push(
    packed: &Packed,
    reference: &Reference,
    place: Place,
    options: &Options,
    show: &(dyn Fn(Progress) + Sync),
) -> Result<Pushed> {
    if reference.digest().is_some() {
        let (text, expected) = (reference.to_string(), "a name to push to, with a tag and without a digest".to_owned());
        return Err(Error::Malformed { what: "place for an image", text, expected });
    }
    let layout = Layout::open(&packed.dir)?;
    let remote = Remote::connect(reference, options, Operation::Push).await?;
    let blobs: Vec<_> = packed.manifest.layers.iter().chain([&packed.manifest.config]).collect();
    let meter = Meter::new(blobs.iter().map(|blob| blob.size).sum(), show);
    let mut uploaded = 0;
    for blob in &blobs {
        uploaded += usize::from(remote.upload(blob, &layout.blob_path(&blob.digest), &meter).await?);
    }
    let path = layout.blob_path(&packed.digest);
    let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let digest = match place {
        Place::Manifest => {
            remote.put_manifest(reference, &bytes, OCI_MANIFEST).await?;
            packed.digest.clone()
        }
        Place::Index => {
            remote.put_manifest(&reference.with_digest(&packed.digest), &bytes, OCI_MANIFEST).await?;
            let index = to_json(&updated_index(&remote, reference, &packed.entry).await?);
            remote.put_manifest(reference, &index, OCI_INDEX).await?;
            Digest::of(&index)
        }
    };
    Ok(Pushed { digest, uploaded, present: blobs.len() - uploaded })
}

/// The index that the tag names, with `entry` in the place of its platform.
async fn updated_index(remote: &Remote, reference: &Reference, entry: &Descriptor) -> Result<Index> {
    let mut manifests = present(remote, reference).await?;
    manifests.retain(|other| other.platform != entry.platform && other.digest != entry.digest);
    manifests.push(entry.clone());
    // Whatever the order of pushes, the same images are the same index.
    manifests.sort_by_key(|entry| (entry.platform.as_ref().map(ToString::to_string), entry.digest.clone()));
    Ok(Index { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests, annotations: None })
}

/// The images that the tag names now.
async fn present(remote: &Remote, reference: &Reference) -> Result<Vec<Descriptor>> {
    let bytes = match remote.manifest(reference).await {
        Err(Error::NotFound { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let manifest = match Document::parse(&bytes, &reference.to_string())? {
        Document::Index(index) => return Ok(index.manifests),
        Document::Manifest(manifest) => manifest,
    };
    let config = remote.small_blob(&manifest.config, LARGEST_DOCUMENT).await?;
    let config: ImageConfig =
        serde_json::from_slice(&config).map_err(|e| Error::invalid(&manifest.config.digest, e))?;
    let media_type = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
    let mut entry = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
    entry.platform = Some(PlatformWords { variant: None, ..config.platform });
    Ok(vec![entry])
}
