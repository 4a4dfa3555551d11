use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Layout;
use super::layout::to_json;
use crate::layer::{clean, unpack_archive};
use crate::manifest::{Descriptor, LARGEST_DOCUMENT, Manifest, OCI_CONFIG, OCI_LAYER_TAR, OCI_MANIFEST};
use crate::{BlobStore, Digest, Error, Limits, Result};

/// An image in `manifest.json` of what `docker save` writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The layout in a tar file, unpacked to the store's scratch space.
pub(crate) fn open_archive(file: &Path, blobs: &BlobStore) -> Result<Layout> {
    let scratch = blobs.scratch()?;
    let dir = scratch.subdirectory("layout")?;
    unpack_archive(file, &dir, Limits::default())?;
    match dir.join("index.json").is_file() {
        true => Ok(Layout::open(&dir)?.with_scratch(scratch)),
        false => Err(Error::invalid(file.display(), "it holds no OCI layout: it has no `index.json`")),
    }
}

/// What `docker save` writes, turned into a layout of the one image that `tag` names.
pub(crate) fn open_docker_archive(file: &Path, tag: Option<&str>, blobs: &BlobStore) -> Result<Layout> {
    let scratch = blobs.scratch()?;
    let dir = scratch.subdirectory("saved")?;
    unpack_archive(file, &dir, Limits::default())?;
    let list = dir.join("manifest.json");
    if !list.is_file() {
        return Err(Error::invalid(file.display(), "it is no Docker archive: it has no `manifest.json`"));
    }
    let images: Vec<Saved> =
        serde_json::from_slice(&read_small(&list)?).map_err(|e| Error::invalid(file.display(), e))?;
    let saved = choose(&images, tag, file)?;
    let layout = Layout::create(&scratch.path().join("layout"))?;
    let member = |name: &str| {
        clean(OsStr::new(name)).map(|path| dir.join(path)).map_err(|why| Error::invalid(file.display(), why))
    };
    let config = layout.add(&read_small(&member(&saved.config)?)?, OCI_CONFIG)?;
    let layers = saved.layers.iter().map(|name| adopt(&layout, &member(name)?)).collect::<Result<Vec<_>>>()?;
    let media_type = Some(OCI_MANIFEST.to_owned());
    let manifest = Manifest { schema_version: 2, media_type, config, layers, annotations: None };
    let manifest = layout.add(&to_json(&manifest), OCI_MANIFEST)?;
    layout.name(manifest, None)?;
    Ok(layout.with_scratch(scratch))
}

fn choose<'a>(images: &'a [Saved], tag: Option<&str>, file: &Path) -> Result<&'a Saved> {
    let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
    let named = |image: &&Saved| {
        tag.is_none_or(|tag| {
            tags(image).iter().any(|full| full == tag || full.rsplit_once(':').is_some_and(|(_, last)| last == tag))
        })
    };
    let mut chosen = images.iter().filter(named);
    match (chosen.next(), chosen.next()) {
        (Some(image), None) => Ok(image),
        _ => {
            let all: Vec<_> = images.iter().flat_map(tags).collect();
            let known = format!(" (it has: {})", all.join(", "));
            Err(Error::not_found_in(tag.unwrap_or("an image without a name"), file.display(), known))
        }
    }
}

/// Makes a file of the unpacked archive a blob. One may be a link to another, where two layers are equal.
fn adopt(layout: &Layout, file: &Path) -> Result<Descriptor> {
    let file = PathBuf::from(file).canonicalize().map_err(|e| Error::io("find", file, e))?;
    let size = fs::metadata(&file).map_err(|e| Error::io("read", &file, e))?.len();
    let digest = Digest::of_file(&file)?;
    let blob = layout.blob_path(&digest);
    if !blob.exists() {
        fs::hard_link(&file, &blob).map_err(|e| Error::io("store", &blob, e))?;
    }
    Ok(Descriptor::new(OCI_LAYER_TAR, digest, size))
}

fn read_small(path: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
    if size > LARGEST_DOCUMENT {
        return Err(Error::TooLarge { what: format!("`{}`", path.display()), limit: LARGEST_DOCUMENT });
    }
    fs::read(path).map_err(|e| Error::io("read", path, e))
}
