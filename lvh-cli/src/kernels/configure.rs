//! `lvh kernels configure` and `raw_configure`.

use std::path::PathBuf;

use lvh_core::Result;
use lvh_core::config::{KernelEntry, KernelsFile};
use lvh_core::kernel::build::BuildSpec;

use super::arguments::{Dir, Named, Target, expect_count};
use super::work;
use crate::terminal;

/// How a kernel is configured.
#[derive(Debug, clap::Args)]
struct How {
    #[command(flatten)]
    target: Target,
    /// An option that the kernel does not have as it was asked for is an error
    #[arg(long)]
    strict: bool,
}

impl How {
    fn spec(self, file: &KernelsFile, kernel: &KernelEntry) -> Result<BuildSpec> {
        Ok(BuildSpec { strict: self.strict, ..file.build_spec(kernel, self.target.get()?)? })
    }
}

/// Configure a kernel with its options; its source is fetched where it is not there.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels configure --dir _data --arch arm64 6.6\n  lvh kernels configure --dir _data --strict 6.6",
    override_usage = "lvh kernels configure [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    kernel: Named,
    #[command(flatten)]
    how: How,
}

const RAW_EXAMPLES: &str = "\
Examples:
  lvh kernels raw_configure --dir /data --arch amd64 . rhel8      with the options of all kernels, and of rhel8
  lvh kernels raw_configure --dir /data ../linux                  with the options of all kernels";

/// Configure a tree that was made by other means, and has a .config.
#[derive(Debug, clap::Args)]
#[command(
    after_help = RAW_EXAMPLES,
    override_usage = "lvh kernels raw_configure [OPTIONS] --dir <DIR> <TREE> [KERNEL]"
)]
pub(crate) struct RawArgs {
    /// The tree, and the kernel of `kernels.json` whose options it gets
    #[arg(value_names = ["TREE", "KERNEL"])]
    words: Vec<String>,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    how: How,
}

/// Configures the kernel.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let (dir, name) = args.kernel.get()?;
    let file = KernelsFile::load(&dir)?;
    let kernel = file.kernel(&name)?;
    let spec = args.how.spec(&file, kernel)?;
    work::configure(&dir, kernel, &spec, &terminal::events())?;
    Ok(())
}

/// Configures the tree; without a name there are the options of all kernels alone.
pub(super) fn run_raw(args: RawArgs) -> anyhow::Result<()> {
    expect_count(&args.words, 1..=2)?;
    let file = KernelsFile::load(&args.dir.get()?)?;
    let none = KernelEntry::default();
    let kernel = args.words.get(1).map_or(Ok(&none), |name| file.kernel(name))?;
    let spec = args.how.spec(&file, kernel)?;
    work::raw_configure(&PathBuf::from(&args.words[0]), &spec, &terminal::events())?;
    Ok(())
}
