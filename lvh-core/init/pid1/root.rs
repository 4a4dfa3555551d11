//! Building the root file system that commands see.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::guest::protocol::{
    Disk, Failure, FileMount, FileSource, KIT_LIBRARIES, KIT_NEEDS, Kit, Part, Preparation, Root, Setup, Share,
};
use crate::guest::wire::Bytes;
use crate::pid1::handover;
use crate::pid1::layer::{self, Layers};
use crate::pid1::libraries::Library;
use crate::pid1::modules::once_there;
use crate::pid1::mounts::{self, context};
use crate::pid1::network;
use crate::pid1::old_kernel;
use crate::pid1::rest;
use crate::pid1::systemd;
use crate::sys::{self, MS_BIND, MS_MOVE, MS_RDONLY};

/// Where the new root is mounted before it is entered.
pub const ROOT: &str = "/lvh/root";
/// Where what is to be mounted stands: on the initramfs, which commands see only where it is their root.
const STAGE: &str = "/lvh/stage";
/// Where the initramfs stands on the stage; no share's tag.
const INITRAMFS: &str = "initramfs";
/// Where shares stand on the stage as they are served.
const LOWER: &str = "lower";

/// The stage, wherever the root is.
struct Stage {
    dir: File,
}

/// A guest that has all but what is the host's: a snapshot may hold it.
pub struct Prepared {
    preparation: Preparation,
    stage: Stage,
    /// What optional parts could not be had, a line each.
    warnings: Vec<String>,
}

impl Prepared {
    /// Does what needs no word of the host: with a root of its own, up to its first process.
    pub fn make(preparation: Preparation) -> Result<Self, Failure> {
        let warnings = fixed(&preparation.hostname).map_err(of_rootfs)?;
        let mut prepared = Self { preparation, stage: Stage::open().map_err(of_rootfs)?, warnings };
        if !matches!(prepared.preparation.root, Root::Share { .. }) {
            prepared.enter(&[])?;
            prepared.warnings.extend(old_kernel::complaints(prepared.preparation.systemd_within > 0));
        }
        Ok(prepared)
    }

    /// Builds the rootfs and enters it; what optional parts could not be had, a line each, and the directories that the host
    /// mirrors.
    pub fn build(mut self, setup: &Setup) -> Result<(Vec<String>, Layers), Failure> {
        if let Err(error) = sys::seed(&setup.seed.0) {
            self.warnings.push(format!("random numbers not seeded: {error}"));
        }
        if matches!(self.preparation.root, Root::Share { .. }) {
            self.enter(&setup.shares)?;
        }
        if !self.preparation.init.is_empty() {
            // Services look at each new mount, and would do so before the next is made.
            sys::run_first();
        }
        let layers = self.attach_all(setup).map_err(of_rootfs)?;
        Ok((self.warnings, layers))
    }

    /// Enters the root, and makes its first process what it is to be.
    fn enter(&self, shares: &[Share]) -> Result<(), Failure> {
        let Preparation { root, disks, network, init, systemd_within, rests, .. } = &self.preparation;
        enter_root(root, shares).map_err(of_rootfs)?;
        for mount in disks {
            mount_disk(&mount.disk, as_path(&mount.target)).map_err(of_rootfs)?;
        }
        if *network {
            let failed =
                |error: io::Error| io::Error::new(error.kind(), format!("failed to set up the network: {error}"));
            network::bring_up().map_err(failed).map_err(of_rootfs)?;
        }
        handover::hand_over(init).map_err(of_rootfs)?;
        if *systemd_within > 0 {
            systemd::wait_until_up(Duration::from_millis(*systemd_within))?;
        }
        if *rests && !init.is_empty() {
            rest::wait();
            // Else the kernel would write after each resume.
            sys::sync();
        }
        Ok(())
    }

    /// Puts what is the host's in its places.
    fn attach_all(&self, setup: &Setup) -> io::Result<Layers> {
        let (root, stage) = (&self.preparation.root, &self.stage);
        // In the new root, so that symbolic links on the way lead where they lead for commands.
        for share in setup.shares.iter().filter(|share| !is_root(share, root)) {
            mount_share(share, &stage.path(), &stage.path().join(&share.tag))?;
        }
        let mut layers = Layers::new();
        for mount in &setup.mounts {
            stage.attach(mount, root, &mut layers).map_err(|error| context(error, as_path(&mount.target)))?;
        }
        if let Some(kit) = &setup.kit {
            unpack(kit, stage.source_of(&kit.source))
                .map_err(|error| context(error, Path::new("programs of the host")))?;
        }
        Ok(layers)
    }
}

/// That the rootfs is not there.
pub fn of_rootfs(error: io::Error) -> Failure {
    Failure { part: Part::Rootfs {}, message: error.to_string(), output: String::new() }
}

/// Does what every guest has done; what of it could not be, a line each.
fn fixed(hostname: &str) -> io::Result<Vec<String>> {
    let mut warnings = mounts::fixed()?;
    // Errors here are news, not the end: a test may not care about the host's name.
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            warnings.push(format!("{what}: {error}"));
        }
    };
    note("loopback is down", sys::loopback_up());
    note("host name not set", sys::set_hostname(hostname));
    Ok(warnings)
}

