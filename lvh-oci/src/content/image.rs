use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::blob::{InUse, blocking};
use crate::layer::{self, Layer, Wanted};
use crate::local::{self, Layout};
use crate::manifest::{Descriptor, Document, ImageConfig, LARGEST_DOCUMENT, Manifest};
use crate::progress::Meter;
use crate::registry::{Operation, Remote};
use crate::{BlobStore, Destination, Digest, Error, Limits, Options, Platform, Progress, Result, Source, Unpacked};

/// How many indexes may be within each other, below the first.
const DEEPEST: usize = 3;

/// An image whose layers are on the disk.
#[derive(Debug)]
pub struct Image {
    /// The manifest's digest: what this image is.
    pub digest: Digest,
    /// The digest of the index that it was chosen from, if the name was one of an index.
    pub index: Option<Digest>,
    /// What its maker noted of it.
    pub annotations: BTreeMap<String, String>,
    name: String,
    layers: Vec<Layer>,
    // Where the layers came from an archive, they lie in its scratch directory.
    _layout: Option<Layout>,
    _in_use: InUse,
}

impl Image {
    /// Unpacks what lies below `prefix` (such as `data/kernels/6.12`) into the directory `into`, without the prefix.
    ///
    /// A directory that is there already is replaced, when the new one is complete.
    ///
    /// # Errors
    /// When there is nothing below `prefix`, when a layer is damaged, tries to leave the directory or exceeds `limits`.
    pub async fn unpack(&self, prefix: &str, into: &Path, limits: Limits) -> Result<Unpacked> {
        self.unpack_wanted(prefix, Wanted::All, Destination::Final(into), limits).await
    }

    /// As [`Image::unpack`], of all below `prefix` or of what is in the one directory there.
    pub(crate) async fn unpack_wanted(
        &self,
        prefix: &str,
        wanted: Wanted,
        into: Destination<'_>,
        limits: Limits,
    ) -> Result<Unpacked> {
        let (layers, name, prefix) = (self.layers.clone(), self.name.clone(), prefix.to_owned());
        let (is_final, path) = match into {
            Destination::Final(path) => (true, path.to_owned()),
            Destination::Staging(path) => (false, path.to_owned()),
        };
        blocking(move || {
            let into = if is_final { Destination::Final(&path) } else { Destination::Staging(&path) };
            layer::unpack(&layers, &name, &prefix, wanted, into, limits)
        })
        .await
    }

    /// The files of the layers, the lowest first; they stay for as long as the store keeps them and this is held.
    pub fn layers(&self) -> impl Iterator<Item = (&Digest, &Path)> {
        self.layers.iter().map(|layer| (&layer.digest, layer.path.as_path()))
    }
}

/// Which image the source names just now: the digest of its index, or of its manifest where it has no index.
///
/// # Errors
/// Those of talking to the registry, or of reading the layout or archive.
pub async fn resolve(source: &Source, blobs: &BlobStore, options: &Options) -> Result<Digest> {
    let origin = Origin::open(source, blobs, options).await?;
    Ok(origin.root(&source.to_string()).await?.1)
}

/// Brings the image for `platform` onto the disk; `show` is told how far it has come.
///
/// # Errors
/// As the variants of [`enum@Error`] say. What was downloaded is kept, and gone on with the next time.
pub async fn pull(
    source: &Source,
    platform: Platform,
    blobs: &BlobStore,
    options: &Options,
    show: &(dyn Fn(Progress) + Sync),
) -> Result<Image> {
    let in_use = blobs.in_use()?;
    let origin = Origin::open(source, blobs, options).await?;
    let name = source.to_string();
    let chosen = origin.choose(platform, &name).await?;
    let manifest = &chosen.manifest;
    manifest.layers.iter().try_for_each(layer::check_media_type)?;

    let all = manifest.layers.iter().chain([&manifest.config]);
    let meter = Meter::new(all.map(|blob| blob.size).sum(), show);
    let config = origin.blob(&manifest.config, blobs, &meter).await?;
    if !chosen.is_for_it {
        check_platform(&config, platform, &name)?;
    }
    let mut layers = Vec::new();
    for blob in &manifest.layers {
        layers.push(Layer { digest: blob.digest.clone(), path: origin.blob(blob, blobs, &meter).await? });
    }
    let annotations = chosen.manifest.annotations.unwrap_or_default();
    let (digest, index, layout) = (chosen.digest, chosen.index, origin.into_layout());
    Ok(Image { digest, index, annotations, name, layers, _layout: layout, _in_use: in_use })
}

