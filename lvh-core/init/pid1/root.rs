//! Building the root file system that commands see.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::guest::protocol::{FileMount, FileSource, Root, Setup, Share};
use crate::guest::wire::Bytes;
use crate::pid1::kit;
use crate::pid1::layer::{self, Layers};
use crate::pid1::modules::once_there;
use crate::pid1::mounts::{self, context};
use crate::pid1::network;
use crate::sys::{self, MS_BIND, MS_MOVE, MS_RDONLY};

/// Where the new root is mounted before it is entered.
pub const ROOT: &str = "/lvh/root";
/// Where the layers of the root's overlay are.
const LAYERS: &str = "/lvh";
/// Where what is to be mounted stands meanwhile; in a tmpfs of the new root, and gone before commands run.
const STAGE: &str = "/run/lvh";
/// Where the initramfs stands on the stage; no share's tag.
const INITRAMFS: &str = "initramfs";
/// Where shares stand as they are served, among layers and on the stage.
const LOWER: &str = "lower";

/// Builds the rootfs and enters it; what optional parts could not be had, a line each, and the directories that the host
/// mirrors.
pub fn build(setup: &Setup) -> io::Result<(Vec<String>, Layers)> {
    // Errors here are news, not the end: a test may not care about the host's name.
    let mut warnings = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            warnings.push(format!("{what}: {error}"));
        }
    };
    note("host name not set", sys::set_hostname(&setup.hostname));
    note("random numbers not seeded", sys::seed(&setup.seed.0));
    note("loopback is down", sys::loopback_up());

    warnings.extend(enter_root(setup)?);
    // In the new root, so that symbolic links on the way lead where they lead for commands.
    for share in setup.shares.iter().filter(|share| !is_root(share, &setup.root)) {
        mount_share(share, Path::new(STAGE), &Path::new(STAGE).join(&share.tag))?;
    }
    let mut layers = Layers::new();
    for mount in &setup.mounts {
        attach(mount, &setup.root, &mut layers).map_err(|error| context(error, as_path(&mount.target)))?;
    }
    if setup.network {
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("failed to set up the network: {error}"));
        network::bring_up().map_err(failed)?;
    }
    if let Some(kit) = &setup.kit {
        kit::unpack(kit, source_of(&kit.source)).map_err(|error| context(error, Path::new("programs of the host")))?;
    }
    sys::detach(Path::new(STAGE));
    Ok((warnings, layers))
}

/// Mounts the root with all that every guest has, and enters it.
fn enter_root(setup: &Setup) -> io::Result<Vec<String>> {
    match &setup.root {
        Root::Initramfs {} => {
            let warnings = mounts::fixed(Path::new("/"), true)?;
            make_stage(Path::new("/"))?;
            return Ok(warnings);
        }
        Root::Disk { serial, fstype } => mount_disk(serial, fstype)?,
        Root::Share { tag } => {
            let share = setup.shares.iter().find(|share| share.tag == *tag);
            let share = share
                .ok_or_else(|| io::Error::other(format!("the root is to be the share {tag}, which there is not")))?;
            mount_share(share, Path::new(LAYERS), Path::new(ROOT))?;
        }
    }
    let warnings = mounts::fixed(Path::new(ROOT), false)?;
    let stage = make_stage(Path::new(ROOT))?;
    // As it is without the fixed mounts, to show parts of it where those hide them; and as it is without its overlay.
    if let Root::Share { tag } = &setup.root {
        show_on_stage(&stage, tag, Path::new(ROOT))?;
        show_on_stage(&stage, &format!("{LOWER}/{tag}"), &Path::new(LAYERS).join(LOWER).join(tag))?;
    }
    let sources = setup.mounts.iter().map(|mount| &mount.source).chain(setup.kit.iter().map(|kit| &kit.source));
    if sources.into_iter().any(|source| matches!(source, FileSource::Initramfs { .. })) {
        show_on_stage(&stage, INITRAMFS, Path::new("/"))?;
    }
    enter(Path::new(ROOT))?;
    Ok(warnings)
}

fn is_root(share: &Share, root: &Root) -> bool {
    matches!(root, Root::Share { tag } if *tag == share.tag)
}

/// Makes the stage below `root`: a mount of its own, so that it can be detached with all that stands below it.
fn make_stage(root: &Path) -> io::Result<PathBuf> {
    let stage = root.join(&STAGE[1..]);
    mounts::make_dir(&stage)?;
    sys::mount_at(Path::new("tmpfs"), &stage, "tmpfs", 0, "mode=700")?;
    Ok(stage)
}

