//! A disk with a small system on it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::empty_directory;

/// What of busybox is linked into its place.
const APPLETS: [&str; 11] =
    ["sh", "cat", "sleep", "ls", "touch", "mount", "uname", "grep", "sha256sum", "ip", "nslookup"];

/// Makes an ext4 disk in the directory `name` of `parent`: busybox, an `/etc/os-release` that says `of-the-disk`, and a
/// program `/first` that never ends, and writes to `/begun` what no other run of it does. Of C libraries it has what `files` holds: files of the host, and where they go.
///
/// # Panics
/// If a program is missing that `tests/setup` installs.
pub fn busybox_disk(parent: &Path, name: &str, files: &[(PathBuf, PathBuf)]) -> PathBuf {
    let dir = empty_directory(parent, name);
    let (tree, disk) = (dir.join("tree"), dir.join("disk.ext4"));
    fs::create_dir_all(tree.join("bin")).expect("a new directory can be written to");
    fs::create_dir_all(tree.join("etc")).expect("a new directory can be written to");
    fs::write(tree.join("etc/os-release"), "ID=of-the-disk\n").expect("as above");
    fs::write(tree.join("first"), "#!/bin/sh\ncat /proc/sys/kernel/random/uuid >/begun\nwhile :; do sleep 5; done\n")
        .expect("as above");
    fs::set_permissions(tree.join("first"), fs::Permissions::from_mode(0o755)).expect("as above");
    let which = Command::new("which").arg("busybox").output().expect("there is a `which`").stdout;
    let busybox = String::from_utf8(which).expect("a path of UTF-8");
    fs::copy(busybox.trim(), tree.join("bin/busybox")).expect("tests/setup installs busybox");
    for applet in APPLETS {
        symlink("busybox", tree.join("bin").join(applet)).expect("as above");
    }
    for (from, to) in files {
        let to = tree.join(to.strip_prefix("/").unwrap_or(to));
        fs::create_dir_all(to.parent().expect("it is in the tree")).expect("as above");
        fs::copy(from, to).expect("the host has it");
    }
    fs::File::create(&disk).and_then(|disk| disk.set_len(32 << 20)).expect("as above");
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&disk).stdin(Stdio::null());
    let status = mke2fs.status().expect("tests/setup installs mke2fs");
    assert!(status.success(), "{mke2fs:?}: {status}");
    disk
}
