//! The files of the host that appear in the guest at their own paths, whatever its root is.

use std::path::Path;

use super::initramfs::config_of;
use super::kit::Kit;
use super::rootfs::RootFs;
use crate::Moved;
use crate::config::Share;
use crate::guest::mirror::Mirror;
use crate::guest::protocol::{FileMount, FileSource};
use crate::vm::spec::VmSpec;
use crate::vm::transport::share::{HOST, bytes};

/// The mounts, parents before what lies in them; those in which the guest mirrors a directory are among them.
pub(crate) fn file_mounts(spec: &VmSpec, share: Share, kit: Option<&Kit>, mirrors: &[Mirror]) -> Vec<FileMount> {
    let mut mounts = match share {
        Share::Virtiofs | Share::NineP => shared(spec),
        Share::Packed => packed(spec, kit),
    };
    mounts.extend(mirrors.iter().map(|mirror| mirrored(mirror, share)));
    mounts.sort_by_key(|mount| mount.target.0.iter().filter(|&&byte| byte == b'/').count());
    // They may lead through one another, and to the mounts.
    mounts.extend(spec.moved.iter().filter_map(linked));
    mounts
}

fn linked(Moved { from, to }: &Moved) -> Option<FileMount> {
    to.as_ref().map(|to| link(to, from))
}

/// From the share of the host's root.
fn shared(spec: &VmSpec) -> Vec<FileMount> {
    let kernel = &spec.kernel;
    let of_modules = kernel.modules_in_guest();
    let modules = kernel.modules.iter().filter(|_| spec.modules_on_disk().is_none());
    let modules = modules.map(|tree| from_host(tree, &of_modules));
    let config = kernel.config.iter().map(|config| from_host(config, &config_of(kernel)));
    let visible = spec.visible.iter().map(|path| from_host(path, path));
    let replaced = spec.replaced.iter().map(|(original, copy)| from_host(copy, original));
    let headers = spec.headers.iter().flat_map(|headers| &headers.shown).map(|(dir, target)| from_host(dir, target));
    let build = spec.headers.iter().map(|headers| link(&headers.build, &of_modules.join("build")));
    modules.chain(config).chain(visible).chain(replaced).chain(headers).chain(build).collect()
}

fn from_host(path: &Path, target: &Path) -> FileMount {
    FileMount { source: FileSource::Share { tag: HOST.to_owned(), path: bytes(path) }, target: bytes(target) }
}

fn link(to: &Path, at: &Path) -> FileMount {
    FileMount { source: FileSource::Link { path: bytes(to) }, target: bytes(at) }
}

/// The guest's end of a mirrored directory.
fn mirrored(mirror: &Mirror, share: Share) -> FileMount {
    let target = bytes(mirror.directory());
    let source = if mirror.is_shown() && share != Share::Packed {
        FileSource::Overlay { tag: HOST.to_owned(), path: target.clone() }
    } else {
        FileSource::Memory { owner: mirror.owner() }
    };
    FileMount { source, target }
}

/// From the initramfs, where that is not the root itself.
fn packed(spec: &VmSpec, kit: Option<&Kit>) -> Vec<FileMount> {
    if !matches!(spec.root, RootFs::Disk { .. }) {
        return Vec::new();
    }
    let config = spec.kernel.config.iter().map(|_| config_of(&spec.kernel));
    let directories = spec.packed_directories.iter().filter(|path| path.parent().is_some());
    let programs = spec.packed.iter().filter(|program| kit.is_none_or(|kit| !kit.has(program)));
    let paths = programs.chain(directories).cloned().chain(config);
    paths.map(|path| FileMount { source: FileSource::Initramfs { path: bytes(&path) }, target: bytes(&path) }).collect()
}
