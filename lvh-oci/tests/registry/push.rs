use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lvh_oci::{BlobStore, Content, Error, Pack, Packed, Place, pack, pull, resolve};

use crate::support::*;

#[tokio::test]
async fn the_same_files_are_the_same_digest() {
    let dir = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for (name, mode) in [("a", 0o600), ("b", 0o664)] {
        let from = dir.path().join(name);
        kernel(&from, "6.12.9", 10_000);
        let file = from.join("boot/config-6.12.9");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(mode) * 1_000_000);
        File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        digests.push(pack_kernel(&from, "6.12", "amd64", &dir.path().join(format!("layout-{name}"))).await.digest);
    }
    assert_eq!(digests[0], digests[1]);
    write(&dir.path().join("b/boot/config-6.12.9"), b"CONFIG_BPF=n\n");
    assert_ne!(
        pack_kernel(&dir.path().join("b"), "6.12", "amd64", &dir.path().join("layout-c")).await.digest,
        digests[0]
    );
}

#[tokio::test]
async fn what_is_there_is_not_uploaded_again() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    kernel(&dir.path().join("k"), "6.12.9", 10_000);
    let packed = pack_kernel(&dir.path().join("k"), "6.12", "amd64", &dir.path().join("layout")).await;
    let first = push_to(&packed, &registry.name("k:1"), Place::Manifest, &quick()).await.unwrap();
    assert_eq!((first.uploaded, first.present, &first.digest), (2, 0, &packed.digest));
    let second = push_to(&packed, &registry.name("k:2"), Place::Manifest, &quick()).await.unwrap();
    assert_eq!((second.uploaded, second.present), (0, 2));
    let blobs = BlobStore::open(dir.path().join("blobs")).unwrap();
    for tag in ["k:1", "k:2"] {
        assert_eq!(resolve(&registry.name(tag).parse().unwrap(), &blobs, &quick()).await.unwrap(), packed.digest);
    }
    let pinned = format!("{}@{}", registry.name("k"), packed.digest);
    let error = push_to(&packed, &pinned, Place::Manifest, &quick()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn an_index_keeps_its_other_platforms() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    let name = registry.name("k:1");
    let packed = async |architecture: &str, size: usize| {
        let from = dir.path().join(format!("{architecture}-{size}"));
        kernel(&from, "6.12.9", size);
        pack_kernel(&from, "6.12", architecture, &dir.path().join(format!("layout-{architecture}-{size}"))).await
    };
    // A single image becomes part of the index; the second of a platform takes the first one's place.
    push_to(&packed("arm64", 1).await, &name, Place::Manifest, &quick()).await.unwrap();
    push_to(&packed("amd64", 2).await, &name, Place::Index, &quick()).await.unwrap();
    let last = packed("amd64", 3).await;
    let pushed = push_to(&last, &name, Place::Index, &quick()).await.unwrap();
    assert_eq!(push_to(&last, &name, Place::Index, &quick()).await.unwrap().digest, pushed.digest, "nothing changed");

    let blobs = BlobStore::open(dir.path().join("store")).unwrap();
    for (architecture, expected) in [("arm64", packed("arm64", 1).await.digest), ("amd64", last.digest.clone())] {
        let image =
            pull(&name.parse().unwrap(), architecture.parse().unwrap(), &blobs, &quick(), &|_| ()).await.unwrap();
        assert_eq!((image.digest, image.index), (expected, Some(pushed.digest.clone())));
    }
}

async fn pack_dir(dir: &Path, layout: &Path) -> lvh_oci::Result<Packed> {
    let contents = vec![Content { from: dir.to_owned(), to: "data/images/x.qcow2.zst".to_owned() }];
    let annotations = BTreeMap::from([("org.lvh.kernel".to_owned(), "6.12.9".to_owned())]);
    pack(Pack { contents, platform: amd64(), annotations, tag: Some("t".to_owned()) }, layout).await
}

#[tokio::test]
async fn an_export_is_a_layout_that_can_be_pushed_and_pulled() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    write(&dir.path().join("disk"), b"qcow2");
    let packed = pack_dir(&dir.path().join("disk"), &layout).await.unwrap();
    let found = Packed::find(&layout, Some("t"), amd64()).unwrap();
    assert_eq!(found.digest, packed.digest);
    push_to(&found, &registry.name("images:t"), Place::Manifest, &quick()).await.unwrap();

    for source in [format!("oci:{}:t", layout.display()), registry.name("images:t")] {
        let image = pull_from(&source, &dir.path().join("store"), &quick()).await.unwrap();
        assert_eq!(image.digest, packed.digest);
        assert_eq!(image.annotations["org.lvh.kernel"], "6.12.9");
        let into = dir.path().join("out");
        image.unpack("data/images", &into, Default::default()).await.unwrap();
        assert_eq!(fs::read(into.join("x.qcow2.zst")).unwrap(), b"qcow2");
    }
    let error = Packed::find(&layout, Some("u"), amd64()).unwrap_err().to_string();
    assert!(error.ends_with("was not found (it has: t)"), "{error}");
}

#[tokio::test]
async fn what_leads_out_or_is_no_file_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    kernel(&from, "6.12.9", 10);
    let packed = pack_dir(&from, &dir.path().join("layout")).await.unwrap();
    assert_eq!(packed.left_out, [from.join("lib/modules/6.12.9/build")]);

    std::os::unix::fs::symlink("/etc/passwd", from.join("passwd")).unwrap();
    let error = pack_dir(&from, &dir.path().join("layout")).await.unwrap_err().to_string();
    assert!(error.contains("passwd` is not valid: it is a link to `/etc/passwd`"), "{error}");
    fs::remove_file(from.join("passwd")).unwrap();

    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
    let error = pack_dir(&from, &dir.path().join("layout")).await.unwrap_err().to_string();
    assert!(error.contains("socket` is not valid: it is neither"), "{error}");
}