fn show_on_stage(stage: &Path, name: &str, source: &Path) -> io::Result<()> {
    let target = stage.join(name);
    fs::create_dir_all(&target)?;
    sys::mount_at(source, &target, "", MS_BIND, "")
}

/// Mounts the file system on the disk with this serial number.
fn mount_disk(serial: &str, fstype: &str) -> io::Result<()> {
    let device = once_there(|| find_disk(serial))?;
    fs::create_dir_all(ROOT)?;
    sys::mount_at(&device, Path::new(ROOT), fstype, 0, "")
        .map_err(|error| context(error, Path::new(&format!("{fstype} disk {serial}"))))
}

/// The block device whose driver tells this serial number: virtio-blk's does.
fn find_disk(serial: &str) -> io::Result<PathBuf> {
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("serial")).is_ok_and(|found| found.trim_end() == serial) {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no disk `{serial}`")))
}

/// Mounts a share, with a file system in guest memory over it, whose layers are below `layers`.
fn mount_share(share: &Share, layers: &Path, target: &Path) -> io::Result<()> {
    let (lower, upper) = (layers.join(LOWER).join(&share.tag), layers.join("upper").join(&share.tag));
    [target, &lower, &upper].into_iter().try_for_each(mounts::make_dir)?;
    mount_served(share, &lower)?;
    layer::overlay(&lower, &upper, target, "")
        .map_err(|error| context(error, Path::new(&format!("overlay on share {}", share.tag))))
}

/// Mounts what QEMU or the host's process serves, as it is: with the programs that run as their owner.
fn mount_served(share: &Share, target: &Path) -> io::Result<()> {
    let Share { tag, fstype } = share;
    // Without caching, starting a program over 9p takes seconds.
    let data = if fstype == "9p" { "trans=virtio,version=9p2000.L,msize=512000,cache=loose" } else { "" };
    sys::mount_at(Path::new(tag), target, fstype, MS_RDONLY, data)
        .map_err(|error| context(error, Path::new(&format!("{fstype} share {tag}"))))
}

/// Where on the stage a file or directory is; those that the host mirrors are on none.
fn source_of(source: &FileSource) -> PathBuf {
    match source {
        FileSource::Share { tag, path } | FileSource::Overlay { tag, path } => below(tag, path),
        FileSource::Initramfs { path } => below(INITRAMFS, path),
        FileSource::Memory { .. } | FileSource::Link { .. } => PathBuf::new(),
    }
}

/// Puts one mount of the host's list in place.
fn attach(mount: &FileMount, root: &Root, layers: &mut Layers) -> io::Result<()> {
    let target = as_path(&mount.target);
    let source = match &mount.source {
        source @ (FileSource::Share { .. } | FileSource::Initramfs { .. }) => source_of(source),
        FileSource::Memory { owner } => {
            let holds_files =
                *root == Root::Initramfs {} && fs::read_dir(target).is_ok_and(|mut dir| dir.next().is_some());
            return layers.add_memory(target, *owner, holds_files);
        }
        FileSource::Overlay { tag, path } => {
            let stage = Path::new(STAGE).join("mirrors").join(layers.len().to_string());
            return layers.add_overlay(target, &below(&format!("{LOWER}/{tag}"), path), &stage);
        }
        FileSource::Link { path } => return link_to(as_path(path), target),
    };
    let is_at_home = matches!(&mount.source, FileSource::Share { path, .. } if *path == mount.target);
    // A mount in the place of a link would show what is below, but not the mounts there.
    if is_at_home && source.is_symlink() { link_to(&fs::read_link(source)?, target) } else { bind(&source, target) }
}

/// Makes a symbolic link at `target`, unless something is there.
fn link_to(path: &Path, target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), mounts::make_dir)?;
    match symlink(path, target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    if source.is_dir() {
        mounts::make_dir(target)?;
    } else {
        make_file(target)?;
    }
    sys::mount_at(source, target, "", MS_BIND, "")
}

/// Makes an empty file to mount on, and the directories above it; one that exists is let be.
fn make_file(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), mounts::make_dir)?;
    fs::File::create(path).map(drop)
}

/// A `path` of what is on the stage.
fn below(name: &str, path: &Bytes) -> PathBuf {
    let path = as_path(path);
    Path::new(STAGE).join(name).join(path.strip_prefix("/").unwrap_or(path))
}

pub fn as_path(bytes: &Bytes) -> &Path {
    Path::new(OsStr::from_bytes(&bytes.0))
}

/// Makes `root` the root: an initramfs cannot be pivoted away, so the new root is moved over it.
pub fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    sys::mount_at(root, Path::new("/"), "", MS_MOVE, "")?;
    sys::chroot_to(Path::new("."))?;
    std::env::set_current_dir("/")
}
