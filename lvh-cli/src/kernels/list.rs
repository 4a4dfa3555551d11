//! `lvh kernels list`.

use anyhow::Context as _;
use lvh_core::config::KernelsFile;

use super::arguments::Dir;
use crate::terminal;

/// List the kernels of a data directory, and where their sources come from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels list --dir _data",
    override_usage = "lvh kernels list [OPTIONS] --dir <DIR>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    dir: Dir,
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

/// Prints a line for each.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let file = KernelsFile::load(&args.dir.get()?)?;
    let lines = file.kernels().iter().map(|kernel| format!("{:<13} {}\n", kernel.name, kernel.url));
    terminal::output(&lines.collect::<String>()).context("failed to write to stdout")
}