/// Where manifests and blobs come from.
enum Origin {
    Remote(Box<Remote>),
    Layout { layout: Layout, tag: Option<String> },
}

struct Chosen {
    digest: Digest,
    index: Option<Digest>,
    manifest: Manifest,
    /// The index says that it is for the platform.
    is_for_it: bool,
}

impl Origin {
    async fn open(source: &Source, blobs: &BlobStore, options: &Options) -> Result<Self> {
        let (layout, tag) = match source.clone() {
            Source::Registry(reference) => {
                let remote = Remote::connect(&reference, options, Operation::Pull).await?;
                return Ok(Self::Remote(Box::new(remote)));
            }
            Source::Layout { dir, tag } => (Layout::open(&dir)?, tag),
            Source::OciArchive { file, tag } => {
                let blobs = blobs.clone();
                (blocking(move || local::open_archive(&file, &blobs)).await?, tag)
            }
            Source::DockerArchive { file, tag } => {
                let (blobs, wanted) = (blobs.clone(), tag.clone());
                // Its layout has one image, the wanted one.
                (blocking(move || local::open_docker_archive(&file, wanted.as_deref(), &blobs)).await?, None)
            }
        };
        Ok(Self::Layout { layout, tag })
    }

    /// Goes from the name to the manifest, by way of an index or of one within another.
    async fn choose(&self, platform: Platform, name: &str) -> Result<Chosen> {
        let (mut document, mut digest) = self.root(name).await?;
        let (mut first, mut is_for_it) = (None, false);
        for _ in 0..=DEEPEST {
            let index = match document {
                Document::Manifest(manifest) => return Ok(Chosen { digest, index: first, manifest, is_for_it }),
                Document::Index(index) => index,
            };
            let entry = index.select(platform, name)?;
            first.get_or_insert(digest);
            is_for_it |= entry.platform.is_some();
            document = Document::parse(&self.manifest(entry).await?, entry.digest.as_str())?;
            digest = entry.digest.clone();
        }
        Err(Error::invalid(&digest, "an index too deep within others"))
    }

    /// What the name leads to.
    async fn root(&self, name: &str) -> Result<(Document, Digest)> {
        match self {
            Self::Remote(remote) => {
                let bytes = remote.manifest(remote.reference()).await?;
                Ok((Document::parse(&bytes, name)?, Digest::of(&bytes)))
            }
            Self::Layout { layout, tag } => layout.root(tag.as_deref()),
        }
    }

    async fn manifest(&self, entry: &Descriptor) -> Result<Vec<u8>> {
        entry.check(LARGEST_DOCUMENT)?;
        match self {
            Self::Remote(remote) => remote.manifest(&remote.reference().with_digest(&entry.digest)).await,
            Self::Layout { layout, .. } => layout.document(entry),
        }
    }

    async fn blob(&self, blob: &Descriptor, blobs: &BlobStore, meter: &Meter<'_>) -> Result<PathBuf> {
        match self {
            Self::Remote(remote) => remote.download(blob, blobs, meter).await,
            Self::Layout { layout, .. } => {
                let (layout, wanted) = (layout.at(), blob.clone());
                let path = blocking(move || layout.blob(&wanted)).await?;
                meter.add(blob.size);
                Ok(path)
            }
        }
    }

    fn into_layout(self) -> Option<Layout> {
        match self {
            Self::Remote(_) => None,
            Self::Layout { layout, .. } => Some(layout),
        }
    }
}

/// A manifest that no index has with a platform says only in its configuration what it is for.
fn check_platform(config: &Path, platform: Platform, name: &str) -> Result<()> {
    let bytes = fs::read(config).map_err(|e| Error::io("read", config, e))?;
    let config: ImageConfig =
        serde_json::from_slice(&bytes).map_err(|e| Error::invalid(name, format!("its configuration: {e}")))?;
    if config.platform.is(platform) {
        return Ok(());
    }
    let available = Some(config.platform).filter(|words| !words.architecture.is_empty());
    let available = available.map_or_else(|| "it says none".to_owned(), |words| words.to_string());
    Err(Error::NoPlatform { what: name.to_owned(), wanted: platform.to_string(), available })
}
