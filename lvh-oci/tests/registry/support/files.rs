use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Bytes that no compression makes fewer, the same for the same seed.
pub(crate) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    seed |= 1;
    while bytes.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A fresh kernel as `make tar-pkg` leaves it, with an image of `size` bytes.
pub(crate) fn kernel(dir: &Path, release: &str, size: usize) {
    let _ = fs::remove_dir_all(dir);
    write(&dir.join(format!("boot/vmlinuz-{release}")), &noise(size, size as u64));
    write(&dir.join(format!("boot/config-{release}")), b"CONFIG_BPF=y\n");
    write(&dir.join(format!("boot/btf-{release}")), b"\x9f\xeb\x01\0");
    let modules = dir.join("lib/modules").join(release);
    write(&modules.join("modules.dep"), b"kernel/a.ko:\n");
    write(&modules.join("kernel/a.ko"), b"\x7fELF");
    write(&modules.join("tool"), b"#!/bin/sh\n");
    fs::set_permissions(modules.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a.ko", modules.join("kernel/b.ko")).unwrap();
    symlink("/usr/src/linux", modules.join("build")).unwrap();
}

/// What is in a directory: each file's mode and bytes, each link's target.
pub(crate) fn read_tree(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut tree = BTreeMap::new();
    walk(dir, Path::new(""), &mut tree);
    tree
}

fn walk(root: &Path, below: &Path, tree: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(root.join(below)).unwrap().map(Result::unwrap) {
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            walk(root, &path, tree);
        } else if metadata.is_symlink() {
            tree.insert(path, (0, fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes()));
        } else {
            tree.insert(path, (metadata.permissions().mode() & 0o7777, fs::read(entry.path()).unwrap()));
        }
    }
}

/// The names in a directory; none where there is no such directory.
pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(Result::unwrap);
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
