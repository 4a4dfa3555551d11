use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lvh_oci::{Error, Limits, Result, Unpacked};
use serde_json::json;
use tar::EntryType;

use crate::support::*;

/// Unpacks `d` of an image of these layers to `dir/out`.
async fn unpack(dir: &Path, layers: &[Vec<u8>], limits: Limits) -> Result<Unpacked> {
    let layout = dir.join("layout");
    hand_made(&layout, layers, &Shape::default());
    let image = pull_from(&format!("oci:{}", layout.display()), &dir.join("store"), &quick()).await?;
    image.unpack("d", &dir.join("out"), limits).await
}

/// The layer of these members is refused in these words, and nothing of it is left, in or outside of the directory.
async fn refused(members: &[Member], words: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("victim")).unwrap();
    let mut all = vec![Member::dir("d/"), Member::file("d/good", b"good")];
    all.extend_from_slice(members);
    let error =
        unpack(dir.path(), &[tar_of(&all)], Limits { bytes: 1 << 20, members: 10, layer: 4 << 20 }).await.unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    let mut left = entries(dir.path());
    left.sort();
    assert_eq!(left, ["layout", "store", "victim"]);
    assert_eq!(entries(&dir.path().join("victim")), [""; 0]);
}

#[tokio::test]
async fn a_name_with_two_dots_is_refused() {
    refused(&[Member::file("d/../../../victim/x", b"x")], "its name has a `..`").await;
}

#[tokio::test]
async fn a_name_with_two_dots_outside_of_the_wanted_directory_is_refused() {
    refused(&[Member::file("../x", b"x")], "its name has a `..`").await;
}

#[tokio::test]
async fn an_absolute_name_is_refused() {
    refused(&[Member::file("/tmp/lvh-oci-test-absolute", b"x")], "its name is absolute").await;
    assert!(!Path::new("/tmp/lvh-oci-test-absolute").exists());
}

#[tokio::test]
async fn a_symlink_that_leads_out_is_refused() {
    refused(&[Member::link("d/l", EntryType::Symlink, "../victim")], "`../victim`, which leads out").await;
    refused(&[Member::link("d/l", EntryType::Symlink, "/etc")], "`/etc`, which leads out").await;
}

#[tokio::test]
async fn a_symlink_that_leads_out_by_way_of_another_is_refused() {
    let up = Member::link("d/a/b/up", EntryType::Symlink, "../..");
    refused(&[up, Member::link("d/l", EntryType::Symlink, "a/b/up/..")], "which leads out").await;
}

#[tokio::test]
async fn nothing_is_written_through_a_symlink() {
    let link = Member::link("d/l", EntryType::Symlink, "sub");
    refused(&[Member::dir("d/sub/"), link, Member::file("d/l/x", b"x")], "`l` is no directory").await;
}

#[tokio::test]
async fn a_hard_link_out_is_refused() {
    refused(&[Member::link("d/l", EntryType::Link, "/etc/passwd")], "as a hard link, its name is absolute").await;
    refused(&[Member::link("d/l", EntryType::Link, "d/../../x")], "as a hard link, its name has a `..`").await;
    refused(
        &[Member::file("e/x", b"x"), Member::link("d/l", EntryType::Link, "e/x")],
        "a hard link to a file elsewhere",
    )
    .await;
    refused(&[Member::link("d/l", EntryType::Link, "d/none")], "which is no file here").await;
}

#[tokio::test]
async fn a_hard_link_to_a_symlink_or_through_one_is_refused() {
    let link = Member::link("d/s", EntryType::Symlink, "good");
    refused(&[link, Member::link("d/l", EntryType::Link, "d/s")], "which is no file here").await;
    let link = Member::link("d/s", EntryType::Symlink, "sub");
    refused(&[Member::dir("d/sub"), link, Member::link("d/l", EntryType::Link, "d/s/x")], "`s` is no directory").await;
}

