//! The tree of an image that has a parent: the parent's.

use std::path::{Path, PathBuf};

use crate::image::build::places::{Places, text};
use crate::image::build::sandbox::chroot::Chroot;
use crate::image::images_json::is_qcow2;
use crate::process::Tool;
use crate::{Events, Result};

/// The archive of a tree, where that is made.
const KEPT: &str = "tree.tar";

/// Unpacks the parent's tree: the archive of it that is kept for this, or what can be read from its disk.
pub(crate) fn unpack(parent: &Places, chroot: &Chroot<'_>, events: &Events) -> Result<()> {
    let (archive, tree) = (parent.tree_archive(), chroot.tree());
    if archive.is_file() {
        let words =
            ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", text(&archive)?, "-C", text(&tree)?];
        return chroot.beside(
            "unpacking the parent",
            &[&["sh", "-c", "mkdir \"$1\"; shift; exec \"$@\"", "sh", text(&tree)?], &words[..]].concat(),
        );
    }
    events.note(format!(
        "image `{}` was not built here: capabilities of its programs (setcap) and ACLs are not kept in images made from it",
        parent.name
    ));
    let disk = raw(parent, chroot)?;
    let script = r#"mkdir "$2" && debugfs -R "rdump / \"$2\"" "$1" && rm -rf "$2/lost+found""#;
    chroot.beside("reading the parent's disk", &["sh", "-ec", script, "sh", &disk, text(&tree)?])
}

/// Keeps the tree as an archive, for images that are made from this one.
pub(crate) fn keep(chroot: &Chroot<'_>) -> Result<PathBuf> {
    let (tree, archive) = (chroot.tree(), chroot.space().join(KEPT));
    let words =
        ["tar", "--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf", text(&archive)?, "-C"];
    chroot.beside("keeping the tree", &[&words[..], &[text(&tree)?, "."]].concat())?;
    chroot.fetch(KEPT)
}

/// The parent's disk as a raw one.
fn raw(parent: &Places, chroot: &Chroot<'_>) -> Result<String> {
    let image = parent.image();
    if !is_qcow2(&parent.name) {
        return text(&image).map(str::to_owned);
    }
    let raw = chroot.work.join("parent.raw");
    convert(chroot, "unpacking the parent's disk", ["qcow2", "raw"], &image, &raw)?;
    text(&raw).map(str::to_owned)
}

/// Writes a disk in another format.
pub(crate) fn convert(chroot: &Chroot<'_>, step: &str, formats: [&str; 2], from: &Path, to: &Path) -> Result<()> {
    let [before, after] = formats;
    let tool = Tool::new("qemu-img", "qemu-utils")?.args(["convert", "-f", before, "-O", after]).args([from, to]);
    chroot.on_host(step, tool)
}
