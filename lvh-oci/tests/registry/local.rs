use std::fs;
use std::path::Path;
use std::process::Command;

use lvh_oci::{Error, Limits};
use serde_json::json;
use tar::EntryType;

use crate::support::*;

fn layers() -> Vec<Vec<u8>> {
    let busybox = tar_of(&[Member::dir("bin/"), Member::file("bin/busybox", b"\x7fELF")]);
    let data = tar_of(&[Member::dir("data/"), Member::file("data/kernels/6.12/boot/vmlinuz-6.12.9", b"kernel")]);
    vec![busybox, data]
}

/// The image at `source` has the kernel of [`layers`].
async fn holds_the_kernel(source: &str, dir: &Path) {
    let image = pull_from(source, &dir.join("store"), &quick())
        .await
        .unwrap_or_else(|error| panic!("{source}: {}", report(&error)));
    let into = dir.join("out");
    image.unpack("data/kernels/6.12", &into, Limits::default()).await.unwrap();
    assert_eq!(fs::read(into.join("boot/vmlinuz-6.12.9")).unwrap(), b"kernel");
    drop(image);
    assert_eq!(entries(&dir.join("store/tmp")), [""; 0], "{source}");
}

fn tar(file: &Path, dir: &Path, option: &str) {
    let status = Command::new("tar").arg(option).arg(file).arg("-C").arg(dir).arg(".").status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_layout_is_read_as_a_directory_and_as_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    for manifest_type in
        ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]
    {
        hand_made(&layout, &layers(), &Shape { manifest_type, ..Shape::default() });
        holds_the_kernel(&format!("oci:{}", layout.display()), dir.path()).await;
    }
    for (name, option) in [("k.tar", "-cf"), ("k.tar.gz", "-czf")] {
        let file = dir.path().join(name);
        tar(&file, &layout, option);
        holds_the_kernel(&format!("oci-archive:{}", file.display()), dir.path()).await;
    }
}

/// Puts the entries of the layout's `index.json` into an index of their own, which becomes its only entry.
fn nest(layout: &Path) {
    let path = layout.join("index.json");
    let index = fs::read(&path).unwrap();
    let digest = lvh_oci::Digest::of(&index);
    write(&layout.join("blobs/sha256").join(digest.hex()), &index);
    let media_type = "application/vnd.oci.image.index.v1+json";
    let entry = json!({ "mediaType": media_type, "digest": digest, "size": index.len() });
    fs::write(path, json!({ "schemaVersion": 2, "manifests": [entry] }).to_string()).unwrap();
}

#[tokio::test]
async fn an_index_may_be_within_another_and_leave_the_platform_out() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let source = format!("oci:{}", layout.display());
    hand_made(&layout, &layers(), &Shape::default());
    for _ in 0..3 {
        nest(&layout);
        holds_the_kernel(&source, dir.path()).await;
    }
    nest(&layout);
    nest(&layout);
    let error = pull_from(&source, &dir.path().join("store"), &quick()).await.unwrap_err().to_string();
    assert!(error.ends_with("an index too deep within others"), "{error}");

    // Then the image itself says for what it is.
    hand_made(&layout, &layers(), &Shape { architecture: "s390x", ..Shape::default() });
    nest(&layout);
    let error = pull_from(&source, &dir.path().join("store"), &quick()).await.unwrap_err().to_string();
    assert!(error.ends_with("(it has: linux/s390x)"), "{error}");
}

#[tokio::test]
async fn what_docker_saves_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    let layers = layers();
    let config = json!({ "architecture": "amd64", "os": "linux" }).to_string();
    write(&saved.join("c0ffee.json"), config.as_bytes());
    write(&saved.join("1/layer.tar"), &layers[0]);
    write(&saved.join("2/layer.tar"), &layers[1]);
    // A layer that two images share is a link in one of them.
    fs::create_dir(saved.join("3")).unwrap();
    std::os::unix::fs::symlink("../2/layer.tar", saved.join("3/layer.tar")).unwrap();
    let image =
        |tag: &str, top: &str| json!({ "Config": "c0ffee.json", "RepoTags": [tag], "Layers": ["1/layer.tar", top] });
    let list = json!([image("lvh/k:6.12-main", "2/layer.tar"), image("lvh/k:6.12-old", "3/layer.tar")]);
    write(&saved.join("manifest.json"), list.to_string().as_bytes());
    let file = dir.path().join("k.tar");
    tar(&file, &saved, "-cf");
    for tag in ["6.12-main", "6.12-old"] {
        holds_the_kernel(&format!("docker-archive:{}:{tag}", file.display()), dir.path()).await;
    }
    let source = format!("docker-archive:{}", file.display());
    let error = pull_from(&source, &dir.path().join("store"), &quick()).await.unwrap_err().to_string();
    assert!(error.ends_with("was not found (it has: lvh/k:6.12-main, lvh/k:6.12-old)"), "{error}");
}

#[tokio::test]
async fn a_damaged_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let source = format!("oci:{}", layout.display());
    let digest = lvh_oci::Digest::of(&layers()[1]);
    let blob = layout.join("blobs/sha256").join(digest.hex());
    for (change, words) in
        [(Some(-1), "was cut off after"), (Some(1), "too large"), (Some(0), "it was altered"), (None, "was not found")]
    {
        hand_made(&layout, &layers(), &Shape::default());
        let mut bytes = layers()[1].clone();
        bytes[0] ^= 1;
        bytes.resize(bytes.len().checked_add_signed(change.unwrap_or(0)).unwrap(), 0);
        match change {
            Some(_) => fs::write(&blob, bytes).unwrap(),
            None => fs::remove_file(&blob).unwrap(),
        }
        let error = pull_from(&source, &dir.path().join("store"), &quick()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, hostile) = (dir.path().join("empty.tar"), dir.path().join("hostile.tar"));
    fs::write(&empty, tar_of(&[])).unwrap();
    fs::write(&hostile, tar_of(&[Member::link("blobs", EntryType::Symlink, "/etc")])).unwrap();
    for (source, words) in [
        (format!("oci:{}", dir.path().display()), "it is no OCI layout"),
        (format!("oci-archive:{}", empty.display()), "it holds no OCI layout"),
        (format!("docker-archive:{}", empty.display()), "it is no Docker archive"),
        (format!("oci-archive:{}", hostile.display()), "which leads out"),
    ] {
        let error = pull_from(&source, &dir.path().join("store"), &quick()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{source}: {error}");
    }
    let error = pull_from("oci-archive:none.tar", &dir.path().join("store"), &quick()).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string() == "failed to open `none.tar`", "{error:?}");
}
