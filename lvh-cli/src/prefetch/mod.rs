//! `lvh prefetch`: kernels and images before the tests that need them.

mod fetch;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::Config;

use crate::fetch_kernel;
use crate::listing::Source;
use crate::terminal;
use fetch::Wanted;

const EXAMPLES: &str = "\
Examples:
  lvh prefetch                                            what the tests of the workspace name
  lvh prefetch --archive-file tests.tar.zst --workspace-remap . -- -E 'test(6.12)'
  lvh prefetch -k 6.1 -k 6.12                             these kernels
  lvh prefetch --export kernels                           and write them to a directory, an OCI layout
  lvh prefetch --import kernels                           on a machine without network: into its data directory

Names are those of the lvh.toml of each package, pinned by lvh.lock. Afterwards tests run with LVH_OFFLINE=1.";

/// Fetch or build all kernels and images that tests name, side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kernel to fetch, rather than what tests name; may be given several times
    #[arg(long = "kernel", short = 'k', value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Image to fetch or build, rather than what tests name; may be given several times
    #[arg(long = "image", short, value_name = "IMAGE")]
    images: Vec<String>,
    /// Take the kernels that lvh.lock names, and resolve none anew
    #[arg(long)]
    locked: bool,
    /// Write the kernels into this directory, an OCI layout, made where it is missing. Images are not in it
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Take what --export has written into the data directory, and do nothing else
    #[arg(long, value_name = "DIR", exclusive = true)]
    import: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// Fetches them; what cannot be had keeps nothing else from being fetched.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("failed to find the working directory")?;
    if let Some(dir) = &args.import {
        let store = fetch_kernel::store(&Config::for_process(&here)?)?;
        let count = transfer::import(dir, &store)?;
        terminal::output(&format!("{count} entries of `{}` are in the data directory\n", dir.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = match args.kernels.is_empty() && args.images.is_empty() {
        true => Wanted::of_places(&args.source.read()?.places, args.locked)?,
        false => Wanted::of_names(&here, &args.kernels, &args.images, args.locked)?,
    };
    let kernels = fetch::all(&wanted)?;
    if let Some(dir) = &args.export {
        let digest = transfer::export(&kernels, dir)?;
        terminal::output(&format!("{} kernels are in `{}` ({digest})\n", kernels.len(), dir.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