#[tokio::test]
async fn devices_and_pipes_are_refused() {
    refused(&[Member::new("d/x", EntryType::Char)], "it is a device").await;
    refused(&[Member::new("d/x", EntryType::Block)], "it is a device").await;
    refused(&[Member::new("d/x", EntryType::Fifo)], "it is a pipe").await;
    refused(&[Member::new("d/x", EntryType::new(b'Z'))], "it is of an unknown kind ('Z')").await;
}

#[tokio::test]
async fn sparse_files_are_refused() {
    refused(&[Member::new("d/x", EntryType::GNUSparse)], "it is a sparse file").await;
    let pax = b"22 GNU.sparse.major=1\n";
    refused(
        &[Member { bytes: pax.to_vec(), ..Member::new("p", EntryType::XHeader) }, Member::file("d/x", b"x")],
        "it is a sparse file",
    )
    .await;
}

#[tokio::test]
async fn bombs_are_refused() {
    refused(&[Member::file("d/x", &vec![0; 1 << 20])], "too large: more than 1048576 bytes").await;
    // What is not wanted is not written, but it is read.
    refused(&[Member::file("e/x", &vec![0; 4 << 20])], "too large: more than 4194304 bytes").await;
    let many: Vec<_> = (0..20).map(|n| Member::file(&format!("e/{n}"), b"")).collect();
    refused(&many, "the number of members is too large").await;
    let name = Member { bytes: vec![b'x'; 2 << 20], ..Member::new("n", EntryType::GNULongName) };
    refused(&[name], "a name is longer than any can be").await;
}

#[tokio::test]
async fn a_damaged_archive_is_refused() {
    refused(&[Member { size: Some(5000), ..Member::file("d/x", b"x") }], "it ends in the middle of a file").await;
    let dir = tempfile::tempdir().unwrap();
    let mut layer = tar_of(&[Member::file("d/x", b"x")]);
    layer[0] = b'e';
    let error = unpack(dir.path(), &[layer], Limits::default()).await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    let error = unpack(dir.path(), &[tar_of(&[Member::file("d", b"x")])], Limits::default()).await.unwrap_err();
    assert!(error.to_string().contains("refused `d` of a layer: it is no directory"), "{error}");
}

#[tokio::test]
async fn modes_are_kept_but_for_setuid() {
    let dir = tempfile::tempdir().unwrap();
    let member = |name: &str, mode: u32| Member { mode, ..Member::file(name, b"x") };
    let layer =
        tar_of(&[member("d/suid", 0o6755), member("d/plain", 0o640), Member { mode: 0o1777, ..Member::dir("d/sub") }]);
    unpack(dir.path(), &[layer], Limits::default()).await.unwrap();
    for (name, mode) in [("suid", 0o755), ("plain", 0o640), ("sub", 0o777)] {
        let metadata = fs::metadata(dir.path().join("out").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
    }
}

#[tokio::test]
async fn links_within_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let layer = tar_of(&[
        Member::file("d/a/x", b"x"),
        Member::link("d/b/hard", EntryType::Link, "d/a/x"),
        Member::link("d/b/soft", EntryType::Symlink, "../a/x"),
        Member::link("d/lib/modules/6/build", EntryType::Symlink, "/usr/src/linux"),
    ]);
    let unpacked = unpack(dir.path(), &[layer], Limits::default()).await.unwrap();
    for name in ["hard", "soft"] {
        assert_eq!(fs::read(dir.path().join("out/b").join(name)).unwrap(), b"x");
    }
    assert_eq!(unpacked.left_out, [Path::new("lib/modules/6/build")]);
    assert!(fs::symlink_metadata(dir.path().join("out/lib")).is_err(), "a link that is left out leaves nothing");
}

