use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lvh_oci::{BlobStore, Compressed, Content, Pack, Place, PulledImages, Result, pack, pull_images};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::support::*;

/// Publishes an image with these files in `data/images`.
async fn publish_files(name: &str, files: &[(&str, Vec<u8>)]) {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("images");
    files.iter().for_each(|(name, bytes)| write(&from.join(name), bytes));
    let contents = vec![Content { from, to: "data/images".to_owned() }];
    let pack_of_files = Pack { contents, platform: amd64(), annotations: Default::default(), tag: None };
    let packed = pack(pack_of_files, &dir.path().join("layout")).await.unwrap();
    push_to(&packed, name, Place::Manifest, &quick()).await.unwrap();
}

async fn pull_to(name: &str, dir: &Path, compressed: Compressed) -> Result<PulledImages> {
    let blobs = BlobStore::open(dir.join("store")).unwrap();
    pull_images(&name.parse()?, amd64(), &dir.join("images"), compressed, &blobs, &quick(), &|_| ()).await
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

#[tokio::test]
async fn disk_images_are_decompressed_to_files_with_holes() {
    let registry = Registry::start(&Flavour::Open);
    let name = registry.name("kind:6.6-main");
    let mut disk = noise(200_000, 1);
    disk.resize(9 << 20, 0);
    disk.extend(noise(1000, 2));
    disk.resize(12 << 20, 0);
    publish_files(&name, &[("b.qcow2.zst", zstd(&disk)), ("a.qcow2.zst", zstd(b"a")), ("read.me", b"r".to_vec())])
        .await;

    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    write(&images.join("b.qcow2"), b"of yesterday");
    let pulled = pull_to(&name, dir.path(), Compressed::Removed).await.unwrap();
    assert_eq!(pulled.files, ["a.qcow2", "b.qcow2", "read.me"].map(|name| images.join(name)));
    assert!(fs::read(images.join("b.qcow2")).unwrap() == disk);
    let room = fs::metadata(images.join("b.qcow2")).unwrap().blocks() * 512;
    assert!(room < 1 << 20, "{room} bytes for {}", disk.len());
    assert_eq!(fs::read(images.join("a.qcow2")).unwrap(), b"a");
    assert_eq!(entries(&images).len(), 3, "nothing else is left");

    pull_to(&name, dir.path(), Compressed::Kept).await.unwrap();
    assert!(fs::read(images.join("b.qcow2.zst")).unwrap() == zstd(&disk));
    assert_eq!(entries(&images).len(), 5);
    assert_eq!(entries(&dir.path().join("store/blobs/sha256")), [""; 0]);
}

#[tokio::test]
async fn what_is_no_disk_image_leaves_what_was_there() {
    let registry = Registry::start(&Flavour::Open);
    let name = registry.name("kind:6.6-main");
    let whole = zstd(&noise(100_000, 3));
    for (bytes, words) in
        [(b"plain".to_vec(), "it is not compressed by zstd"), (whole[..50_000].to_vec(), "is not valid")]
    {
        publish_files(&name, &[("a.qcow2.zst", bytes)]).await;
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("images/a.qcow2"), b"of yesterday");
        let error = pull_to(&name, dir.path(), Compressed::Kept).await.unwrap_err().to_string();
        assert!(error.starts_with("`a.qcow2.zst` ") && error.contains(words), "{error}");
        assert_eq!(entries(&dir.path().join("images")), ["a.qcow2"]);
        assert_eq!(fs::read(dir.path().join("images/a.qcow2")).unwrap(), b"of yesterday");
    }
}
