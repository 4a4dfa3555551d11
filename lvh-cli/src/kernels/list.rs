//! `lvh kernels list`.

use std::path::Path;

use anyhow::Context as _;
use lvh_core::config::KernelsFile;
use lvh_core::kernel::inventory::{self, HeldKernel};

use super::arguments::Dir;
use crate::sizes::{age, size};
use crate::terminal;

/// List the kernels of a data directory, and where their sources come from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh kernels list --dir _data\n  lvh kernels list --dir _data --long",
    override_usage = "lvh kernels list [OPTIONS] --dir <DIR>"
)]
pub(crate) struct Args {
    #[command(flatten)]
    dir: Dir,
    /// Also tell sizes, ages and digests, and list the kernels that tests and `lvh exec` fetched
    #[arg(long)]
    long: bool,
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

/// Prints a line for each.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let dir = args.dir.get()?;
    if args.long {
        return long(&dir);
    }
    let file = KernelsFile::load(&dir)?;
    let lines = file.kernels().iter().map(|kernel| format!("{:<13} {}\n", kernel.name, kernel.url));
    terminal::output(&lines.collect::<String>()).context("failed to write to stdout")
}

/// Prints a table, also where `kernels.json` is missing: tests need none.
fn long(dir: &Path) -> anyhow::Result<()> {
    let file = KernelsFile::find(dir)?;
    let listed = file.iter().flat_map(KernelsFile::kernels);
    let mut held: Vec<_> = listed.map(|kernel| inventory::in_tree(dir, &kernel.name, &kernel.url)).collect();
    held.extend(inventory::in_store(dir)?);
    let head = row(["NAME", "SIZE", "AGE", "DIGEST", "FROM"]);
    let rows: String = held.iter().map(line).collect();
    terminal::output(&format!("{head}{rows}")).context("failed to write to stdout")
}

fn line(kernel: &HeldKernel) -> String {
    let age = kernel.made.map_or_else(|| "-".to_owned(), age);
    let digest = kernel.digest.as_deref().map_or("-", |digest| digest.get(..12).unwrap_or(digest));
    row([&kernel.name, &size(kernel.size), &age, digest, &kernel.from])
}

fn row([name, size, age, digest, from]: [&str; 5]) -> String {
    format!("{name:<24} {size:>8} {age:>4}  {digest:<12}  {from}\n")
}
