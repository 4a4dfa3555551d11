use std::fs;
use std::path::Path;
use std::sync::Mutex;

use lvh_oci::{
    BlobStore, Content, Destination, Error, KernelTag, Limits, Pack, Place, Progress, pack, pull, pull_kernel, resolve,
};

use crate::support::*;

#[tokio::test]
async fn what_was_pushed_is_pulled_and_the_second_time_no_blob_moves() {
    let registry = Registry::start(&Flavour::Open);
    let proxy = Proxy::start(&registry.address());
    let dir = tempfile::tempdir().unwrap();
    kernel(&dir.path().join("a"), "6.12.9", 300_000);
    let packed = pack_kernel(&dir.path().join("a"), "6.12", "amd64", &dir.path().join("layout")).await;
    push_to(&packed, &registry.name("lvh/kernel-images:6.12-main"), Place::Manifest, &quick()).await.unwrap();

    let name = proxy.name("lvh/kernel-images:6.12-main");
    for round in 0..2 {
        let image = pull_from(&name, &dir.path().join("store"), &quick()).await.unwrap();
        assert_eq!((&image.digest, &image.index), (&packed.digest, &None));
        let tag: KernelTag = "6.12-main".parse().unwrap();
        let into = dir.path().join("6.12-main");
        let unpacked = image.unpack(&tag.directory(), &into, Limits::default()).await.unwrap();
        assert_eq!(unpacked.files, 6);
        let mut expected = read_tree(&dir.path().join("a"));
        expected.remove(Path::new("lib/modules/6.12.9/build")).unwrap();
        assert_eq!(read_tree(&into), expected, "round {round}");
        assert_eq!(proxy.requests("/blobs/").len(), 2, "a layer and a configuration, once");
    }
    assert_eq!(entries(&dir.path().join("store/partial")), [""; 0]);
    assert!(entries(dir.path()).iter().all(|name| !name.starts_with(".lvh")), "{:?}", entries(dir.path()));
}

#[tokio::test]
async fn only_the_named_kernel_is_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let content = |version: &str| {
        let from = dir.path().join(version);
        write(&from.join("boot/vmlinuz"), version.as_bytes());
        Content { from, to: format!("data/kernels/{version}") }
    };
    let contents = vec![content("6.1"), content("6.12")];
    let layout = dir.path().join("layout");
    pack(Pack { contents, platform: amd64(), annotations: Default::default(), tag: None }, &layout).await.unwrap();
    let image = pull_from(&format!("oci:{}", layout.display()), &dir.path().join("store"), &quick()).await.unwrap();

    let into = dir.path().join("out");
    image.unpack("data/kernels/6.1", &into, Limits::default()).await.unwrap();
    assert_eq!(fs::read(into.join("boot/vmlinuz")).unwrap(), b"6.1");
    assert_eq!(entries(&into), ["boot"]);

    let error = image.unpack("data/kernels/6", &dir.path().join("none"), Limits::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("`data/kernels/6` in `oci:"), "{error}");
    assert!(error.to_string().ends_with("was not found (it has: data/kernels/6.1, data/kernels/6.12)"), "{error}");
    assert!(!dir.path().join("none").exists());
}

#[tokio::test]
async fn a_kernel_is_the_tags_or_the_only_one() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    kernel(&dir.path().join("a"), "6.12.9", 1000);
    let packed = pack_kernel(&dir.path().join("a"), "6.12", "amd64", &dir.path().join("one")).await;
    let blobs = BlobStore::open(dir.path().join("store")).unwrap();
    let pull = async |tag: &str| {
        let source = registry.name(&format!("k:{tag}")).parse().unwrap();
        pull_kernel(&source, amd64(), Destination::Final(&dir.path().join("out")), &blobs, &quick(), &|_| ()).await
    };
    for tag in ["6.12-main", "mine"] {
        push_to(&packed, &registry.name(&format!("k:{tag}")), Place::Manifest, &quick()).await.unwrap();
        let pulled = pull(tag).await.unwrap();
        assert_eq!((&pulled.digest, &pulled.index), (&packed.digest, &None));
        assert_eq!(entries(&dir.path().join("out/boot")).len(), 3);
        assert_eq!(entries(&dir.path().join("store/blobs/sha256")), [""; 0], "blobs do not stay");
    }
    let from = dir.path().join("a");
    let contents = ["6.1", "6.12"].map(|version| Content { from: from.clone(), to: format!("data/kernels/{version}") });
    let pack_of_two =
        Pack { contents: contents.to_vec(), platform: amd64(), annotations: Default::default(), tag: None };
    let packed = pack(pack_of_two, &dir.path().join("two")).await.unwrap();
    push_to(&packed, &registry.name("k:two"), Place::Manifest, &quick()).await.unwrap();
    let error = pull("two").await.unwrap_err().to_string();
    let name = registry.name("k:two");
    assert_eq!(error, format!("a single directory `data/kernels/…` in `{name}` was not found (it has: 6.1, 6.12)"));
}

