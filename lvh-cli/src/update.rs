//! `lvh update`: asks archives and remotes again what names stand for.

use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::{Config, Store, kernel};

use crate::{fetch_kernel, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh update              every kernel of lvh.lock, and the default kernels of lvh.toml
  lvh update 6.12 7.x     these
  lvh update --locked     fetch what lvh.lock names, and ask nothing anew";

/// Resolve tags, branches and suites again: fetch the newest kernels that names stand for, and pin them in lvh.lock.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Names of kernels [default: those of lvh.lock and `default-kernels` of lvh.toml]
    kernels: Vec<String>,
    /// Fetch what lvh.lock names
    #[arg(long)]
    locked: bool,
}

/// Resolves each name again; until then lvh stays with what it found first.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let mut config = Config::for_process(&dir)?;
    config.locked |= args.locked;
    let store = fetch_kernel::store(&config)?;
    let names = if args.kernels.is_empty() { all_names(&config, &store)? } else { args.kernels };
    for name in names {
        let source = config.kernel(&name)?;
        let kernel = kernel::update_blocking(&name, &source, &store, &terminal::events())?;
        terminal::output(&format!("{name}: {} ({})\n", kernel.release, kernel.identity))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The default kernels and those that are pinned. Pins that no name stands behind any more are dropped.
fn all_names(config: &Config, store: &Store) -> lvh_core::Result<Vec<String>> {
    let mut names = config.default_kernels.clone();
    let Some(pins) = store.pins() else { return Ok(names) };
    if !store.is_locked() {
        pins.retain(|name| config.kernel(name).is_ok())?;
    }
    names.extend(pins.all()?.into_iter().map(|pin| pin.name));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}
