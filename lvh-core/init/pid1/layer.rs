//! Directories in guest memory that the host mirrors.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::guest::protocol::Owner;
use crate::pid1::mounts;
use crate::sys::{self, MS_BIND};

/// What an overlay over a mirrored directory is to be: every change is a file of its own in the upper layer (no references
/// into the lower one), and inode numbers are those of one file system.
const SELF_CONTAINED: &str = ",redirect_dir=off,index=off,metacopy=off,xino=on";

/// Where what commands write to a mirrored directory is.
pub struct Layer {
    /// The directory itself: a command may mount something where it stands.
    top: File,
    /// It is the upper layer of an overlay.
    pub layered: bool,
}

impl Layer {
    fn at(top: &Path, layered: bool) -> io::Result<Self> {
        Ok(Self { top: File::open(top)?, layered })
    }

    /// A path that leads there.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.top.as_raw_fd()))
    }
}

/// Those of a guest, by where commands see the directories.
#[derive(Default)]
pub struct Layers(HashMap<PathBuf, Layer>);

impl Layers {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn into_map(self) -> HashMap<PathBuf, Layer> {
        self.0
    }

    /// Makes `target` a file system in guest memory, unless it `is_one`. As on a disk of the host's, devices and programs
    /// that run as their owner are what they are.
    pub fn add_memory(&mut self, target: &Path, owner: Owner, is_one: bool) -> io::Result<()> {
        if !is_one {
            mounts::make_dir(target)?;
            let Owner { uid, gid, mode } = owner;
            let data = format!("mode={mode:o},uid={uid},gid={gid}");
            sys::mount_at(Path::new("tmpfs"), target, "tmpfs", 0, &data)?;
        }
        self.0.insert(target.to_owned(), Layer::at(target, false)?);
        Ok(())
    }

    /// Makes `target` guest memory through which `lower` is seen; its layers are below `stage`.
    pub fn add_overlay(&mut self, target: &Path, lower: &Path, stage: &Path) -> io::Result<()> {
        // By names that need no escape among the options.
        let (below, upper) = (stage.join("lower"), stage.join("upper"));
        [target, &below, &upper].into_iter().try_for_each(mounts::make_dir)?;
        sys::mount_at(lower, &below, "", MS_BIND, "")?;
        overlay(&below, &upper, target, SELF_CONTAINED)?;
        // What is merged shows the upper one's.
        let (metadata, top) = (fs::metadata(&below)?, upper.join("upper"));
        chown(&top, Some(metadata.uid()), Some(metadata.gid()))?;
        fs::set_permissions(&top, Permissions::from_mode(metadata.mode() & 0o7777))?;
        self.0.insert(target.to_owned(), Layer::at(&top, true)?);
        Ok(())
    }
}

/// Mounts an overlay over `lower`, whose other layer is in guest memory at `upper`.
pub fn overlay(lower: &Path, upper: &Path, target: &Path, options: &str) -> io::Result<()> {
    sys::mount_at(Path::new("tmpfs"), upper, "tmpfs", 0, "mode=755")?;
    ["upper", "work"].iter().try_for_each(|dir| fs::create_dir(upper.join(dir)))?;
    let (lower, upper) = (lower.display(), upper.display());
    let data = format!("lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work{options}");
    sys::mount_at(Path::new("overlay"), target, "overlay", 0, &data)
}
