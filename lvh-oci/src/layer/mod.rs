//! Layers of an image: reading their tar files, and unpacking what lies below one directory.

mod apply;
mod compression;
mod members;
mod name;
mod tree;
mod unpack;

use std::path::PathBuf;

pub(crate) use compression::{is_zstd, open as open_compressed};
pub(crate) use name::{clean, is_link_to_sources, link_stays};
pub use unpack::{Destination, Limits, Unpacked};
pub(crate) use unpack::{Wanted, unpack, unpack_archive};

use crate::manifest::Descriptor;
use crate::{Digest, Error, Result};

/// A layer on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
}

/// Refuses layers that are no tar files. How they are compressed their first bytes tell.
pub(crate) fn check_media_type(layer: &Descriptor) -> Result<()> {
    let kinds = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
    ];
    let rest = kinds.iter().find_map(|kind| layer.media_type.strip_prefix(kind));
    match rest {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        _ => Err(Error::UnsupportedMediaType { what: layer.digest.to_string(), media_type: layer.media_type.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_tar_files() {
        let check = |media_type: &str| check_media_type(&Descriptor::new(media_type, Digest::of(b""), 1)).is_ok();
        for good in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            assert!(check(good), "{good}");
        }
        for bad in
            ["", "application/vnd.wasm.content.layer.v1+wasm", "application/vnd.oci.image.layer.v1.tar+encrypted"]
        {
            assert!(!check(bad), "{bad}");
        }
    }
}