/// Mounts the root with all that every guest has, and enters it.
fn enter_root(root: &Root, shares: &[Share]) -> io::Result<()> {
    let stage = Path::new(STAGE);
    match root {
        Root::Initramfs {} => return Ok(()),
        Root::Disk { disk } => {
            mount_disk(disk, Path::new(ROOT))?;
            show(Path::new("/"), &stage.join(INITRAMFS))?;
        }
        Root::Share { tag } => {
            let share = shares.iter().find(|share| share.tag == *tag);
            let share = share
                .ok_or_else(|| io::Error::other(format!("the root is to be the share {tag}, which there is not")))?;
            mount_share(share, stage, Path::new(ROOT))?;
            // As it is without the fixed mounts, to show parts of it where those hide them.
            show(Path::new(ROOT), &stage.join(tag))?;
        }
    }
    mounts::move_to(Path::new(ROOT))?;
    enter(Path::new(ROOT))
}

fn is_root(share: &Share, root: &Root) -> bool {
    matches!(root, Root::Share { tag } if *tag == share.tag)
}

/// Shows what is at `source` at `target` too, without what is mounted below it.
fn show(source: &Path, target: &Path) -> io::Result<()> {
    mounts::make_dir(target)?;
    sys::mount_at(source, target, "", MS_BIND, "")
}

/// Mounts the file system on a disk.
fn mount_disk(disk: &Disk, target: &Path) -> io::Result<()> {
    let Disk { serial, fstype } = disk;
    let device = once_there(|| find_disk(serial))?;
    mounts::make_dir(target)?;
    sys::mount_at(&device, target, fstype, 0, "")
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

/// Mounts a share, with a file system in guest memory over it, whose layers are on the `stage`.
fn mount_share(share: &Share, stage: &Path, target: &Path) -> io::Result<()> {
    let (lower, upper) = (stage.join(LOWER).join(&share.tag), stage.join("upper").join(&share.tag));
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

impl Stage {
    fn open() -> io::Result<Self> {
        mounts::make_dir(Path::new(STAGE))?;
        Ok(Self { dir: File::open(STAGE)? })
    }

    /// A path that leads there, from any root.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd()))
    }

    /// Where on the stage a file or directory is; those that the host mirrors are on none.
    fn source_of(&self, source: &FileSource) -> PathBuf {
        match source {
            FileSource::Share { tag, path } | FileSource::Overlay { tag, path } => self.below(tag, path),
            FileSource::Initramfs { path } => self.below(INITRAMFS, path),
            FileSource::Memory { .. } | FileSource::Link { .. } => PathBuf::new(),
        }
    }

    /// Puts one mount of the host's list in place.
    fn attach(&self, mount: &FileMount, root: &Root, layers: &mut Layers) -> io::Result<()> {
        let target = as_path(&mount.target);
        let source = match &mount.source {
            source @ (FileSource::Share { .. } | FileSource::Initramfs { .. }) => self.source_of(source),
            FileSource::Memory { owner } => {
                let holds_files =
                    *root == Root::Initramfs {} && fs::read_dir(target).is_ok_and(|mut dir| dir.next().is_some());
                return layers.add_memory(target, *owner, holds_files);
            }
            FileSource::Overlay { tag, path } => {
                let layer = self.path().join("mirrors").join(layers.len().to_string());
                return layers.add_overlay(target, &self.below(&format!("{LOWER}/{tag}"), path), &layer);
            }
            FileSource::Link { path } => return link_to(as_path(path), target),
        };
        let is_at_home = matches!(&mount.source, FileSource::Share { path, .. } if *path == mount.target);
        // A mount in the place of a link would show what is below, but not the mounts there.
        if is_at_home && source.is_symlink() { link_to(&fs::read_link(source)?, target) } else { bind(&source, target) }
    }

    /// A `path` of what is on the stage.
    fn below(&self, name: &str, path: &Bytes) -> PathBuf {
        let path = as_path(path);
        self.path().join(name).join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// Makes a symbolic link at `target`, unless something is there.
fn link_to(path: &Path, target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), mounts::make_dir)?;
    match symlink(path, target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Lets the copies of the host's programs in the directory `dir` take the places of those, unless the root has all that they need.
fn unpack(kit: &Kit, dir: PathBuf) -> io::Result<()> {
    match fs::read_to_string(dir.join(KIT_NEEDS)) {
        Ok(needs) if needs.lines().all(has) => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    mounts::make_dir(Path::new(KIT_LIBRARIES))?;
    bind(&dir.join("lib"), Path::new(KIT_LIBRARIES))?;
    kit.programs.iter().try_for_each(|(copy, program)| bind(&dir.join(as_path(copy)), as_path(program)))
}

/// Whether the root has what a line names: a loader by its path, or a library with its versions.
fn has(line: &str) -> bool {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return true };
    if name.starts_with('/') {
        return Path::new(name).exists();
    }
    let versions: Vec<&str> = words.collect();
    Library::find(name).is_some_and(|library| versions.is_empty() || library.offers(&versions).unwrap_or(false))
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
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
    File::create(path).map(drop)
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
