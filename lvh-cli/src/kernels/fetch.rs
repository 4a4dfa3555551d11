//! `lvh kernels fetch`.

use lvh_core::config::KernelsFile;

use super::arguments::Named;
use super::work;
use crate::terminal;

/// Fetch a kernel's source, or what is new of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels fetch --dir _data 6.6",
    override_usage = "lvh kernels fetch [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    kernel: Named,
}

/// Fetches it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let (dir, name) = args.kernel.get()?;
    let file = KernelsFile::load(&dir)?;
    let kernel = file.kernel(&name)?;
    work::fetch(&dir, kernel, &terminal::events())?;
    Ok(())
}
