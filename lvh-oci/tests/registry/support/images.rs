use std::fs;
use std::path::Path;

use lvh_oci::Digest;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::write;

/// A member of a layer, written as it is told to, good or bad.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) link: String,
    pub(crate) bytes: Vec<u8>,
    /// What its header says, where that is not the length of its bytes.
    pub(crate) size: Option<u64>,
}

impl Member {
    pub(crate) fn file(name: &str, bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), ..Self::new(name, EntryType::Regular) }
    }

    pub(crate) fn dir(name: &str) -> Self {
        Self { mode: 0o755, ..Self::new(name, EntryType::Directory) }
    }

    pub(crate) fn link(name: &str, kind: EntryType, to: &str) -> Self {
        Self { link: to.to_owned(), ..Self::new(name, kind) }
    }

    pub(crate) fn new(name: &str, kind: EntryType) -> Self {
        Self { name: name.to_owned(), kind, mode: 0o644, link: String::new(), bytes: Vec::new(), size: None }
    }
}

/// A tar file of these members. Names go into the header as they are: the `tar` crate would refuse the bad ones.
pub(crate) fn tar_of(members: &[Member]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..member.name.len()].copy_from_slice(member.name.as_bytes());
        header.as_old_mut().linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        header.set_size(member.size.unwrap_or(member.bytes.len() as u64));
        header.set_cksum();
        tar.append(&header, member.bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// What is not as usual in a hand-made image.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) manifest_type: &'static str,
    pub(crate) layer_type: &'static str,
    pub(crate) architecture: &'static str,
    /// More keys of each layer's descriptor.
    pub(crate) extra: Value,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            manifest_type: "application/vnd.oci.image.manifest.v1+json",
            layer_type: "application/vnd.oci.image.layer.v1.tar",
            architecture: "amd64",
            extra: json!({}),
        }
    }
}

/// Writes a layout of one image with these layers, by no code of the crate but its digest; returns the manifest's.
pub(crate) fn hand_made(dir: &Path, layers: &[Vec<u8>], shape: &Shape) -> Digest {
    let blob = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        write(&dir.join("blobs/sha256").join(digest.hex()), bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let config =
        json!({ "architecture": shape.architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let layer = |bytes: &Vec<u8>| {
        let mut layer = blob(bytes, shape.layer_type);
        layer.as_object_mut().unwrap().extend(shape.extra.as_object().unwrap().clone());
        layer
    };
    let layers: Vec<_> = layers.iter().map(layer).collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": shape.manifest_type, "config": config, "layers": layers });
    let manifest = blob(manifest.to_string().as_bytes(), shape.manifest_type);
    let digest = manifest["digest"].as_str().unwrap().parse().unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(dir.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string()).unwrap();
    digest
}