#[tokio::test]
async fn upper_layers_hide_what_lower_ones_have() {
    let lower = tar_of(&[
        Member::file("d/gone", b"1"),
        Member::file("d/kept", b"1"),
        Member::file("d/changed", b"1"),
        Member::file("d/tree/x/y", b"1"),
        Member::file("d/opaque/old", b"1"),
        Member::file("d/file", b"1"),
        Member::file("d/was-a-directory/x", b"1"),
    ]);
    let upper = tar_of(&[
        Member::file("d/.wh.gone", b""),
        Member::file("d/changed", b"2"),
        Member::file("d/.wh.tree", b""),
        Member::file("d/opaque/new", b"2"),
        Member::file("d/opaque/.wh..wh..opq", b""),
        Member::file("d/was-a-directory", b"2"),
        Member::file("d/.wh.own", b""),
        Member::dir("d/file"),
    ]);
    let dir = tempfile::tempdir().unwrap();
    unpack(dir.path(), &[lower.clone(), upper], Limits::default()).await.unwrap();
    let tree = read_tree(&dir.path().join("out"));
    let seen: Vec<_> = tree.iter().map(|(path, (_, bytes))| (path.to_str().unwrap(), bytes[0])).collect();
    assert_eq!(seen, [("changed", b'2'), ("kept", b'1'), ("opaque/new", b'2'), ("was-a-directory", b'2')]);
    assert!(dir.path().join("out/file").is_dir());

    // Of the wanted directory itself, and of all that is above it.
    for whiteout in [".wh.d", ".wh..wh..opq", "d/.wh..wh..opq"] {
        let dir = tempfile::tempdir().unwrap();
        let upper = tar_of(&[Member::file("d/new", b"2"), Member::file(whiteout, b"")]);
        unpack(dir.path(), &[lower.clone(), upper], Limits::default()).await.unwrap();
        assert_eq!(entries(&dir.path().join("out")), ["new"], "{whiteout}");
    }
    refused(&[Member::file("d/.wh...", b"")], "it hides no name").await;

    // A whiteout hides nothing by way of a link.
    let dir = tempfile::tempdir().unwrap();
    let lower = tar_of(&[Member::file("d/a/x", b"1"), Member::link("d/l", EntryType::Symlink, "a")]);
    let upper = tar_of(&[Member::file("d/l/.wh.x", b""), Member::file("d/l/.wh..wh..opq", b"")]);
    unpack(dir.path(), &[lower, upper], Limits::default()).await.unwrap();
    assert!(dir.path().join("out/a/x").exists());
}

#[tokio::test]
async fn layers_are_plain_gzip_or_zstd() {
    let tar = tar_of(&[Member::file("d/x", b"hello")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(tar.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let (front, back) = tar.split_at(700);
    let frames =
        [front, back].map(|part| ruzstd::encoding::compress_to_vec(part, ruzstd::encoding::CompressionLevel::Fastest));
    // A frame to be skipped before, between and after others, as `zstd:chunked` has.
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].as_slice();
    let chunked = [skipped, &frames[0], skipped, &frames[1], skipped].concat();
    for (name, layer) in
        [("plain", tar.clone()), ("gzip", gzip.finish().unwrap()), ("zstd", zstd), ("chunked", chunked)]
    {
        let dir = tempfile::tempdir().unwrap();
        unpack(dir.path(), &[layer], Limits::default()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(fs::read(dir.path().join("out/x")).unwrap(), b"hello", "{name}");
    }
}

#[tokio::test]
async fn foreign_layers_and_unknown_media_types_are_refused() {
    let tar = vec![tar_of(&[Member::file("d/x", b"x")])];
    let pull = async |shape: Shape| {
        let dir = tempfile::tempdir().unwrap();
        hand_made(dir.path(), &tar, &shape);
        pull_from(&format!("oci:{}", dir.path().display()), &dir.path().join("store"), &quick()).await.unwrap_err()
    };
    let foreign = pull(Shape { extra: json!({ "urls": ["https://elsewhere.invalid/x"] }), ..Shape::default() }).await;
    assert!(foreign.to_string().contains("it is a foreign layer"), "{foreign}");
    let wasm = pull(Shape { layer_type: "application/vnd.wasm.content.layer.v1+wasm", ..Shape::default() }).await;
    assert!(matches!(wasm, Error::UnsupportedMediaType { .. }), "{wasm:?}");
    let other = pull(Shape { architecture: "arm64", ..Shape::default() }).await;
    assert!(other.to_string().ends_with("has nothing for linux/amd64 (it has: linux/arm64)"), "{other}");
}
