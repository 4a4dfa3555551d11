//! What all contenders share: the kernel, the accelerator, where things lie.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lvh_core::kernel::resolve_blocking;
use lvh_core::{Config, Events, Kernel};

use crate::measure;
use crate::recipe::Recipe;
use crate::shim::Shim;
use crate::terminal::say;

/// A benchmark, ready to run.
#[derive(Debug)]
pub(crate) struct Bench {
    /// What lvh calls the kernel.
    pub(crate) name: String,
    /// A kernel of the group `lvh-fast`, as lvh calls it, where the user has one.
    pub(crate) fast: Option<String>,
    /// The files that every other contender boots.
    pub(crate) kernel: Kernel,
    /// Where scratch files and the peers are: `target/bench`.
    pub(crate) dir: PathBuf,
    /// How lvh starts QEMU for this kernel.
    pub(crate) lvh_qemu: Vec<String>,
    /// Whether guests are translated: what lvh found out holds for all.
    pub(crate) tcg: bool,
    pub(crate) shim: Shim,
}

/// This package: the commands run here, for the `lvh.toml` that names the kernels.
pub(crate) const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// What Debian's kernel for VMs is called there.
pub(crate) const CLOUD: &str = "cloud";

impl Bench {
    /// Resolves the kernel, and boots it once with lvh: that fills lvh's caches and shows how it starts QEMU.
    pub(crate) fn prepare(name: &str, fast: Option<String>) -> anyhow::Result<Self> {
        let dir = Path::new(PACKAGE).parent().context("the package is in a workspace")?.join("target/bench");
        fs::create_dir_all(dir.join("log")).with_context(|| format!("failed to make `{}`", dir.display()))?;
        let kernel = resolve(name, false)?;
        let shim = Shim::new(&dir)?;
        say(&format!("booting {} once, unmeasured", kernel.identity));
        let recipe = shim.before(lvh(name, &["uname", "-r"]).expecting(kernel.release.as_str()).cold(), "");
        measure::run(&recipe, &dir.join("log/warm-up")).map_err(|why| anyhow::anyhow!("lvh does not run: {why}"))?;
        let lvh_qemu = shim.recorded()?;
        let tcg = lvh_qemu.iter().any(|word| word.starts_with("tcg"));
        Ok(Self { name: name.to_owned(), fast, kernel, dir, lvh_qemu, tcg, shim })
    }

    /// Where the output of a run goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(name)
    }
}

/// The kernel's files; `offline`: only if the data directory has it.
pub(crate) fn resolve(name: &str, offline: bool) -> lvh_core::Result<Kernel> {
    let mut config = Config::for_process(Path::new(PACKAGE))?;
    config.offline |= offline;
    resolve_blocking(name, &config.kernel(name)?, &config.store()?, &Events::silent())
}

/// `lvh exec`, as `bench/run` has built it: beside this program.
pub(crate) fn lvh(kernel: &str, command: &[&str]) -> Recipe {
    let program = std::env::current_exe().unwrap_or_default().with_file_name("lvh");
    Recipe::new(program, PACKAGE).args(["exec", "-k", kernel, "--"]).args(command.iter().copied())
}
