//! What drivers a guest's kernel brings, read from its files before it runs.

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Availability, Kernel, KernelConfig, LoadableModule, ModuleTree, Value};

/// A driver that something needs in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Driver {
    /// Module name, as `modprobe` takes it.
    pub module: &'static str,
    /// The kernel option that builds it, without `CONFIG_`.
    pub option: &'static str,
    /// A kernel of which nothing is known is taken to have it.
    pub presumed: bool,
    /// How many modules it is with those that it needs, in Debian's kernels: what the choice goes by.
    pub modules: usize,
}

impl Driver {
    pub(crate) const fn new(module: &'static str, option: &'static str, modules: usize) -> Self {
        Self { module, option, presumed: false, modules }
    }
}

/// Every virtio device is on the PCI bus.
pub(crate) const PCI: Driver = Driver::new("virtio_pci", "VIRTIO_PCI", 5);

/// A kernel's drivers, as far as its configuration and module tree tell.
#[derive(Debug)]
pub(crate) struct Drivers {
    config: Option<KernelConfig>,
    tree: Option<ModuleTree>,
}

impl Drivers {
    /// Reads what is known of `kernel`.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub(crate) fn of(kernel: &Kernel) -> Result<Self> {
        Ok(Self {
            config: kernel.config.as_deref().map(KernelConfig::load).transpose()?,
            tree: kernel.modules.as_deref().map(ModuleTree::open).transpose()?,
        })
    }

    /// Whether the kernel has the driver built in or as a module that we can load.
    ///
    /// # Errors
    /// It has neither, or we cannot tell: why.
    pub(crate) fn find(&self, driver: &Driver) -> std::result::Result<Availability, String> {
        let Driver { module, option, presumed, .. } = driver;
        let value = self.config.as_ref().and_then(|config| config.get(option));
        let availability = self.tree.as_ref().map(|tree| tree.availability(module));
        match (value, availability) {
            (Some(Value::Yes), _) | (_, Some(Availability::BuiltIn)) => Ok(Availability::BuiltIn),
            (_, Some(Availability::Module)) => Ok(Availability::Module),
            (Some(Value::Module), None) => {
                Err(format!("the guest's kernel has {module} as a module, but its modules were not found"))
            }
            (Some(Value::Module), Some(_)) => {
                Err(format!("the guest's kernel has {module} as a module, but the module is not in its tree"))
            }
            (None, None) if self.config.is_none() && *presumed => Ok(Availability::BuiltIn),
            (None, None) if self.config.is_none() => Err(format!(
                "neither config nor modules tell whether the guest's kernel has {module} (CONFIG_{option})"
            )),
            _ => Err(format!("the guest's kernel has no {module} (CONFIG_{option})")),
        }
    }

    /// The first of the user's `modules` that `kernel` has neither built in nor in its tree.
    ///
    /// # Errors
    /// There is one. A kernel without a module tree does not tell what is built in, and is trusted.
    pub(crate) fn check(&self, kernel: &Kernel, modules: &[String]) -> Result<()> {
        let Some(tree) = &self.tree else { return Ok(()) };
        let absent = modules.iter().find(|module| tree.availability(module) == Availability::Absent);
        absent.map_or(Ok(()), |module| {
            let message = format!("kernel `{}` ({}) has no module `{module}`", kernel.name, kernel.release);
            Err(Error::new(ErrorKind::Usage, message)
                .with_hint("`modules` of [vm] in lvh.toml, or of the test, names it"))
        })
    }

    /// The kernel's list of device nodes that bring a module when they are opened; empty where it has none.
    pub(crate) fn static_devices(&self) -> Vec<u8> {
        self.tree.as_ref().map(ModuleTree::static_devices).unwrap_or_default()
    }

    /// The modules to load for `wanted`, in load order; what is built in needs none.
    ///
    /// # Errors
    /// A module that a wanted one needs does not exist, or one cannot be read.
    pub(crate) fn load(&self, wanted: &[&str]) -> Result<Vec<LoadableModule>> {
        self.tree.as_ref().map_or(Ok(Vec::new()), |tree| tree.closure(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with this configuration, and with modules if `tree` has any.
    fn check(config: Option<&str>, tree: Option<&[&str]>, driver: Driver, expected: Option<&str>) {
        let tree = tree.map(|modules| {
            let dir = tempfile::tempdir().unwrap();
            let list: String = modules.iter().map(|module| format!("{module}.ko:\n")).collect();
            std::fs::write(dir.path().join("modules.dep"), list).unwrap();
            ModuleTree::open(dir.path()).unwrap()
        });
        let drivers = Drivers { config: config.map(KernelConfig::parse), tree };
        assert_eq!(drivers.find(&driver).err().as_deref(), expected, "{config:?}");
    }

    #[test]
    fn what_is_lacking_and_why() {
        let fs = Driver { module: "virtiofs", option: "VIRTIO_FS", presumed: false, modules: 2 };
        let serial = Driver { module: "8250", option: "SERIAL_8250", presumed: true, modules: 1 };
        let as_module = Some("CONFIG_VIRTIO_FS=m");
        check(Some("CONFIG_VIRTIO_FS=y"), None, fs, None);
        check(as_module, Some(&["virtiofs"]), fs, None);
        check(None, Some(&["virtiofs"]), fs, None);
        let found = "the guest's kernel has virtiofs as a module, but ";
        check(as_module, None, fs, Some(&format!("{found}its modules were not found")));
        check(as_module, Some(&["9p"]), fs, Some(&format!("{found}the module is not in its tree")));
        let off = Some("the guest's kernel has no virtiofs (CONFIG_VIRTIO_FS)");
        check(Some("CONFIG_X=y"), None, fs, off);
        check(None, Some(&["9p"]), fs, off);
        let unknown = "neither config nor modules tell whether the guest's kernel has virtiofs (CONFIG_VIRTIO_FS)";
        check(None, None, fs, Some(unknown));
        check(None, None, serial, None);
        check(Some("CONFIG_X=y"), None, serial, Some("the guest's kernel has no 8250 (CONFIG_SERIAL_8250)"));
    }
}
