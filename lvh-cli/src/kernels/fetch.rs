//! `lvh kernels fetch`.

use lvh_core::config::KernelsFile;

use super::arguments::{Dir, expect_count};
use super::work;
use crate::terminal;

/// Fetch a kernel's source, or what is new of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels fetch --dir _data 6.6",
    override_usage = "lvh kernels fetch [OPTIONS] --dir <DIR> <KERNEL>"
)]
pub(crate) struct Args {
    /// Its name
    #[arg(value_name = "KERNEL")]
    words: Vec<String>,
    #[command(flatten)]
    dir: Dir,
}

/// Fetches it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    expect_count(&args.words, 1..=1)?;
    let dir = args.dir.get()?;
    let file = KernelsFile::load(&dir)?;
    let kernel = file.kernel(&args.words[0])?;
    work::fetch(&dir, kernel, &terminal::events())?;
    Ok(())
}
