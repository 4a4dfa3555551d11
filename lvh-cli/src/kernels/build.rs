//! `lvh kernels build`.

use lvh_core::config::KernelsFile;

use super::arguments::{Named, Target};
use super::work;
use crate::terminal;

/// Build a kernel; it is fetched and configured where that has not been done.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels build --dir _data 6.6\n  lvh kernels build --dir _data --arch arm64 6.6",
    override_usage = "lvh kernels build [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    kernel: Named,
    #[command(flatten)]
    target: Target,
}

/// Builds it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let (dir, name) = args.kernel.get()?;
    let file = KernelsFile::load(&dir)?;
    let kernel = file.kernel(&name)?;
    work::build(&dir, &file, kernel, args.target.get()?, &terminal::events())?;
    Ok(())
}
