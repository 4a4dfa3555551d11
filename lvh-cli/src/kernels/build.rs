//! `lvh kernels build`.

use lvh_core::config::KernelsFile;

use super::arguments::{Dir, Target, expect_count};
use super::work;
use crate::terminal;

/// Build a kernel; it is fetched and configured where that has not been done.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels build --dir _data 6.6\n  lvh kernels build --dir _data --arch arm64 6.6",
    override_usage = "lvh kernels build [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    /// Its name
    #[arg(value_name = "KERNEL")]
    words: Vec<String>,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    target: Target,
}

/// Builds it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    expect_count(&args.words, 1..=1)?;
    let dir = args.dir.get()?;
    let file = KernelsFile::load(&dir)?;
    let kernel = file.kernel(&args.words[0])?;
    work::build(&dir, &file, kernel, args.target.get()?, &terminal::events())?;
    Ok(())
}
