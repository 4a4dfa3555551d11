//! `lvh kernels fetch`.

use lvh_core::config::KernelsFile;
use lvh_core::kernel::git::LocalWork;

use super::arguments::Named;
use super::work;
use crate::terminal;

/// Fetch a kernel's source, or what is new of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels fetch --dir _data 6.6\n  lvh kernels fetch --dir _data --discard-local 6.6    also where you committed to its branch",
    override_usage = "lvh kernels fetch [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    kernel: Named,
    /// Throw away commits and changes of yours in its tree where they are in the way
    #[arg(long)]
    discard_local: bool,
}

/// Fetches it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let (dir, name) = args.kernel.get()?;
    let file = KernelsFile::load(&dir)?;
    let kernel = file.kernel(&name)?;
    let local = if args.discard_local { LocalWork::Discard } else { LocalWork::Keep };
    work::fetch(&dir, kernel, local, &terminal::events())?;
    Ok(())
}
