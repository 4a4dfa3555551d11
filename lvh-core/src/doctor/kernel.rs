//! What one kernel is to lvh on this machine.

use super::needs::Known;
use super::{Check, State, can_run};
use crate::config::Share;
use crate::kernel::payload::Payload;
use crate::kernel::{Kernel, KernelConfig, ModuleTree};
use crate::vm::{Candidates, Transport, VmSpec};
use crate::{Error, Result};

/// What one kernel is to lvh on this machine.
#[derive(Debug)]
pub struct KernelReport {
    /// How it boots, and whether its configuration, its modules and those that the user wants were found.
    pub files: Vec<Check>,
    /// The candidates for the transport, with what each lacks.
    pub candidates: Candidates,
    /// What a VM would take, or why there is none.
    pub transport: Result<Transport>,
    /// Options that lvh needs; empty where the configuration is not known.
    pub own: Vec<Check>,
    /// Options that BPF programs need; empty where the configuration is not known.
    pub bpf: Vec<Check>,
}

impl KernelReport {
    /// Looks at the kernel of `spec` as a VM of it would be booted; nothing is started.
    ///
    /// # Errors
    /// A file of the kernel cannot be read.
    pub fn of(spec: &VmSpec) -> Result<Self> {
        let kernel = &spec.kernel;
        let config = kernel.config.as_deref().map(KernelConfig::load).transpose()?;
        let tree = kernel.modules.as_deref().map(ModuleTree::open).transpose()?;
        let candidates = Candidates::of(kernel)?;
        let transport = candidates.choose(spec);
        let known = config.as_ref().map(|config| Known {
            arch: kernel.arch,
            release: &kernel.release,
            config,
            tree: tree.as_ref(),
            loaded: &spec.modules,
            loads_modules: !matches!(&transport, Ok(Transport { share: Share::Packed, .. })),
            kernel_args: &spec.kernel_args,
        });
        Ok(Self {
            files: vec![boot(kernel)?, config_file(kernel), module_tree(kernel, config.as_ref())]
                .into_iter()
                .chain(spec.check_modules().err().map(wanted_module))
                .collect(),
            own: known.as_ref().map_or_else(Vec::new, Known::own),
            bpf: known.as_ref().map_or_else(Vec::new, Known::bpf),
            candidates,
            transport,
        })
    }

    /// Whether nothing that is known speaks against a boot.
    pub fn can_boot(&self) -> bool {
        self.transport.is_ok() && can_run(&self.files) && can_run(&self.own)
    }

    /// Every check of the report.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.files.iter().chain(&self.own).chain(&self.bpf)
    }
}

fn boot(kernel: &Kernel) -> Result<Check> {
    if kernel.vmlinux.is_some() {
        return Ok(Check::ok("boots by", "PVH: the uncompressed kernel"));
    }
    let image = std::fs::read(&kernel.image).map_err(|error| Error::path("read", &kernel.image, error))?;
    let why = match Payload::extract(&image) {
        Payload::Image { .. } => return Ok(Check::ok("boots by", "its image")),
        Payload::Pvh { .. } => "its uncompressed kernel is not in the data directory".to_owned(),
        Payload::Unusable(why) => why,
    };
    let found = format!("the bzImage's own decompressor: {why}");
    let cost = "each boot takes longer: under TCG about half as long again";
    let fix = "build the kernel with CONFIG_PVH=y, compressed by gzip, xz, zstd or lz4".to_owned();
    Ok(Check::lack("boots by", State::Degraded, found, cost, fix))
}

fn config_file(kernel: &Kernel) -> Check {
    match &kernel.config {
        Some(path) => Check::ok("config", path.display().to_string()),
        None => Check::lack(
            "config",
            State::Degraded,
            "not known",
            "lvh cannot tell what the kernel has, and takes a transport that needs little: tests may see few files",
            format!(
                "name the kernel's build tree or installed tree, put its .config beside it as `config-{}`, or build \
                 it with CONFIG_IKCONFIG=y",
                kernel.release
            ),
        ),
    }
}

fn module_tree(kernel: &Kernel, config: Option<&KernelConfig>) -> Check {
    match (&kernel.modules, config) {
        (Some(path), _) => Check::ok("modules", path.display().to_string()),
        (None, Some(config)) if !config.is_on("MODULES") => Check::ok("modules", "none: everything is built in"),
        (None, _) => Check::lack(
            "modules",
            State::Degraded,
            "not found",
            "what the kernel does not have built in cannot be used",
            format!("name the kernel's build tree, or a tree with `lib/modules/{}`", kernel.release),
        ),
    }
}

fn wanted_module(error: Error) -> Check {
    let fix = error.hint().unwrap_or("take it out of `modules`").to_owned();
    Check::lack("wanted modules", State::Missing, error.to_string(), "no VM of this kernel starts", fix)
}
