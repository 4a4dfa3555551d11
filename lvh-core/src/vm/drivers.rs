//! What drivers a guest's kernel brings, read from its files before it runs.

use super::ladder::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Availability, Kernel, KernelConfig, LoadableModule, ModuleTree, Value};

/// A kernel's drivers, as far as its configuration and module tree tell.
#[derive(Debug)]
pub(super) struct Drivers {
    config: Option<KernelConfig>,
    tree: Option<ModuleTree>,
}

impl Drivers {
    /// Reads what is known of `kernel`.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub(super) fn of(kernel: &Kernel) -> Result<Self> {
        Ok(Self {
            config: kernel.config.as_deref().map(KernelConfig::load).transpose()?,
            tree: kernel.modules.as_deref().map(ModuleTree::open).transpose()?,
        })
    }

    /// Whether the kernel has the driver built in or as a module that we can load.
    pub(super) fn has(&self, driver: &Driver) -> bool {
        let built_in = self.config.as_ref().is_some_and(|config| config.get(driver.option) == Some(&Value::Yes));
        built_in || self.tree.as_ref().is_some_and(|tree| tree.availability(driver.module) != Availability::Absent)
    }

    /// The first of the user's `modules` that `kernel` has neither built in nor in its tree.
    ///
    /// # Errors
    /// There is one. A kernel without a module tree does not tell what is built in, and is trusted.
    pub(super) fn check(&self, kernel: &Kernel, modules: &[String]) -> Result<()> {
        let Some(tree) = &self.tree else { return Ok(()) };
        let absent = modules.iter().find(|module| tree.availability(module) == Availability::Absent);
        absent.map_or(Ok(()), |module| {
            let message = format!("kernel `{}` ({}) has no module `{module}`", kernel.name, kernel.release);
            Err(Error::new(ErrorKind::Usage, message)
                .with_hint("`modules` of [vm] in lvh.toml, or of the test, names it"))
        })
    }

    /// The modules to load for `wanted`, in load order; what is built in needs none.
    ///
    /// # Errors
    /// A module that a wanted one needs does not exist, or one cannot be read.
    pub(super) fn load(&self, wanted: &[&str]) -> Result<Vec<LoadableModule>> {
        self.tree.as_ref().map_or(Ok(Vec::new()), |tree| tree.closure(wanted))
    }
}
