//! The kernel's modules on a disk, for an image's own init: it may load some before anything of the host's is mounted, and a
//! program that has a file of a share open keeps QEMU from taking a snapshot.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::rootfs::on_the_wire;
use crate::error::{Error, Result};
use crate::event::Events;
use crate::guest::protocol::DiskMount;
use crate::image::DiskFormat;
use crate::image::ext4::{self, BLOCK};
use crate::store::{Entry, Key, Store};
use crate::vm::qemu::device::{Device, Writes};
use crate::vm::spec::VmSpec;
use crate::vm::transport::share::bytes;

/// The kind of the store's entries, and the disk's name.
const KIND: &str = "modules";
/// Part of each entry's key: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";
/// How many there are: each takes some hundred megabytes.
const LIMIT: usize = 4;

/// What the file system has room for beside the modules, in bytes: its tables, and what a guest adds.
const ROOM: u64 = 32 << 20;

/// The modules of a kernel on a disk: an entry of the store.
#[derive(Debug)]
pub(crate) struct ModulesDisk {
    entry: Entry,
    /// Where the guest has them.
    target: PathBuf,
}

impl ModulesDisk {
    /// That of the VM's kernel, where the VM is to have one.
    ///
    /// # Errors
    /// There is no `mke2fs`; the modules cannot be read, or the store cannot be written.
    pub(crate) fn prepare(spec: &VmSpec, store: &Store, events: &Events) -> Result<Option<Self>> {
        let Some(tree) = spec.modules_on_disk() else { return Ok(None) };
        let key = Key::of([LAYOUT, &spec.kernel.key]);
        let subject = format!("kernel `{}`", spec.kernel.name);
        let waiting = || events.step(&subject, "waiting for another process that makes a disk of its modules");
        let entry = store.populate(KIND, &key, &waiting, |staging| {
            events.step(&subject, "making a disk of its modules");
            make(tree, &file_in(&staging.entry()))
        })?;
        store.prune(KIND, LIMIT)?;
        Ok(Some(Self { entry, target: spec.kernel.modules_in_guest() }))
    }

    pub(crate) fn device(&self) -> Device {
        let path = file_in(self.entry.path());
        Device::Disk { name: KIND, path, format: DiskFormat::Raw, writes: Writes::Lost }
    }

    pub(crate) fn mount(&self) -> DiskMount {
        DiskMount { disk: on_the_wire(KIND), target: bytes(&self.target) }
    }
}

fn file_in(entry: &Path) -> PathBuf {
    entry.join("disk")
}

/// Makes the file `disk` of what is in `tree`.
fn make(tree: &Path, disk: &Path) -> Result<()> {
    ext4::make(disk, (size_of(tree)? + ROOM) * 11 / 10, Some(tree))
}

/// What the files below `dir` take, in whole blocks.
fn size_of(dir: &Path) -> Result<u64> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    entries.map_err(|error| Error::path("read", dir, error))?.iter().try_fold(BLOCK, |sum, entry| {
        let metadata = entry.metadata().map_err(|error| Error::path("read", &entry.path(), error))?;
        let size = if metadata.is_dir() { size_of(&entry.path())? } else { metadata.size().next_multiple_of(BLOCK) };
        Ok(sum + size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::root::rootfs::RootFs;
    use crate::{Config, Kernel};

    #[test]
    fn only_an_init_of_an_image_gets_one_and_it_holds_the_modules() {
        let dir = tempfile::tempdir().unwrap();
        let (store, tree) = (Store::open(dir.path()).unwrap(), dir.path().join("tree"));
        fs::create_dir_all(tree.join("kernel/fs")).unwrap();
        fs::write(tree.join("modules.dep"), "kernel/fs/a.ko:\n").unwrap();
        fs::write(tree.join("kernel/fs/a.ko"), vec![1; 3 << 20]).unwrap();
        let kernel = Kernel { modules: Some(tree), ..Kernel::example() };
        let spec = VmSpec::new(kernel, &Config::default());
        let events = Events::silent();
        let image = || spec.clone().root(RootFs::Disk { path: "/d".into(), format: DiskFormat::Raw });
        assert!(ModulesDisk::prepare(&spec.clone().systemd(), &store, &events).unwrap().is_none());
        assert!(ModulesDisk::prepare(&image(), &store, &events).unwrap().is_none());
        let disk = ModulesDisk::prepare(&image().systemd(), &store, &events).unwrap().unwrap();
        let file = file_in(disk.entry.path());
        let shown = std::process::Command::new(crate::process::find("debugfs").unwrap())
            .args(["-R", "cat kernel/fs/a.ko"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(shown.stdout, vec![1; 3 << 20]);
    }
}