#[tokio::test]
async fn blobs_that_are_in_use_stay() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    publish(&registry.name("k:1"), 1000, &quick()).await;
    let (blobs, store) = (BlobStore::open(dir.path()).unwrap(), dir.path().join("blobs/sha256"));
    let image = pull_from(&registry.name("k:1"), dir.path(), &quick()).await.unwrap();
    blobs.clear().unwrap();
    assert_eq!(entries(&store).len(), 2, "{image:?}");
    drop(image);
    blobs.clear().unwrap();
    assert_eq!(entries(&store), [""; 0]);
}

#[tokio::test]
async fn the_platform_is_chosen_from_an_index() {
    let registry = Registry::start(&Flavour::Open);
    let name = registry.name("k:6.12-main");
    let dir = tempfile::tempdir().unwrap();
    for architecture in ["amd64", "arm64"] {
        let from = dir.path().join(architecture);
        kernel(&from, architecture, 1000);
        let packed = pack_kernel(&from, "6.12", architecture, &dir.path().join(format!("layout-{architecture}"))).await;
        push_to(&packed, &name, Place::Index, &quick()).await.unwrap();
    }
    let blobs = BlobStore::open(dir.path().join("store")).unwrap();
    let index = resolve(&name.parse().unwrap(), &blobs, &quick()).await.unwrap();
    for architecture in ["amd64", "arm64"] {
        let image =
            pull(&name.parse().unwrap(), architecture.parse().unwrap(), &blobs, &quick(), &|_| ()).await.unwrap();
        assert_eq!(image.index.as_ref(), Some(&index));
        let into = dir.path().join("out");
        image.unpack("data/kernels/6.12", &into, Limits::default()).await.unwrap();
        assert!(into.join(format!("boot/vmlinuz-{architecture}")).exists());
        assert_eq!(entries(&into.join("lib/modules")), [architecture], "what was there is replaced");

        // Both digests name it for good.
        for digest in [&index, &image.digest] {
            let pinned = format!("{}@{digest}", registry.name("k"));
            let again =
                pull(&pinned.parse().unwrap(), architecture.parse().unwrap(), &blobs, &quick(), &|_| ()).await.unwrap();
            assert_eq!(again.digest, image.digest);
        }
    }
}

#[tokio::test]
async fn a_single_image_of_another_platform_is_refused() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    publish(&registry.name("k:1"), 1000, &quick()).await;
    let blobs = BlobStore::open(dir.path()).unwrap();
    let name = registry.name("k:1");
    let error = pull(&name.parse().unwrap(), "arm64".parse().unwrap(), &blobs, &quick(), &|_| ()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{name}` has nothing for linux/arm64 (it has: linux/amd64)"));
}

#[tokio::test]
async fn progress_ends_at_the_total() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    publish(&registry.name("k:1"), 3 << 20, &quick()).await;
    let seen = Mutex::new(Vec::new());
    let show = |progress: Progress| seen.lock().unwrap().push(progress);
    let blobs = BlobStore::open(dir.path()).unwrap();
    pull(&registry.name("k:1").parse().unwrap(), amd64(), &blobs, &quick(), &show).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() > 10 && seen.is_sorted_by_key(|progress| progress.done), "{} reports", seen.len());
    let last = seen.last().unwrap();
    assert!(last.total > 3 << 20 && last.done == last.total, "{last:?}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    publish(&registry.name("k:1"), 1000, &quick()).await;
    for missing in ["k:2", "other:1"] {
        let name = registry.name(missing);
        let error = pull_from(&name, dir.path(), &quick()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("`{name}` was not found"));
    }
    let gone = lvh_oci::Digest::of(b"gone");
    let error = pull_from(&registry.name(&format!("k@{gone}")), dir.path(), &quick()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_was_removed_comes_again() {
    let registry = Registry::start(&Flavour::Open);
    let dir = tempfile::tempdir().unwrap();
    publish(&registry.name("k:1"), 1000, &quick()).await;
    let image = pull_from(&registry.name("k:1"), dir.path(), &quick()).await.unwrap();
    let (digest, path) = image.layers().next().map(|(digest, path)| (digest.clone(), path.to_owned())).unwrap();
    BlobStore::open(dir.path()).unwrap().remove(&digest).await.unwrap();
    assert!(!path.exists());
    pull_from(&registry.name("k:1"), dir.path(), &quick()).await.unwrap();
    assert!(path.exists());
}
