//! What runs before the disk's own init: it leads a kernel to the disk that has virtio's disks and ext4 as modules, as Debian's have,
//! and brings lvh's agent.

use std::path::PathBuf;

use super::RootDevice;
use crate::guest::initramfs::cpio::Archive;
use crate::guest::initramfs::{Init, base, packed};
use crate::kernel::{Availability, Kernel};
use crate::store::{Key, Store};
use crate::vm::transport::drivers::{Driver, Drivers, PCI};
use crate::{Arch, Error, ErrorKind, Result};

/// The 9p tag under which the guest finds its kernel's modules.
pub(super) const MODULES: &str = "kernel_modules";

/// What else such a guest has devices for: its kernel may lack it, and the rest works without.
const OPTIONAL: [&str; 3] = ["virtio_net", "9pnet_virtio", "9p"];

/// An initial RAM disk that loads what is missing, mounts the root, and on it the shared modules and lvh's agent where there are some.
#[derive(Debug)]
pub struct Initramfs<'a> {
    /// The guest's architecture.
    pub arch: Arch,
    /// The kernel, where more is known of it than its file.
    pub kernel: Option<&'a Kernel>,
    /// How the disk is connected.
    pub device: RootDevice,
    /// The guest can mount its kernel's modules.
    pub shares_modules: bool,
    /// The [service](super::agent_unit) of lvh's agent, which is to be there for systemd.
    pub agent: Option<&'a str>,
}

impl Initramfs<'_> {
    /// Whether the kernel has as a module what leads to the disk.
    ///
    /// # Errors
    /// It does, and the module was not found; its files cannot be read.
    pub fn is_needed(&self) -> Result<bool> {
        let Some(kernel) = self.kernel.filter(|kernel| kernel.config.is_some() || kernel.modules.is_some()) else {
            return Ok(false);
        };
        let drivers = Drivers::of(kernel)?;
        let mut needed = false;
        for driver in self.to_the_disk() {
            let found = drivers.find(&driver).map_err(|why| {
                let message = format!("kernel `{}` ({}) cannot mount the image: {why}", kernel.name, kernel.release);
                Error::new(ErrorKind::Usage, message)
            })?;
            needed |= found == Availability::Module;
        }
        Ok(needed)
    }

    /// Its file, in the store.
    ///
    /// # Errors
    /// lvh was built without a guest of that architecture; a module cannot be read.
    pub fn file(&self, store: &Store) -> Result<PathBuf> {
        let init = Init::of(self.arch)?;
        let mut modules: Vec<&str> = self.to_the_disk().iter().map(|driver| driver.module).collect();
        modules.extend(OPTIONAL);
        let (kernel, order) =
            (self.kernel.map_or("", |kernel| &kernel.key), if self.shares_modules { MODULES } else { "" });
        let key = Key::of([init.digest, kernel, order, self.agent.unwrap_or_default()].iter().chain(&modules));
        let entry = store.populate("run-initramfs", &key, &|| {}, |staging| {
            let drivers = self.kernel.map(Drivers::of).transpose()?;
            let loaded = drivers.map_or(Ok(Vec::new()), |drivers| drivers.load(&modules))?;
            let mut archive = Archive::default();
            archive.file("/lvh/disk", 0o644, order.as_bytes());
            self.agent.iter().for_each(|unit| archive.file("/lvh/agent.service", 0o644, unit.as_bytes()));
            let segments = [base(init, &[], &loaded, &[]), archive.finish(), packed::libraries_of_init(init)?];
            let file = staging.entry().join("initramfs");
            std::fs::write(&file, segments.concat()).map_err(|error| Error::path("write", &file, error))
        })?;
        Ok(entry.path().join("initramfs"))
    }

    /// The drivers without which there is no root, in load order.
    fn to_the_disk(&self) -> Vec<Driver> {
        let ext4 = Driver::new("ext4", "EXT4_FS", 5);
        match (self.device, self.arch) {
            (RootDevice::Hda, Arch::X86_64) => {
                vec![Driver::new("ata_piix", "ATA_PIIX", 4), Driver::new("sd_mod", "BLK_DEV_SD", 3), ext4]
            }
            _ => vec![PCI, Driver::new("virtio_blk", "VIRTIO_BLK", 1), ext4],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel with this configuration and these modules needs.
    fn check(config: Option<&str>, modules: Option<&[&str]>, expected: std::result::Result<bool, &str>) {
        let dir = tempfile::tempdir().unwrap();
        let mut kernel = Kernel::example();
        if let Some(config) = config {
            std::fs::write(dir.path().join("config"), config).unwrap();
            kernel.config = Some(dir.path().join("config"));
        }
        if let Some(modules) = modules {
            let list: String = modules.iter().map(|module| format!("{module}.ko:\n")).collect();
            std::fs::write(dir.path().join("modules.dep"), list).unwrap();
            kernel.modules = Some(dir.path().to_owned());
        }
        let arch = Arch::X86_64;
        let initramfs = |device| Initramfs { arch, kernel: Some(&kernel), device, shares_modules: false, agent: None };
        let found = initramfs(RootDevice::Vda).is_needed();
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why), "{config:?}");
    }

    #[test]
    fn kernels_need_one_where_drivers_are_modules() {
        let built_in = "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_EXT4_FS=y\n";
        let module = "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_BLK=m\nCONFIG_EXT4_FS=y\n";
        check(None, None, Ok(false));
        check(Some(built_in), None, Ok(false));
        check(Some(built_in), Some(&[]), Ok(false));
        check(Some(module), Some(&["virtio_blk"]), Ok(true));
        let why = "kernel `k` (6.1) cannot mount the image: the guest's kernel has virtio_blk as a module, but its modules were \
                   not found";
        check(Some(module), None, Err(why));
        let why = "kernel `k` (6.1) cannot mount the image: the guest's kernel has no ext4 (CONFIG_EXT4_FS)";
        check(Some("CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_BLK=y\n"), None, Err(why));
    }
}
