//! Building the root file system that commands see.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::guest::protocol::{Mount, MountSource, Root, Setup};
use crate::guest::wire::Bytes;
use crate::pid1::mounts::{self, context};
use crate::sys::{self, MS_BIND, MS_MOVE, MS_NODEV, MS_NOSUID, MS_RDONLY};

/// Where the shared host root is mounted.
const HOST: &str = "/lvh/host";
/// Where what is to be mounted stands meanwhile; in a tmpfs of the new root, and gone before commands run.
const STAGE: &str = "/run/lvh";
/// Upper and work directory of the overlay, in guest memory.
const UPPER: &str = "/lvh/upper";
/// The new root.
const ROOT: &str = "/lvh/root";

/// Builds the world and enters it; what optional parts could not be had, a line each.
pub fn build(setup: &Setup) -> io::Result<Vec<String>> {
    // Errors here are news, not the end: a test may not care about the clock.
    let mut warnings = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            warnings.push(format!("{what}: {error}"));
        }
    };
    note("host name not set", sys::set_hostname(&setup.hostname));
    note("clock not set", sys::set_clock(setup.clock_ns));
    note("random numbers not seeded", sys::seed(&setup.seed.0));
    note("loopback is down", sys::loopback_up());

    if let Root::Shared { tag, fstype } = &setup.root {
        overlay_root(tag, fstype)?;
        warnings.extend(mounts::fixed(Path::new(ROOT), false)?);
        stage_root()?;
        enter(Path::new(ROOT))?;
    } else {
        warnings.extend(mounts::fixed(Path::new("/"), true)?);
    }
    // In the new root, so that symbolic links on the way lead where they lead for commands.
    setup.mounts.iter().try_for_each(attach)?;
    sys::detach(Path::new(STAGE));
    Ok(warnings)
}

/// Puts the new root on the stage as it is without the fixed mounts, to show parts of it where those hide them.
fn stage_root() -> io::Result<()> {
    let stage = Path::new(ROOT).join(&STAGE[1..]);
    mounts::make_dir(&stage)?;
    // A mount of its own, so that it can be detached with all that stands below it.
    sys::mount_at(Path::new("tmpfs"), &stage, "tmpfs", 0, "mode=700")?;
    let root = stage.join("root");
    fs::create_dir(&root)?;
    sys::mount_at(Path::new(ROOT), &root, "", MS_BIND, "")
}

/// Mounts the host's root read-only, and a file system in guest memory over it.
fn overlay_root(tag: &str, fstype: &str) -> io::Result<()> {
    [HOST, UPPER, ROOT].iter().try_for_each(fs::create_dir_all)?;
    mount_share(tag, fstype, Path::new(HOST), MS_RDONLY)?;
    sys::mount_at(Path::new("tmpfs"), Path::new(UPPER), "tmpfs", 0, "mode=755")?;
    for dir in ["upper", "work"] {
        fs::create_dir(Path::new(UPPER).join(dir))?;
    }
    let data = format!("lowerdir={HOST},upperdir={UPPER}/upper,workdir={UPPER}/work");
    sys::mount_at(Path::new("overlay"), Path::new(ROOT), "overlay", 0, &data)
        .map_err(|error| context(error, Path::new("overlay on /")))
}

/// Mounts a share that QEMU or the host's process serves.
fn mount_share(tag: &str, fstype: &str, target: &Path, flags: std::ffi::c_ulong) -> io::Result<()> {
    mounts::make_dir(target)?;
    // Without caching, starting a program over 9p takes seconds; the writable shares must see the host's changes.
    let data = match (fstype, flags & MS_RDONLY != 0) {
        ("9p", true) => "trans=virtio,version=9p2000.L,msize=512000,cache=loose",
        ("9p", false) => "trans=virtio,version=9p2000.L,msize=512000,cache=mmap",
        _ => "",
    };
    sys::mount_at(Path::new(tag), target, fstype, flags | MS_NODEV | MS_NOSUID, data)
        .map_err(|error| context(error, Path::new(&format!("{fstype} share {tag}"))))
}

/// Puts one mount of the host's list in place.
fn attach(mount: &Mount) -> io::Result<()> {
    let target = as_path(&mount.target);
    let result = match &mount.source {
        MountSource::Root { path } if *path == mount.target && below("root", path).is_symlink() => {
            link(&below("root", path), target)
        }
        MountSource::Root { path } => bind(&below("root", path), target),
        MountSource::Writable { tag, fstype, dir } => attach_writable(tag, fstype, dir, target),
    };
    result.map_err(|error| context(error, target))
}

/// Copies a symbolic link: a mount in its place would show what is below, but not the mounts there.
fn link(source: &Path, target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), mounts::make_dir)?;
    match symlink(fs::read_link(source)?, target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    if source.is_dir() {
        mounts::make_dir(target)?;
    } else {
        make_file(target)?;
    }
    sys::mount_at(source, target, "", MS_BIND, "")
}

/// One tag may carry several directories: it is mounted once, each directory is bound.
fn attach_writable(tag: &str, fstype: &str, dir: &Bytes, target: &Path) -> io::Result<()> {
    mounts::make_dir(target)?;
    if dir.0.is_empty() {
        return mount_share(tag, fstype, target, 0);
    }
    let share = Path::new(STAGE).join(tag);
    if !share.is_dir() {
        mount_share(tag, fstype, &share, 0)?;
    }
    bind(&below(tag, dir), target)
}

/// Makes an empty file to mount on, and the directories above it; one that exists is let be.
fn make_file(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), mounts::make_dir)?;
    fs::File::create(path).map(drop)
}

/// The absolute `path` of a share on the stage.
fn below(share: &str, path: &Bytes) -> PathBuf {
    let path = as_path(path);
    Path::new(STAGE).join(share).join(path.strip_prefix("/").unwrap_or(path))
}

fn as_path(bytes: &Bytes) -> &Path {
    Path::new(OsStr::from_bytes(&bytes.0))
}

/// Makes `root` the root: an initramfs cannot be pivoted away, so the new root is moved over it.
fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    sys::mount_at(root, Path::new("/"), "", MS_MOVE, "")?;
    sys::chroot_to(Path::new("."))?;
    std::env::set_current_dir("/")
}
